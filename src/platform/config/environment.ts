import { auditConfig } from './audit.config';
import { authConfig } from './auth.config';
import { cacheConfig } from './cache.config';
import { concurrencyConfig } from './concurrency.config';
import { ConfigError, type Violation } from './config.error';
import { databaseConfig } from './database.config';
import { graphqlConfig } from './graphql.config';
import { loadEnvironment, type Variables } from './load-environment';
import { loggingConfig } from './logging.config';
import { monitoringConfig } from './monitoring.config';
import { paginationConfig } from './pagination.config';
import { rateLimitConfig } from './rate-limit.config';
import { redisConfig } from './redis.config';
import { serverConfig } from './server.config';
import { streamingConfig } from './streaming.config';
import { tracingConfig } from './tracing.config';

/** In the order of `config/default.env`. */
export const CONFIGS = [
  serverConfig,
  databaseConfig,
  redisConfig,
  authConfig,
  cacheConfig,
  paginationConfig,
  graphqlConfig,
  streamingConfig,
  concurrencyConfig,
  rateLimitConfig,
  auditConfig,
  monitoringConfig,
  loggingConfig,
  tracingConfig,
];

function violationsOf(step: () => unknown): readonly Violation[] {
  try {
    step();
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.violations;
    throw error;
  }
}

/**
 * Validates every variable without side effects. Returns probable typos, one line each.
 * @throws ConfigError with all faults.
 */
export function checkConfiguration(processEnv: Variables = process.env): { warnings: string[] } {
  const ofProfile = violationsOf(() => loadEnvironment(processEnv));
  // Checked in the development profile then: a bad NODE_ENV must not hide the other faults.
  const isUsable = ofProfile.length === 0;
  const environment = loadEnvironment(isUsable ? processEnv : { ...processEnv, NODE_ENV: '' });
  const violations = CONFIGS.flatMap((config) => violationsOf(() => config.read(environment)));
  const warnings = environment.findTypos();
  if (isUsable && violations.length === 0) return { warnings };
  throw new ConfigError([...ofProfile, ...violations], warnings);
}

/** First step of a start: prints typos and faults to stderr, one line each, and ends with status 1 on a fault. */
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
