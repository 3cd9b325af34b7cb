import { type AuditEventFilter, targetConditions } from '../event/audit-event-filter';
import type { SearchKey } from './search-indexes';
import type { IndexedFilter } from './sealed-statement';

/** Filters of one member, and the index of each. */
const LISTS = {
  correlation: 'correlationIds',
  principal: 'principalIds',
  action: 'actions',
} as const satisfies Partial<Record<SearchKey, keyof AuditEventFilter>>;

/** The filters that indexes serve, the likely rarest first. */
export function indexedFilters(filter: AuditEventFilter): IndexedFilter[] {
  const of = (key: keyof typeof LISTS): IndexedFilter[] => {
    const values = filter[LISTS[key]];
    return values ? [{ key, values }] : [];
  };
  const targets = targetConditions(filter).flatMap(({ ids }): IndexedFilter[] =>
    ids ? [{ key: 'target', values: ids, isOfTargets: true }] : [],
  );
  return [...of('correlation'), ...targets, ...of('principal'), ...of('action')];
}
