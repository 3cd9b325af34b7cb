import { defineConfig } from './define-config';
import { boolean, integer } from './variables';

/** Settings of exports. */
export const streamingConfig = defineConfig('streaming', {
  enabled: boolean('STREAMING_ENABLED'),
  /** Default number of rows for each fetch. */
  chunkSize: integer('STREAMING_CHUNK_SIZE', 100, 10_000),
  /** Concurrent exports of one process; one principal has at most half. */
  maxConcurrent: integer('STREAMING_MAX_CONCURRENT', 1, 1000),
  /** Milliseconds without progress before an export is disconnected. */
  stallTimeoutMs: integer('STREAMING_STALL_TIMEOUT_MS', 1, 3_600_000),
  /** Records exports as audit events. */
  selfAudit: boolean('STREAMING_SELF_AUDIT'),
});
