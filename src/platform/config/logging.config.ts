import type { ConfigType } from '@nestjs/config';
import { defineConfig } from './define-config';
import { choice } from './variables';

/** Level and format of the log. */
export const loggingConfig = defineConfig('logging', {
  level: choice('LOG_LEVEL', ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']),
  /** JSON lines, or coloured text for terminals. */
  format: choice('LOG_FORMAT', ['json', 'pretty']),
});

export type LoggingConfig = ConfigType<typeof loggingConfig>;
