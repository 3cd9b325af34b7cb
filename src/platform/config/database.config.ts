import { registerAs } from '@nestjs/config';
import { loadEnvironment, type Profile } from './load-environment';
import { MonitoringEnv } from './monitoring.config';
import { type Conflict, EnvVariables, readEnv } from './read-env';
import { ServerEnv } from './server.config';
import {
  BooleanVariable,
  IntegerVariable,
  UrlListVariable,
  UrlVariable,
} from './variable.decorators';

const SCHEMES = ['postgres', 'postgresql'];

/** Where PostgreSQL is and how its connections are pooled. */
export class DatabaseEnv extends EnvVariables {
  /** Connection URL; unset means the embedded PostgreSQL, which production refuses. */
  @UrlVariable(SCHEMES)
  readonly DATABASE_URL?: string;

  /** Connection URLs of read replicas. */
  @UrlListVariable(SCHEMES)
  readonly DATABASE_REPLICA_URLS!: string[];

  /** Connections kept open when idle. */
  @IntegerVariable(0, 1000)
  readonly DATABASE_POOL_MIN!: number;

  /** Most connections one process opens. */
  @IntegerVariable(1, 1000)
  readonly DATABASE_POOL_MAX!: number;

  /** Milliseconds to wait for a free connection before the request fails. */
  @IntegerVariable(1, 600_000)
  readonly DATABASE_ACQUIRE_TIMEOUT_MS!: number;

  /** Milliseconds after which an idle connection is closed; 0 never. */
  @IntegerVariable(0, 3_600_000)
  readonly DATABASE_IDLE_TIMEOUT_MS!: number;

  /** Milliseconds after which PostgreSQL cancels a statement; 0 never. */
  @IntegerVariable(0, 3_600_000)
  readonly DATABASE_STATEMENT_TIMEOUT_MS!: number;

  /** Seconds between two rounds of upkeep; 0 never. */
  @IntegerVariable(0, 604_800)
  readonly DATABASE_UPKEEP_INTERVAL_SECONDS!: number;

  /** Whether statements are prepared once per connection and then named; poolers in transaction mode must support it. */
  @BooleanVariable()
  readonly DATABASE_PREPARED_STATEMENTS!: boolean;

  override findConflicts(profile: Profile): Conflict[] {
    const conflicts: Conflict[] = [];
    if (profile === 'production' && !this.DATABASE_URL) {
      const allowed = `be a URL of scheme ${SCHEMES.join(' or ')}; embedded PostgreSQL is refused in production`;
      conflicts.push({ variable: 'DATABASE_URL', allowed });
    }
    if (!this.DATABASE_URL && this.DATABASE_REPLICA_URLS.length > 0) {
      const allowed = 'be empty while DATABASE_URL is: embedded PostgreSQL has no replicas';
      conflicts.push({ variable: 'DATABASE_REPLICA_URLS', allowed });
    }
    if (this.DATABASE_POOL_MIN > this.DATABASE_POOL_MAX) {
      const allowed = `be at most DATABASE_POOL_MAX, which is ${this.DATABASE_POOL_MAX}`;
      conflicts.push({ variable: 'DATABASE_POOL_MIN', allowed, comparedWith: 'DATABASE_POOL_MAX' });
    }
    return conflicts;
  }
}

export interface DatabaseConfig {
  /** Connection URL of the primary; undefined means the embedded PostgreSQL in `dataDir`. */
  url: string | undefined;
  replicaUrls: string[];
  poolMin: number;
  poolMax: number;
  acquireTimeoutMs: number;
  /** 0 means never. */
  idleTimeoutMs: number;
  /** 0 means no limit. */
  statementTimeoutMs: number;
  /** 0 means never. */
  upkeepIntervalSeconds: number;
  /** Whether statements may have names. */
  preparedStatements: boolean;
  /** Absolute path. */
  dataDir: string;
  slowQueryThresholdMs: number;
}

/** Settings of the PostgreSQL connection. Throws a ConfigError. */
export const databaseConfig = registerAs(
  'database',
  (environment = loadEnvironment()): DatabaseConfig => {
    const env = readEnv(DatabaseEnv, environment);
    return {
      url: env.DATABASE_URL,
      replicaUrls: env.DATABASE_REPLICA_URLS,
      poolMin: env.DATABASE_POOL_MIN,
      poolMax: env.DATABASE_POOL_MAX,
      acquireTimeoutMs: env.DATABASE_ACQUIRE_TIMEOUT_MS,
      idleTimeoutMs: env.DATABASE_IDLE_TIMEOUT_MS,
      statementTimeoutMs: env.DATABASE_STATEMENT_TIMEOUT_MS,
      upkeepIntervalSeconds: env.DATABASE_UPKEEP_INTERVAL_SECONDS,
      preparedStatements: env.DATABASE_PREPARED_STATEMENTS,
      dataDir: readEnv(ServerEnv, environment).DATA_DIR,
      slowQueryThresholdMs: readEnv(MonitoringEnv, environment).SLOW_QUERY_THRESHOLD_MS,
    };
  },
);
