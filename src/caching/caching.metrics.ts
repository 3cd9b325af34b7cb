import { Injectable } from '@nestjs/common';
import { MeasurementSources } from '../metrics/measurement-sources';
import { MetricRegistry } from '../metrics/metrics.registry';
import { CacheStatistics } from './cache-statistics';
import { MemoryStore } from './memory-store';

/** Metrics of the cache. */
@Injectable()
export class CachingMetrics {
  constructor(
    registry: MetricRegistry,
    sources: MeasurementSources,
    counts: CacheStatistics,
    memory: MemoryStore,
  ) {
    sources.register('cache', () => ({ ...counts.totals(), window: counts.window() }));
    registry.register(
      {
        name: 'cache_requests_total',
        help: 'Cacheable requests, by namespace and outcome.',
        type: 'counter',
      },
      () =>
        Object.entries(counts.byNamespace()).flatMap(([namespace, tally]) => [
          { labels: { namespace, outcome: 'hit' }, value: tally.totalHits },
          { labels: { namespace, outcome: 'miss' }, value: tally.totalMisses },
          { labels: { namespace, outcome: 'excluded' }, value: tally.excludedRequests },
        ]),
    );
    registry.register(
      { name: 'cache_entries', help: 'Responses kept in this process.', type: 'gauge' },
      () => memory.statistics().entries,
    );
    registry.register(
      { name: 'cache_size_bytes', help: 'Memory of these responses.', type: 'gauge' },
      () => memory.statistics().bytes,
    );
    registry.register(
      {
        name: 'cache_evictions_total',
        help: 'Responses evicted before their time.',
        type: 'counter',
      },
      () => memory.statistics().evictions,
    );
  }
}
