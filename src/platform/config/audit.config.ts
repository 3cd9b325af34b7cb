import { defineConfig } from './define-config';
import { choice, integer } from './variables';

/** How audit events are written in bulk, partitioned and kept. */
export const auditConfig = defineConfig('audit', {
  /** Most events in one transaction. */
  bulkMaxEvents: integer('BULK_MAX_EVENTS', 1, 100_000),
  /** Span of time of one partition. */
  partitionInterval: choice('PARTITION_INTERVAL', ['monthly']),
  /** Partitions made ahead of the current one. */
  partitionPrecreate: integer('PARTITION_PRECREATE', 0, 120),
  /** Days that events are kept; 0 for ever. */
  retentionDays: integer('RETENTION_DAYS', 0, 36_500),
});
