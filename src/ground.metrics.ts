import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { databaseConfig } from './config/database.config';
import { Database } from './database/database';
import { PartitionsHealthIndicator } from './database/partitions.health';
import { QueryTimes } from './database/query-times';
import type { SidePool } from './database/side-pool';
import { MetricSources } from './metrics/metric-sources';
import { MetricsRegistry } from './metrics/metrics.registry';
import { RedisConnection } from './redis/redis-connection';

const PROBE_TIMEOUT_MS = 2000;

/*
 * The figures of database and Redis are offered from here, because the ground imports nothing of what stands on it
 * (docs/architecture.md).
 */

/** The pool, and whether PostgreSQL answers. */
@Injectable()
export class PoolMetrics {
  private probe: SidePool | undefined;

  constructor(
    registry: MetricsRegistry,
    sources: MetricSources,
    private readonly database: Database,
    @Inject(databaseConfig.KEY) { poolMax }: ConfigType<typeof databaseConfig>,
  ) {
    sources.offer('database', () => this.answers());
    sources.offer('pool', () => ({ ...database.poolStatistics(), max: poolMax }));
    registry.offer(
      {
        name: 'database_pool_connections',
        help: 'Connections to the primary, by what they do.',
        type: 'gauge',
      },
      () => {
        const { total, idle } = database.poolStatistics();
        return [
          { labels: { state: 'idle' }, value: idle },
          { labels: { state: 'used' }, value: total - idle },
        ];
      },
    );
    registry.offer(
      {
        name: 'database_pool_max_connections',
        help: 'Connections that there may be: DATABASE_POOL_MAX.',
        type: 'gauge',
      },
      () => poolMax,
    );
    registry.offer(
      {
        name: 'database_pool_waiting_requests',
        help: 'Callers that wait for a connection.',
        type: 'gauge',
      },
      () => database.poolStatistics().waiting,
    );
  }

  /** On a connection of its own: a pool that is used up is another matter than a database that is away. */
  private async answers(): Promise<boolean> {
    this.probe ??= this.database.sidePool('monitoring', { max: 1, timeoutMs: PROBE_TIMEOUT_MS });
    try {
      await this.probe.withClient((client) => client.query('SELECT 1'));
      return true;
    } catch {
      return false;
    }
  }
}

/** Slow statements, partitions and Redis. */
@Injectable()
export class GroundMetrics {
  constructor(
    registry: MetricsRegistry,
    sources: MetricSources,
    queries: QueryTimes,
    partitions: PartitionsHealthIndicator,
    redis: RedisConnection,
  ) {
    sources.offer('missingPartitions', () => missingOf(partitions));
    sources.offer('slowQueries', () => queries.report());
    if (redis.isConfigured) sources.offer('redis', () => redis.isAvailable);
    registry.offer(
      {
        name: 'database_slow_queries_total',
        help: 'Statements that took SLOW_QUERY_THRESHOLD_MS or longer.',
        type: 'counter',
      },
      () => queries.report().total,
    );
    registry.offer(
      {
        name: 'redis_up',
        help: 'Whether Redis answers; absent when none is configured.',
        type: 'gauge',
      },
      () => (redis.isConfigured ? [{ value: redis.isAvailable ? 1 : 0 }] : []),
    );
    registry.offer(
      {
        name: 'redis_failures_total',
        help: 'Attempts that failed or were given up.',
        type: 'counter',
      },
      () => {
        const { timeouts, failures } = redis.statistics();
        return [
          { labels: { kind: 'timeout' }, value: timeouts },
          { labels: { kind: 'failure' }, value: failures },
        ];
      },
    );
  }
}

/** As `table month`, as /health shows them. @throws when the database could not be asked. */
async function missingOf(indicator: PartitionsHealthIndicator): Promise<string[]> {
  const { partitions } = await indicator.check();
  const tables = (partitions as { tables?: Record<string, { missing: string[] }> }).tables;
  if (!tables) throw new Error('The database does not answer');
  return Object.entries(tables).flatMap(([table, { missing }]) =>
    missing.map((month) => `${table} ${month}`),
  );
}
