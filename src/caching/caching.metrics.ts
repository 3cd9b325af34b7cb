import { Injectable } from '@nestjs/common';
import { MeasurementSources } from '../metrics/measurement-sources';
import { MetricRegistry } from '../metrics/metrics.registry';
import { CacheReport, CacheStatistics } from './cache-statistics';
import { MemoryStore } from './memory-store';

/** Metrics of the cache. */
@Injectable()
export class CachingMetrics {
  constructor(
    registry: MetricRegistry,
    sources: MeasurementSources,
    counts: CacheStatistics,
    memory: MemoryStore,
    report: CacheReport,
  ) {
    sources.register('cache', () => ({ ...counts.totals(), window: counts.window() }));
    sources.register('queryCache', () => {
      const { hitRatio, totalRequests, sizeMB: totalSizeMB, evictions } = report.statistics();
      return { hitRatio: totalRequests === 0 ? null : hitRatio, totalSizeMB, evictions };
    });
    registry.counter(
      'audit_cache_requests_total',
      'Cacheable requests, by namespace and outcome.',
      () =>
        Object.entries(counts.byNamespace()).flatMap(([namespace, tally]) => [
          { labels: { namespace, outcome: 'hit' }, value: tally.totalHits },
          { labels: { namespace, outcome: 'miss' }, value: tally.totalMisses },
          { labels: { namespace, outcome: 'excluded' }, value: tally.excludedRequests },
        ]),
    );
    registry.gauge(
      'audit_cache_entries',
      'Responses kept in this process.',
      () => memory.statistics().entries,
    );
    registry.gauge(
      'audit_cache_size_bytes',
      'Memory of these responses.',
      () => memory.statistics().bytes,
    );
    registry.counter(
      'audit_cache_evictions_total',
      'Responses evicted before their time.',
      () => memory.statistics().evictions,
    );
    registry.counter(
      'audit_cache_candidates_total',
      'Responses that wanted the place of others, by outcome.',
      () => {
        const { admitted, rejected } = memory.contests();
        return [
          { labels: { outcome: 'admitted' }, value: admitted },
          { labels: { outcome: 'rejected' }, value: rejected },
        ];
      },
    );
    registry.counter(
      'audit_cache_unshared_total',
      'Responses not stored in Redis, as a change was expected before their next use.',
      () => counts.learned().unshared,
    );
    registry.counter(
      'audit_cache_learned_lifetimes_total',
      'Responses with a learned lifetime.',
      () => counts.learned().lifetimes,
    );
    registry.counter(
      'audit_cache_learned_lifetimes_seconds_total',
      'Sum of learned lifetimes.',
      () => counts.learned().lifetimeSeconds,
    );
  }
}
