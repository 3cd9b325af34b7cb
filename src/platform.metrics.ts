import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { AuthFailures } from './auth/auth-failures';
import { TokenVerifier } from './auth/token-verifier';
import { databaseConfig } from './platform/config/settings';
import { Database } from './platform/database/database';
import { DatabaseHealthIndicator } from './platform/database/database.health';
import { PartitionsHealthIndicator } from './maintenance/partitions.health';
import { QueryTimes } from './platform/database/database-statistics';
import { MeasurementSources } from './metrics/measurement-sources';
import { labelled, MetricRegistry } from './metrics/metrics.registry';
import { RedisConnection } from './platform/redis/redis-connection';

/** Metrics of PostgreSQL, its pool and partitions, Redis, and authentication: platform and auth import no metrics (docs/architecture.md). */
@Injectable()
export class PlatformMetrics {
  constructor(
    registry: MetricRegistry,
    sources: MeasurementSources,
    database: Database,
    indicator: DatabaseHealthIndicator,
    queries: QueryTimes,
    partitions: PartitionsHealthIndicator,
    redis: RedisConnection,
    verifier: TokenVerifier,
    failures: AuthFailures,
    @Inject(databaseConfig.KEY) { poolMax }: ConfigType<typeof databaseConfig>,
  ) {
    sources.register('database', () => isUp(indicator));
    sources.register('pool', () => ({
      ...database.poolStatistics(),
      max: poolMax,
      recent: database.acquisitions.statistics(),
    }));
    registry.gauge(
      'audit_database_pool_connections',
      'Connections to the primary, by what they do.',
      () => {
        const { total, idle } = database.poolStatistics();
        return labelled('state', { idle, used: total - idle });
      },
    );
    registry.gauge(
      'audit_database_pool_max_connections',
      'Connections that there may be: DATABASE_POOL_MAX.',
      () => poolMax,
    );
    registry.gauge(
      'audit_database_pool_waiting_requests',
      'Callers that wait for a connection.',
      () => database.poolStatistics().waiting,
    );
    sources.register('missingPartitions', () => missingOf(partitions));
    sources.register('slowQueries', () => queries.report());
    if (redis.isConfigured) sources.register('redis', () => redis.isAvailable);
    registry.counter(
      'audit_database_slow_queries_total',
      'Statements that took SLOW_QUERY_THRESHOLD_MS or longer.',
      () => queries.report().total,
    );
    registry.gauge(
      'audit_redis_up',
      'Whether Redis answers; absent when none is configured.',
      () => (redis.isConfigured ? [{ value: redis.isAvailable ? 1 : 0 }] : []),
    );
    sources.register('keySet', () => !verifier.keySet().isAway);
    registry.gauge(
      'audit_auth_key_set_up',
      'Whether the key set that verifies tokens can be read; absent with a secret.',
      () => {
        const { isConfigured, isAway } = verifier.keySet();
        return isConfigured ? [{ value: isAway ? 0 : 1 }] : [];
      },
    );
    registry.gauge(
      'audit_auth_key_set_age_seconds',
      'Time since the key set was read; absent before the first token, and with a secret.',
      () => {
        const { ageSeconds } = verifier.keySet();
        return ageSeconds === undefined ? [] : [{ value: ageSeconds }];
      },
    );
    registry.counter(
      'audit_auth_failures_total',
      'Requests and sockets that were not authenticated, by reason.',
      () => labelled('reason', failures.statistics()),
    );
    registry.counter('audit_redis_failures_total', 'Attempts that failed or were given up.', () => {
      const { timeouts, failures } = redis.statistics();
      return labelled('kind', { timeout: timeouts, failure: failures });
    });
  }
}

/** On the connection of the probes, which nothing else uses; over in two seconds. */
async function isUp(indicator: DatabaseHealthIndicator): Promise<boolean> {
  return (await indicator.check())['database']?.status === 'up';
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
