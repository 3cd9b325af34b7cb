import { formatInstant, type Micros } from '../../platform/runtime/instant';
import type { DataClassification, EventStatus } from './audit-event';

/** Which events a reader wants; every door fills in this one shape. Lists are alternatives, members all hold. */
export interface AuditEventFilter {
  /** From this instant on. */
  startDate?: Micros;
  /** Up to but not including this instant. */
  endDate?: Micros;
  organizationIds?: string[];
  principalIds?: string[];
  actions?: string[];
  statuses?: EventStatus[];
  dataClassifications?: DataClassification[];
  resourceTypes?: string[];
  resourceIds?: string[];
  correlationIds?: string[];
}

/** In which order. Ties are broken by id and organization, so the order is total. */
export interface AuditEventSort {
  field: 'timestamp' | 'sequence';
  direction: 'asc' | 'desc';
}

/** The columns that a list of the filter picks from. */
export const FILTER_COLUMNS = {
  principalIds: 'principal_id',
  actions: 'action',
  statuses: 'status',
  dataClassifications: 'data_classification',
  resourceTypes: 'target_resource_type',
  resourceIds: 'target_resource_id',
  correlationIds: 'correlation_id',
} as const satisfies Partial<Record<keyof AuditEventFilter, string>>;

/** One text for every way to write the same filter and sort: what a cursor is bound to. */
export function filterFingerprint(filter: AuditEventFilter, sort: AuditEventSort): string {
  const lists = Object.keys(FILTER_COLUMNS).map((name) => {
    const values = filter[name as keyof typeof FILTER_COLUMNS];
    return values && [...new Set<string>(values)].sort();
  });
  const range = [filter.startDate, filter.endDate].map((at) =>
    at === undefined ? null : formatInstant(at),
  );
  return JSON.stringify([range, lists, sort.field, sort.direction]);
}
