import { formatInstant, type Micros } from '../../platform/runtime/instant';
import { EVENT_FILTERS, type FilterLists } from './event-fields';

/** Which events to read. Lists are alternatives, members all hold. */
export interface AuditEventFilter extends FilterLists<'list'> {
  startDate?: Micros;
  /** Up to but not including this instant. */
  endDate?: Micros;
  organizationIds?: string[];
}

/** The order, which is total: ties are broken by id and organization. */
export interface AuditEventSort {
  field: 'timestamp' | 'sequence';
  direction: 'asc' | 'desc';
}

/** One text for all spellings of a filter and sort. Cursors are bound to it. */
export function filterFingerprint(filter: AuditEventFilter, sort: AuditEventSort): string {
  const lists = EVENT_FILTERS.map(({ list }) => {
    const values = filter[list];
    return values && [...new Set<string>(values)].sort();
  });
  const range = [filter.startDate, filter.endDate].map((at) =>
    at === undefined ? null : formatInstant(at),
  );
  return JSON.stringify([range, lists, sort.field, sort.direction]);
}
