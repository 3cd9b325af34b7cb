import type { ConfigType } from '@nestjs/config';
import { defineConfig } from './define-config';
import { boolean, integer, secret, secretUrl } from './variables';

/** What is measured and from which figure on it is an alert. */
export const monitoringConfig = defineConfig(
  'monitoring',
  {
    /** Whether requests are measured and alerts raised. */
    enabled: boolean('MONITORING_ENABLED'),
    /** Milliseconds from which on a request counts as slow. */
    slowRequestThresholdMs: integer('SLOW_REQUEST_THRESHOLD_MS', 1, 3_600_000),
    /** Milliseconds from which on a query counts as slow. */
    slowQueryThresholdMs: integer('SLOW_QUERY_THRESHOLD_MS', 1, 3_600_000),
    /** Memory use in percent of the limit over which there is an alert. */
    memoryAlertPercent: integer('MEMORY_ALERT_PERCENT', 1, 100),
    /** Cache hit ratio in percent below which there is an alert. */
    cacheHitRatioAlertPercent: integer('CACHE_HIT_RATIO_ALERT_PERCENT', 0, 100),
    /** Running requests in percent of the limit over which there is an alert. */
    concurrencyAlertPercent: integer('CONCURRENCY_ALERT_PERCENT', 1, 100),
    /** Where alerts are posted; unset means nowhere. */
    alertWebhookUrl: secretUrl('ALERT_WEBHOOK_URL', ['http', 'https']),
    /** What signs the posted alerts; unset means that they are not signed. */
    alertWebhookSecret: secret('ALERT_WEBHOOK_SECRET'),
    /** Milliseconds between two samples of the figures. */
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
