import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { GraphQLSchema } from 'graphql';
import { AuditSearch } from '../../audit/read/audit-search';
import { AuditService } from '../../audit/api/audit.service';
import { EventFeed } from '../../audit/feed/event-feed';
import { CacheInvalidation } from '../../caching/cache-invalidation';
import { CacheReport } from '../../caching/cache-report';
import { CacheWarmup } from '../../caching/cache-warmup';
import { FairScheduler } from '../../concurrency/fair-scheduler';
import { auditConfig } from '../../platform/config/audit.config';
import { cacheConfig } from '../../platform/config/cache.config';
import { paginationConfig } from '../../platform/config/pagination.config';
import { InvalidationFeed } from '../../caching/invalidation-feed';
import { AlertFeed } from '../../metrics/alert-feed';
import { MetricsFeed } from '../../metrics/metrics-feed';
import { SubscriptionLimiter } from '../../concurrency/subscription-limiter';
import { AlertState } from '../../metrics/alert-state';
import { PerformanceHealth } from '../../metrics/performance-health';
import { PerformanceReport } from '../../metrics/performance.report';
import {
  DATABASE_OPERATIONS,
  DATABASE_SHAPES,
  type DatabaseOperations,
  type DatabaseShapes,
} from './database-operations';
import type { EventServices } from './event-fields';
import type { OperatorServices } from './operator-fields';
import type { DocumentShapes } from './list-limits';
import { graphqlSchema, type Services } from './schema';
import type { LiveServices } from './subscription-fields';

/** What answers events. */
@Injectable()
export class EventServicesAdapter implements EventServices {
  constructor(
    readonly search: AuditSearch,
    readonly audit: AuditService,
    readonly scheduler: FairScheduler,
    @Inject(auditConfig.KEY) readonly limits: ConfigType<typeof auditConfig>,
    @Inject(paginationConfig.KEY) readonly paging: ConfigType<typeof paginationConfig>,
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
    readonly board: AlertState,
  ) {}
}

/** What answers operators about the database. */
@Injectable()
export class DatabaseAnswers {
  constructor(
    @Inject(DATABASE_OPERATIONS) readonly database: DatabaseOperations,
    @Inject(DATABASE_SHAPES) readonly shapes: DatabaseShapes,
  ) {}
}

/** What subscribers follow. */
@Injectable()
export class LiveAnswers implements LiveServices {
  constructor(
    readonly feed: EventFeed,
    readonly metricsFeed: MetricsFeed,
    readonly alertFeed: AlertFeed,
    readonly invalidationFeed: InvalidationFeed,
    readonly limiter: SubscriptionLimiter,
  ) {}
}

/** Everything that root fields are answered by, and the schema that they stand in. */
@Injectable()
export class GraphqlServices {
  readonly schema: GraphQLSchema;
  /** What the limits of documents depend on. */
  readonly shapes: DocumentShapes;
  readonly all: Services;

  constructor(
    { search, audit, scheduler: turns, limits, paging }: EventServicesAdapter,
    { report, health, board }: PerformanceAnswers,
    { cache, invalidation, warmup, keyPrefix }: CacheAnswers,
    live: LiveAnswers,
    { database, shapes }: DatabaseAnswers,
  ) {
    const operators: OperatorServices = {
      ...{ report, health, board },
      ...{ cache, invalidation, warmup, keyPrefix },
      database,
    };
    this.all = { search, audit, scheduler: turns, ...live, ...operators };
    const { defaultLimit } = paging;
    const schema = graphqlSchema(shapes, defaultLimit);
    this.schema = schema;
    this.shapes = { schema, defaultLimit, maxBulkEvents: limits.bulkMaxEvents };
  }
}
