import { Injectable } from '@nestjs/common';
import { MetricRegistry } from '../metrics/metrics.registry';
import { Exporter } from './exporter';

/** Metrics of exports. */
@Injectable()
export class StreamingMetrics {
  constructor(registry: MetricRegistry, exporter: Exporter) {
    registry.register(
      { name: 'exports_active', help: 'Exports that run.', type: 'gauge' },
      () => exporter.statistics().active,
    );
    registry.register(
      { name: 'exports_total', help: 'Exports that have ended, by outcome.', type: 'counter' },
      () => {
        const { completed, aborted, failed, refused } = exporter.statistics();
        return Object.entries({ completed, aborted, failed, refused }).map(([outcome, value]) => ({
          labels: { outcome },
          value,
        }));
      },
    );
    registry.register(
      { name: 'export_rows_total', help: 'Rows that were exported.', type: 'counter' },
      () => exporter.statistics().rows,
    );
    registry.register(
      {
        name: 'export_bytes_total',
        help: 'Bytes sent with them, compressed where requested.',
        type: 'counter',
      },
      () => exporter.statistics().bytes,
    );
    registry.register(
      {
        name: 'export_duration_seconds_total',
        help: 'Total duration of exports that have ended.',
        type: 'counter',
      },
      () => exporter.statistics().seconds,
    );
  }
}
