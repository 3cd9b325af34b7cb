import { registerAs } from '@nestjs/config';
import { loadEnvironment } from './load-environment';
import { type Conflict, EnvVariables, readEnv } from './read-env';
import {
  BooleanVariable,
  IntegerVariable,
  SecretVariable,
  UrlVariable,
} from './variable.decorators';

/** What is measured and from which figure on it is an alert. */
export class MonitoringEnv extends EnvVariables {
  /** Whether requests are measured and alerts raised. */
  @BooleanVariable()
  readonly MONITORING_ENABLED!: boolean;

  /** Milliseconds from which on a request counts as slow. */
  @IntegerVariable(1, 3_600_000)
  readonly SLOW_REQUEST_THRESHOLD_MS!: number;

  /** Milliseconds from which on a query counts as slow. */
  @IntegerVariable(1, 3_600_000)
  readonly SLOW_QUERY_THRESHOLD_MS!: number;

  /** Memory use in percent of the limit over which there is an alert. */
  @IntegerVariable(1, 100)
  readonly MEMORY_ALERT_PERCENT!: number;

  /** Cache hit ratio in percent below which there is an alert. */
  @IntegerVariable(0, 100)
  readonly CACHE_HIT_RATIO_ALERT_PERCENT!: number;

  /** Running requests in percent of the limit over which there is an alert. */
  @IntegerVariable(1, 100)
  readonly CONCURRENCY_ALERT_PERCENT!: number;

  /** Where alerts are posted; unset means nowhere. */
  @UrlVariable(['http', 'https'], { secretPath: true })
  readonly ALERT_WEBHOOK_URL?: string;

  /** What signs the posted alerts; unset means that they are not signed. */
  @SecretVariable()
  readonly ALERT_WEBHOOK_SECRET?: string;

  /** Milliseconds between two looks at the figures. */
  @IntegerVariable(100, 3_600_000)
  readonly ALERT_INTERVAL_MS!: number;

  /** Seconds over which slow requests are counted. */
  @IntegerVariable(1, 60)
  readonly ALERT_WINDOW_SECONDS!: number;

  override findConflicts(): Conflict[] {
    const { ALERT_WEBHOOK_SECRET: secret, ALERT_WEBHOOK_URL: url } = this;
    return secret !== undefined && url === undefined
      ? [{ variable: 'ALERT_WEBHOOK_URL', allowed: 'be set when ALERT_WEBHOOK_SECRET is' }]
      : [];
  }
}

export interface MonitoringConfig {
  enabled: boolean;
  slowRequestThresholdMs: number;
  slowQueryThresholdMs: number;
  memoryAlertPercent: number;
  cacheHitRatioAlertPercent: number;
  concurrencyAlertPercent: number;
  /** Undefined means that alerts are posted nowhere. */
  alertWebhookUrl?: string;
  /** Undefined means that posted alerts are not signed. */
  alertWebhookSecret?: string;
  alertIntervalMs: number;
  /** 1 to 60. */
  alertWindowSeconds: number;
}

/** Settings of metrics and alerts. Throws a ConfigError. */
export const monitoringConfig = registerAs(
  'monitoring',
  (environment = loadEnvironment()): MonitoringConfig => {
    const env = readEnv(MonitoringEnv, environment);
    return {
      enabled: env.MONITORING_ENABLED,
      slowRequestThresholdMs: env.SLOW_REQUEST_THRESHOLD_MS,
      slowQueryThresholdMs: env.SLOW_QUERY_THRESHOLD_MS,
      memoryAlertPercent: env.MEMORY_ALERT_PERCENT,
      cacheHitRatioAlertPercent: env.CACHE_HIT_RATIO_ALERT_PERCENT,
      concurrencyAlertPercent: env.CONCURRENCY_ALERT_PERCENT,
      alertWebhookUrl: env.ALERT_WEBHOOK_URL,
      alertWebhookSecret: env.ALERT_WEBHOOK_SECRET,
      alertIntervalMs: env.ALERT_INTERVAL_MS,
      alertWindowSeconds: env.ALERT_WINDOW_SECONDS,
    };
  },
);
