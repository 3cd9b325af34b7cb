import { registerAs } from '@nestjs/config';
import { loadEnvironment, type Profile } from './load-environment';
import { type Conflict, EnvVariables, readEnv } from './read-env';
import { HostVariable, IntegerVariable, PathVariable } from './variable.decorators';

/** How the service listens, how long it takes over a request and where it keeps its files. */
export class ServerEnv extends EnvVariables {
  /** TCP port of the API; 0 takes any free one. */
  @IntegerVariable(0, 65_535)
  readonly PORT!: number;

  /** Address or name to listen on. */
  @HostVariable()
  readonly HOST!: string;

  /** Folder of everything kept on disk; absolute once read. */
  @PathVariable()
  readonly DATA_DIR!: string;

  /** Milliseconds after which a request is cancelled. */
  @IntegerVariable(1, 3_600_000)
  readonly REQUEST_TIMEOUT_MS!: number;

  /** Largest request body in MiB. */
  @IntegerVariable(1, 1024)
  readonly REQUEST_MAX_SIZE_MB!: number;

  /** Milliseconds that running requests get to finish after SIGTERM. */
  @IntegerVariable(0, 600_000)
  readonly SHUTDOWN_TIMEOUT_MS!: number;

  /** TCP port of /metrics alone; unset leaves it on PORT. */
  @IntegerVariable(0, 65_535, { optional: true })
  readonly METRICS_PORT?: number;

  override findConflicts(): Conflict[] {
    return this.METRICS_PORT && this.METRICS_PORT === this.PORT
      ? [{ variable: 'METRICS_PORT', allowed: 'be empty or differ from PORT' }]
      : [];
  }
}

export interface ServerConfig {
  profile: Profile;
  port: number;
  host: string;
  /** Absolute path. */
  dataDir: string;
  requestTimeoutMs: number;
  requestMaxSizeBytes: number;
  shutdownTimeoutMs: number;
  /** Set only when /metrics has a port of its own. */
  metricsPort?: number;
}

const BYTES_PER_MB = 1024 * 1024;

/** Settings of the listener. Throws a ConfigError. */
export const serverConfig = registerAs(
  'server',
  (environment = loadEnvironment()): ServerConfig => {
    const env = readEnv(ServerEnv, environment);
    return {
      profile: environment.profile,
      port: env.PORT,
      host: env.HOST,
      dataDir: env.DATA_DIR,
      requestTimeoutMs: env.REQUEST_TIMEOUT_MS,
      requestMaxSizeBytes: env.REQUEST_MAX_SIZE_MB * BYTES_PER_MB,
      shutdownTimeoutMs: env.SHUTDOWN_TIMEOUT_MS,
      metricsPort: env.METRICS_PORT,
    };
  },
);
