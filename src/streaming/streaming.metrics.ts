import { Injectable } from '@nestjs/common';
import { labelled, MetricRegistry } from '../metrics/metrics.registry';
import { Exporter } from './exporter';

/** Metrics of exports. */
@Injectable()
export class StreamingMetrics {
  constructor(registry: MetricRegistry, exporter: Exporter) {
    registry.gauge('audit_exports_active', 'Exports that run.', () => exporter.statistics().active);
    registry.counter('audit_exports_total', 'Exports that have ended, by outcome.', () => {
      const { completed, aborted, failed, refused } = exporter.statistics();
      return labelled('outcome', { completed, aborted, failed, refused });
    });
    registry.counter(
      'audit_export_rows_total',
      'Rows that were exported.',
      () => exporter.statistics().rows,
    );
    registry.counter(
      'audit_export_bytes_total',
      'Bytes sent with them, compressed where requested.',
      () => exporter.statistics().bytes,
    );
    registry.counter(
      'audit_export_duration_seconds_total',
      'Total duration of exports that have ended.',
      () => exporter.statistics().seconds,
    );
  }
}
