import { registerAs } from '@nestjs/config';
import { loadEnvironment } from './load-environment';
import { EnvVariables, readEnv } from './read-env';
import { BooleanVariable, IntegerVariable } from './variable.decorators';

/** How exports run. */
export class StreamingEnv extends EnvVariables {
  /** Whether exports are served. */
  @BooleanVariable()
  readonly STREAMING_ENABLED!: boolean;

  /** Rows fetched at a time when the request does not say. */
  @IntegerVariable(100, 10_000)
  readonly STREAMING_CHUNK_SIZE!: number;

  /** Exports that run at once in one process; one principal has at most half of them. */
  @IntegerVariable(1, 1000)
  readonly STREAMING_MAX_CONCURRENT!: number;

  /** Milliseconds without a byte taken by the client after which an export is cut. */
  @IntegerVariable(1, 3_600_000)
  readonly STREAMING_STALL_TIMEOUT_MS!: number;

  /** Whether an export is itself recorded as an audit event. */
  @BooleanVariable()
  readonly STREAMING_SELF_AUDIT!: boolean;
}

export interface StreamingConfig {
  enabled: boolean;
  /** Rows. */
  chunkSize: number;
  maxConcurrent: number;
  stallTimeoutMs: number;
  selfAudit: boolean;
}

/** Settings of exports. Throws a ConfigError. */
export const streamingConfig = registerAs(
  'streaming',
  (environment = loadEnvironment()): StreamingConfig => {
    const env = readEnv(StreamingEnv, environment);
    return {
      enabled: env.STREAMING_ENABLED,
      chunkSize: env.STREAMING_CHUNK_SIZE,
      maxConcurrent: env.STREAMING_MAX_CONCURRENT,
      stallTimeoutMs: env.STREAMING_STALL_TIMEOUT_MS,
      selfAudit: env.STREAMING_SELF_AUDIT,
    };
  },
);
