import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { GraphQLSchema } from 'graphql';
import { EventFeed } from '../../audit/feed/event-feed';
import { AuditSearch } from '../../audit/read/audit-search';
import { AuditService } from '../../audit/write/audit.service';
import { CacheInvalidation } from '../../caching/cache-invalidation';
import { CacheReport } from '../../caching/cache-report';
import { CacheWarmup } from '../../caching/cache-warmup';
import { InvalidationFeed } from '../../caching/invalidation-feed';
import { FairScheduler } from '../../concurrency/fair-scheduler';
import { SubscriptionLimiter } from '../../concurrency/subscription-limiter';
import { DatabaseReport } from '../../maintenance/database-report';
import { DatabaseStatus } from '../../maintenance/database-status';
import { Optimizer } from '../../maintenance/optimizer';
import { AlertFeed } from '../../metrics/alert-feed';
import { AlertState } from '../../metrics/alert-state';
import { MetricsFeed } from '../../metrics/metrics-feed';
import { PerformanceHealth } from '../../metrics/performance-health';
import { PerformanceReport } from '../../metrics/performance.report';
import { auditConfig } from '../../platform/config/audit.config';
import { cacheConfig } from '../../platform/config/cache.config';
import { paginationConfig } from '../../platform/config/pagination.config';
import type { DocumentShapes } from './list-limits';
import { graphqlSchema, type Services } from './schema';

/** The services that root fields resolve with, and the schema that they belong to. */
@Injectable()
export class GraphqlServices implements Services {
  readonly schema: GraphQLSchema;
  /** The schema and the settings that the limits of documents depend on. */
  readonly shapes: DocumentShapes;
  readonly keyPrefix: string;

  constructor(
    readonly search: AuditSearch,
    readonly audit: AuditService,
    readonly scheduler: FairScheduler,
    readonly report: PerformanceReport,
    readonly health: PerformanceHealth,
    readonly board: AlertState,
    readonly cache: CacheReport,
    readonly invalidation: CacheInvalidation,
    readonly warmup: CacheWarmup,
    readonly databaseReport: DatabaseReport,
    readonly databaseStatus: DatabaseStatus,
    readonly optimizer: Optimizer,
    readonly feed: EventFeed,
    readonly metricsFeed: MetricsFeed,
    readonly alertFeed: AlertFeed,
    readonly invalidationFeed: InvalidationFeed,
    readonly limiter: SubscriptionLimiter,
    @Inject(auditConfig.KEY) { bulkMaxEvents }: ConfigType<typeof auditConfig>,
    @Inject(cacheConfig.KEY) { keyPrefix }: ConfigType<typeof cacheConfig>,
    @Inject(paginationConfig.KEY) { defaultLimit }: ConfigType<typeof paginationConfig>,
  ) {
    this.keyPrefix = keyPrefix;
    this.schema = graphqlSchema(defaultLimit);
    this.shapes = { schema: this.schema, defaultLimit, maxBulkEvents: bulkMaxEvents };
  }
}
