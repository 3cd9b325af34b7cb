import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { GraphQLSchema } from 'graphql';
import { AuditSearch } from '../audit/audit-search';
import { AuditService } from '../audit/audit.service';
import { CacheInvalidation } from '../caching/cache-invalidation';
import { CacheReport } from '../caching/cache-report';
import { CacheWarmup } from '../caching/cache-warmup';
import { FairTurns } from '../concurrency/fair-turns';
import { cacheConfig } from '../config/cache.config';
import { AlertBoard } from '../metrics/alert-board';
import { PerformanceHealth } from '../metrics/performance-health';
import { PerformanceReport } from '../metrics/performance.report';
import {
  DATABASE_OPERATIONS,
  DATABASE_SHAPES,
  type DatabaseOperations,
  type DatabaseShapes,
} from './database-operations';
import type { EventServices } from './event-fields';
import type { OperatorServices } from './operator-fields';
import { graphqlSchema, type Services } from './schema';

/** What answers events. */
@Injectable()
export class EventAnswers implements EventServices {
  constructor(
    readonly search: AuditSearch,
    readonly audit: AuditService,
    readonly turns: FairTurns,
  ) {}
}

/** What answers operators about the cache. */
@Injectable()
export class CacheAnswers {
  constructor(
    readonly cache: CacheReport,
    readonly invalidation: CacheInvalidation,
    readonly warmup: CacheWarmup,
    @Inject(cacheConfig.KEY) private readonly config: ConfigType<typeof cacheConfig>,
  ) {}

  get keyPrefix(): string {
    return this.config.keyPrefix;
  }
}

/** What answers operators about the service. */
@Injectable()
export class PerformanceAnswers {
  constructor(
    readonly report: PerformanceReport,
    readonly health: PerformanceHealth,
    readonly board: AlertBoard,
  ) {}
}

/** Everything that root fields are answered by, and the schema that they stand in. */
@Injectable()
export class GraphqlServices {
  readonly schema: GraphQLSchema;
  readonly all: Services;

  constructor(
    { search, audit, turns }: EventAnswers,
    { report, health, board }: PerformanceAnswers,
    { cache, invalidation, warmup, keyPrefix }: CacheAnswers,
    @Inject(DATABASE_OPERATIONS) database: DatabaseOperations,
    @Inject(DATABASE_SHAPES) shapes: DatabaseShapes,
  ) {
    const operators: OperatorServices = {
      ...{ report, health, board },
      ...{ cache, invalidation, warmup, keyPrefix },
      database,
    };
    this.all = { search, audit, turns, ...operators };
    this.schema = graphqlSchema(shapes);
  }
}
