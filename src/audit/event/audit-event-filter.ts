import { formatInstant, type Micros } from '../../platform/runtime/instant';
import { EVENT_FILTERS, type FilterLists } from './event-fields';

/** Filter of events. Lists are alternatives, members all hold. */
export interface AuditEventFilter extends FilterLists<'list'> {
  startDate?: Micros;
  /** Exclusive. */
  endDate?: Micros;
  organizationIds?: string[];
}

/** Total order: ties are broken by id and organization. */
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
