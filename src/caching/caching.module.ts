import { CacheModule, type CacheOptions } from '@nestjs/cache-manager';
import { Module } from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import { TerminusModule } from '@nestjs/terminus';
import Keyv from 'keyv';
import type { ConfigType } from '@nestjs/config';
import { cacheConfig } from '../platform/config/settings';
import { RedisConnection } from '../platform/redis/redis-connection';
import { CacheController } from './cache.controller';
import { CacheHealthIndicator, CacheReport, CacheStatistics } from './cache-statistics';
import { CacheInvalidation } from './cache-invalidation';
import { CachePolicy } from './cache-policy';
import { CacheWarmup } from './cache-warmup';
import { HttpCache } from './http-cache';
import { CachedRoutes } from './cached-routes';
import { CachingMetrics } from './caching.metrics';
import { DemandEstimator } from './demand-estimator';
import { MemoryStore } from './memory-store';
import { ResponseCache } from './response-cache';
import { sharedStore } from './shared-tier';
import { RedisModule } from '../platform/redis/redis.module';
import { MetricsModule } from '../metrics/metrics.module';
import { HttpModule } from '../http/http.module';

function estimatorFor(config: ConfigType<typeof cacheConfig>): DemandEstimator | null {
  if (!config.adaptive) return null;
  return new DemandEstimator(config.maxSizeBytes, {
    usualMs: config.defaultTtlSeconds * 1000,
    minMs: config.adaptiveMinTtlSeconds * 1000,
    maxMs: config.adaptiveMaxTtlSeconds * 1000,
  });
}

/** Process tier, which ResponseCache also reads directly: a hit needs no promise. */
@Module({
  providers: [
    { provide: DemandEstimator, inject: [cacheConfig.KEY], useFactory: estimatorFor },
    {
      provide: MemoryStore,
      inject: [cacheConfig.KEY, DemandEstimator],
      useFactory: (
        { maxSizeBytes }: ConfigType<typeof cacheConfig>,
        estimator: DemandEstimator | null,
      ) => new MemoryStore(maxSizeBytes, estimator ?? undefined),
    },
  ],
  exports: [DemandEstimator, MemoryStore],
})
class MemoryTierModule {}

/** Response cache: exact, per tenant, in two tiers, independent of content. */
@Module({
  imports: [
    RedisModule,
    MetricsModule,
    HttpModule,
    DiscoveryModule,
    TerminusModule,
    MemoryTierModule,
    CacheModule.registerAsync({
      imports: [MemoryTierModule, RedisModule],
      inject: [MemoryStore, RedisConnection],
      useFactory: (memory: MemoryStore, redis: RedisConnection) => {
        const plain = { useKeyPrefix: false, serialize: undefined, deserialize: undefined };
        const shared = sharedStore(redis);
        const stores = [new Keyv({ store: memory, ...plain }), ...(shared ? [shared] : [])];
        // keyv declares the same class twice, for CommonJS and for ES modules.
        return { stores: stores as unknown as CacheOptions['stores'] };
      },
    }),
  ],
  controllers: [CacheController],
  providers: [
    CachePolicy,
    CacheStatistics,
    CacheReport,
    CacheHealthIndicator,
    CacheInvalidation,
    CacheWarmup,
    ResponseCache,
    HttpCache,
    CachedRoutes,
    CachingMetrics,
  ],
  exports: [
    CacheHealthIndicator,
    CacheInvalidation,
    CacheReport,
    CacheWarmup,
    HttpCache,
    ResponseCache,
  ],
})
export class CachingModule {}
