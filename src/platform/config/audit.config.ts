import { defineConfig } from './define-config';
import { choice, integer } from './variables';

/** Settings of bulk writes, partitions and retention. */
export const auditConfig = defineConfig('audit', {
  /** Events in one transaction. */
  bulkMaxEvents: integer('BULK_MAX_EVENTS', 1, 100_000),
  partitionInterval: choice('PARTITION_INTERVAL', ['monthly']),
  /** Partitions made ahead of the current one. */
  partitionPrecreate: integer('PARTITION_PRECREATE', 0, 120),
  /** 0 keeps events for ever. */
  retentionDays: integer('RETENTION_DAYS', 0, 36_500),
});
