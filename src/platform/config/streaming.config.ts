import { defineConfig } from './define-config';
import { boolean, integer } from './variables';

/** How exports run. */
export const streamingConfig = defineConfig('streaming', {
  /** Whether exports are served. */
  enabled: boolean('STREAMING_ENABLED'),
  /** Rows fetched at a time when the request does not say. */
  chunkSize: integer('STREAMING_CHUNK_SIZE', 100, 10_000),
  /** Exports that run at once in one process; one principal has at most half of them. */
  maxConcurrent: integer('STREAMING_MAX_CONCURRENT', 1, 1000),
  /** Milliseconds without a byte taken by the client after which an export is disconnected. */
  stallTimeoutMs: integer('STREAMING_STALL_TIMEOUT_MS', 1, 3_600_000),
  /** Whether an export is itself recorded as an audit event. */
  selfAudit: boolean('STREAMING_SELF_AUDIT'),
});
