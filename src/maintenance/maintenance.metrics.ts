import { Injectable } from '@nestjs/common';
import { labelled, MetricRegistry } from '../metrics/metrics.registry';
import { Maintenance } from './maintenance';

/** Metrics of maintenance. */
@Injectable()
export class MaintenanceMetrics {
  constructor(registry: MetricRegistry, maintenance: Maintenance) {
    registry.gauge(
      'audit_maintenance_last_success_timestamp_seconds',
      'When each task of maintenance last succeeded in this replica, as Unix time; 0 before that. One replica at a time runs it: take the maximum.',
      () => labelled('task', maintenance.lastSuccessSeconds()),
    );
  }
}
