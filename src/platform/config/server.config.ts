import { defineConfig } from './define-config';
import { host, integer, mebibytes, optional, path } from './variables';

/** Settings of the listener, time limits and data folder. */
export const serverConfig = defineConfig(
  'server',
  {
    /** TCP port of the API; 0 takes any free one. */
    port: integer('PORT', 0, 65_535),
    host: host('HOST'),
    /** Absolute path. */
    dataDir: path('DATA_DIR'),
    requestTimeoutMs: integer('REQUEST_TIMEOUT_MS', 1, 3_600_000),
    requestMaxSizeBytes: mebibytes('REQUEST_MAX_SIZE_MB', 1, 1024),
    /** Milliseconds for running requests after SIGTERM. */
    shutdownTimeoutMs: integer('SHUTDOWN_TIMEOUT_MS', 0, 600_000),
    /** TCP port of /metrics alone; unset leaves it on PORT. */
    metricsPort: optional(integer('METRICS_PORT', 0, 65_535)),
  },
  {
    findConflicts: ({ port, metricsPort }) =>
      metricsPort && metricsPort === port
        ? [{ variable: 'METRICS_PORT', allowed: 'be empty or differ from PORT' }]
        : [],
    derive: (settings, { profile }) => ({ profile, ...settings }),
  },
);
