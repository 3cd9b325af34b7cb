import type { ConfigType } from '@nestjs/config';
import { type Conflict, defineConfig } from './define-config';
import { monitoringConfig } from './monitoring.config';
import { serverConfig } from './server.config';
import { boolean, integer, url, urlList } from './variables';

const SCHEMES = ['postgres', 'postgresql'];

/** Settings of PostgreSQL and its connection pools. */
export const databaseConfig = defineConfig(
  'database',
  {
    /** Unset: embedded PostgreSQL in `dataDir`, which production refuses. */
    url: url('DATABASE_URL', SCHEMES),
    replicaUrls: urlList('DATABASE_REPLICA_URLS', SCHEMES),
    /** Connections kept open when idle. */
    poolMin: integer('DATABASE_POOL_MIN', 0, 1000),
    /** Connection limit of one process. */
    poolMax: integer('DATABASE_POOL_MAX', 1, 1000),
    /** Milliseconds to wait for a free connection. */
    acquireTimeoutMs: integer('DATABASE_ACQUIRE_TIMEOUT_MS', 1, 600_000),
    /** Milliseconds; 0 never closes idle connections. */
    idleTimeoutMs: integer('DATABASE_IDLE_TIMEOUT_MS', 0, 3_600_000),
    /** Milliseconds; 0 never cancels statements. */
    statementTimeoutMs: integer('DATABASE_STATEMENT_TIMEOUT_MS', 0, 3_600_000),
    /** Seconds between two runs of maintenance; 0 never. */
    upkeepIntervalSeconds: integer('DATABASE_UPKEEP_INTERVAL_SECONDS', 0, 604_800),
    /** Named statements, prepared once per connection; transaction poolers must support them. */
    preparedStatements: boolean('DATABASE_PREPARED_STATEMENTS'),
  },
  {
    findConflicts: ({ url: primary, replicaUrls, poolMin, poolMax }, profile) => {
      const conflicts: Conflict[] = [];
      if (profile === 'production' && !primary) {
        const allowed = `be a URL of scheme ${SCHEMES.join(' or ')}; embedded PostgreSQL is refused in production`;
        conflicts.push({ variable: 'DATABASE_URL', allowed });
      }
      if (!primary && replicaUrls.length > 0) {
        const allowed = 'be empty while DATABASE_URL is: embedded PostgreSQL has no replicas';
        conflicts.push({ variable: 'DATABASE_REPLICA_URLS', allowed });
      }
      if (poolMin > poolMax) {
        const allowed = `be at most DATABASE_POOL_MAX, which is ${poolMax}`;
        conflicts.push({
          variable: 'DATABASE_POOL_MIN',
          allowed,
          comparedWith: 'DATABASE_POOL_MAX',
        });
      }
      return conflicts;
    },
    derive: (settings, environment) => ({
      ...settings,
      dataDir: serverConfig.read(environment).dataDir,
      slowQueryThresholdMs: monitoringConfig.read(environment).slowQueryThresholdMs,
    }),
  },
);

export type DatabaseConfig = ConfigType<typeof databaseConfig>;
