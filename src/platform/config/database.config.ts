import type { ConfigType } from '@nestjs/config';
import { type Conflict, defineConfig } from './define-config';
import { monitoringConfig } from './monitoring.config';
import { serverConfig } from './server.config';
import { boolean, integer, url, urlList } from './variables';

const SCHEMES = ['postgres', 'postgresql'];

/** Where PostgreSQL is and how its connections are pooled. */
export const databaseConfig = defineConfig(
  'database',
  {
    /** Connection URL of the primary; unset means the embedded PostgreSQL in `dataDir`, which production refuses. */
    url: url('DATABASE_URL', SCHEMES),
    /** Connection URLs of read replicas. */
    replicaUrls: urlList('DATABASE_REPLICA_URLS', SCHEMES),
    /** Connections kept open when idle. */
    poolMin: integer('DATABASE_POOL_MIN', 0, 1000),
    /** Most connections one process opens. */
    poolMax: integer('DATABASE_POOL_MAX', 1, 1000),
    /** Milliseconds to wait for a free connection before the request fails. */
    acquireTimeoutMs: integer('DATABASE_ACQUIRE_TIMEOUT_MS', 1, 600_000),
    /** Milliseconds after which an idle connection is closed; 0 never. */
    idleTimeoutMs: integer('DATABASE_IDLE_TIMEOUT_MS', 0, 3_600_000),
    /** Milliseconds after which PostgreSQL cancels a statement; 0 never. */
    statementTimeoutMs: integer('DATABASE_STATEMENT_TIMEOUT_MS', 0, 3_600_000),
    /** Seconds between two runs of maintenance; 0 never. */
    upkeepIntervalSeconds: integer('DATABASE_UPKEEP_INTERVAL_SECONDS', 0, 604_800),
    /** Whether statements are prepared once per connection and then named; poolers in transaction mode must support it. */
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
