import type { ConfigType } from '@nestjs/config';
import { defineConfig } from './define-config';
import { choice } from './variables';

/** How much is logged and how it looks. */
export const loggingConfig = defineConfig('logging', {
  /** The least important level that is logged. */
  level: choice('LOG_LEVEL', ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']),
  /** One JSON object a line, or coloured text for people. */
  format: choice('LOG_FORMAT', ['json', 'pretty']),
});

export type LoggingConfig = ConfigType<typeof loggingConfig>;
