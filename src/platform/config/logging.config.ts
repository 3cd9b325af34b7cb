import { registerAs } from '@nestjs/config';
import { loadEnvironment } from './load-environment';
import { EnvVariables, readEnv } from './read-env';
import { ChoiceVariable } from './variable.decorators';

const LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
const FORMATS = ['json', 'pretty'] as const;

/** How much is logged and how it looks. */
export class LoggingEnv extends EnvVariables {
  /** The least important level that is logged. */
  @ChoiceVariable(LEVELS)
  readonly LOG_LEVEL!: (typeof LEVELS)[number];

  /** One JSON object a line, or coloured text for people. */
  @ChoiceVariable(FORMATS)
  readonly LOG_FORMAT!: (typeof FORMATS)[number];
}

export interface LoggingConfig {
  level: (typeof LEVELS)[number];
  format: (typeof FORMATS)[number];
}

/** Settings of the log. Throws a ConfigError. */
export const loggingConfig = registerAs(
  'logging',
  (environment = loadEnvironment()): LoggingConfig => {
    const env = readEnv(LoggingEnv, environment);
    return { level: env.LOG_LEVEL, format: env.LOG_FORMAT };
  },
);
