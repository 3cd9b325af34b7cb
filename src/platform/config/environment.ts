import { AuditEnv } from './audit.config';
import { AuthEnv } from './auth.config';
import { CacheEnv } from './cache.config';
import { ConcurrencyEnv } from './concurrency.config';
import { ConfigError, type Violation } from './config.error';
import { DatabaseEnv } from './database.config';
import { type Environment, loadEnvironment, type Variables } from './load-environment';
import { GraphqlEnv } from './graphql.config';
import { LoggingEnv } from './logging.config';
import { MonitoringEnv } from './monitoring.config';
import { PaginationEnv } from './pagination.config';
import { type EnvVariables, readEnv } from './read-env';
import { RateLimitEnv } from './rate-limit.config';
import { RedisEnv } from './redis.config';
import { ServerEnv } from './server.config';
import { StreamingEnv } from './streaming.config';
import { TracingEnv } from './tracing.config';

/** The variables of every concern, in the order of `config/default.env`. */
export const ENV_CLASSES: readonly (new () => EnvVariables)[] = [
  ServerEnv,
  DatabaseEnv,
  RedisEnv,
  AuthEnv,
  CacheEnv,
  PaginationEnv,
  GraphqlEnv,
  StreamingEnv,
  ConcurrencyEnv,
  RateLimitEnv,
  AuditEnv,
  MonitoringEnv,
  LoggingEnv,
  TracingEnv,
];

/** The faults a step meets, or none. */
function violationsOf(step: () => unknown): readonly Violation[] {
  try {
    step();
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.violations;
    throw error;
  }
}

/** The environment of the development profile, so that one bad NODE_ENV does not hide the other faults. */
function withoutProfile(processEnv: Variables): Environment {
  return loadEnvironment({ ...processEnv, NODE_ENV: undefined });
}

/**
 * Validates every variable of every concern without touching anything. Returns the probable typos, one line each;
 * throws one ConfigError that holds all faults of all concerns.
 */
export function checkConfiguration(processEnv: Variables = process.env): { warnings: string[] } {
  const profileFaults = violationsOf(() => loadEnvironment(processEnv));
  const environment =
    profileFaults.length > 0 ? withoutProfile(processEnv) : loadEnvironment(processEnv);
  const faults = ENV_CLASSES.flatMap((EnvClass) =>
    violationsOf(() => readEnv(EnvClass, environment)),
  );
  if (profileFaults.length + faults.length > 0)
    throw new ConfigError([...profileFaults, ...faults], environment.findTypos());
  return { warnings: environment.findTypos() };
}

/**
 * The first step of a start: prints probable typos to stderr and goes on, or prints every fault and the typos to
 * stderr, one line each, and ends the process with status 1.
 */
export function assertConfiguration(): void {
  try {
    warn(checkConfiguration().warnings);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`The configuration is not valid:\n${error.message}\n`);
    warn(error.warnings);
    process.exit(1);
  }
}

function warn(warnings: readonly string[]): void {
  for (const warning of warnings) process.stderr.write(`Warning: ${warning}\n`);
}
