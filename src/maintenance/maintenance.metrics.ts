import { Injectable } from '@nestjs/common';
import { labelled, MetricRegistry } from '../metrics/metrics.registry';
import { Maintenance } from './maintenance';
import type { SealedIndexFigures } from './sealed-index-report';
import { Sealing } from './sealing';

/** Metrics of maintenance. */
@Injectable()
export class MaintenanceMetrics {
  constructor(registry: MetricRegistry, maintenance: Maintenance, sealing: Sealing) {
    registry.gauge(
      'audit_maintenance_last_success_timestamp_seconds',
      'When each task of maintenance last succeeded in this replica, as Unix time; 0 before that. One replica at a time runs it: take the maximum.',
      () => labelled('task', maintenance.lastSuccessSeconds()),
    );
    registry.counter(
      'audit_sealed_index_builds_total',
      'Indexes for filters that this replica has built behind the writes.',
      () => sealing.state().builds,
    );
    registry.counter(
      'audit_sealed_index_failures_total',
      'Builds of indexes for filters that failed in this replica.',
      () => sealing.state().failures,
    );
    // Only replicas that build sealed indexes have these figures.
    const figure = (of: keyof SealedIndexFigures) => () => {
      const { figures } = sealing.state();
      return figures ? [{ value: figures[of] }] : [];
    };
    registry.gauge(
      'audit_sealed_index_bytes',
      'Size of the indexes for filters, where they are built.',
      figure('bytes'),
    );
    registry.gauge(
      'audit_unsealed_events',
      'Events that no index for filters holds yet (an estimate), where they are built: filters look at them one by one.',
      figure('unsealedEvents'),
    );
  }
}
