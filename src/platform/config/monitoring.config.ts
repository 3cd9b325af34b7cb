import type { ConfigType } from '@nestjs/config';
import { defineConfig } from './define-config';
import { boolean, integer, secret, secretUrl } from './variables';

/** Settings of measurements and alert thresholds. */
export const monitoringConfig = defineConfig(
  'monitoring',
  {
    enabled: boolean('MONITORING_ENABLED'),
    /** Milliseconds from which a request counts as slow. */
    slowRequestThresholdMs: integer('SLOW_REQUEST_THRESHOLD_MS', 1, 3_600_000),
    /** Milliseconds from which a query counts as slow. */
    slowQueryThresholdMs: integer('SLOW_QUERY_THRESHOLD_MS', 1, 3_600_000),
    /** Upper bound, percent of the memory limit. */
    memoryAlertPercent: integer('MEMORY_ALERT_PERCENT', 1, 100),
    /** Lower bound in percent. */
    cacheHitRatioAlertPercent: integer('CACHE_HIT_RATIO_ALERT_PERCENT', 0, 100),
    /** Upper bound of running requests, percent of their limit. */
    concurrencyAlertPercent: integer('CONCURRENCY_ALERT_PERCENT', 1, 100),
    /** Unset: alerts are not posted. */
    alertWebhookUrl: secretUrl('ALERT_WEBHOOK_URL', ['http', 'https']),
    /** HMAC key of posted alerts; unset leaves them unsigned. */
    alertWebhookSecret: secret('ALERT_WEBHOOK_SECRET'),
    /** Milliseconds between two samples. */
    alertIntervalMs: integer('ALERT_INTERVAL_MS', 100, 3_600_000),
    /** Seconds over which slow requests are counted. */
    alertWindowSeconds: integer('ALERT_WINDOW_SECONDS', 1, 60),
  },
  {
    findConflicts: ({ alertWebhookSecret, alertWebhookUrl }) =>
      alertWebhookSecret !== undefined && alertWebhookUrl === undefined
        ? [{ variable: 'ALERT_WEBHOOK_URL', allowed: 'be set when ALERT_WEBHOOK_SECRET is' }]
        : [],
  },
);

export type MonitoringConfig = ConfigType<typeof monitoringConfig>;
