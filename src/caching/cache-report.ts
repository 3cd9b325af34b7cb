import { Injectable } from '@nestjs/common';
import { RedisConnection } from '../platform/redis/redis-connection';
import { CacheStatistics } from './cache-statistics';
import type { CacheStatisticsDto } from './dto/responses.dto';
import { MemoryStore } from './memory-store';

const BYTES_PER_MB = 1024 * 1024;

/** Cache statistics of this process for the API. */
@Injectable()
export class CacheReport {
  constructor(
    private readonly counts: CacheStatistics,
    private readonly memory: MemoryStore,
    private readonly redis: RedisConnection,
  ) {}

  statistics(): CacheStatisticsDto {
    const { entries, bytes, evictions } = this.memory.statistics();
    const { seconds, requests, hitRatio = null } = this.counts.window();
    return {
      ...this.counts.totals(),
      entries,
      sizeMB: Math.round((100 * bytes) / BYTES_PER_MB) / 100,
      evictions,
      window: { seconds, requests, hitRatio },
      namespaces: this.counts.byNamespace(),
      sharedTier: this.sharedTier(),
    };
  }

  private sharedTier(): string {
    if (!this.redis.isConfigured) return 'none';
    return this.redis.isAvailable ? 'up' : 'away';
  }
}
