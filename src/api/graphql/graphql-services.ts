import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { EventFeed } from '../../audit/feed/event-feed';
import { AuditSearch } from '../../audit/read/audit-search';
import { AuditService } from '../../audit/write/audit.service';
import { CacheInvalidation } from '../../caching/cache-invalidation';
import { CacheReport } from '../../caching/cache-statistics';
import { CacheWarmup } from '../../caching/cache-warmup';
import { FairScheduler } from '../../concurrency/fair-scheduler';
import { SubscriptionLimiter } from '../../concurrency/subscription-limiter';
import { DatabaseReport } from '../../maintenance/database-report';
import { DatabaseStatus } from '../../maintenance/database-status';
import { Optimizer } from '../../maintenance/optimizer';
import { AlertState } from '../../metrics/alert-state';
import { MetricsFeed } from '../../metrics/metrics-feed';
import { PerformanceHealth } from '../../metrics/performance-health';
import { PerformanceReport } from '../../metrics/performance.report';
import { cacheConfig } from '../../platform/config/settings';

/** The services of root fields: in the context of operations, so that the schema can be printed without them. */
@Injectable()
export class GraphqlServices {
  /** CACHE_KEY_PREFIX. */
  readonly keyPrefix: string;

  constructor(
    readonly search: AuditSearch,
    readonly audit: AuditService,
    readonly scheduler: FairScheduler,
    readonly report: PerformanceReport,
    readonly health: PerformanceHealth,
    readonly alerts: AlertState,
    readonly cache: CacheReport,
    readonly invalidation: CacheInvalidation,
    readonly warmup: CacheWarmup,
    readonly databaseReport: DatabaseReport,
    readonly databaseStatus: DatabaseStatus,
    readonly optimizer: Optimizer,
    readonly feed: EventFeed,
    readonly metricsFeed: MetricsFeed,
    readonly limiter: SubscriptionLimiter,
    @Inject(cacheConfig.KEY) { keyPrefix }: ConfigType<typeof cacheConfig>,
  ) {
    this.keyPrefix = keyPrefix;
  }
}
