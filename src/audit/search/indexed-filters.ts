import {
  type AuditEventFilter,
  EVENT_FILTERS,
  targetConditions,
} from '../event/audit-event-filter';
import { parseEventQuery } from '../event/event-query';
import { plainValues } from '../event/value-terms';
import type { SearchKey } from './search-indexes';
import type { IndexedFilter } from './sealed-statement';

/** Filters of one member that have an index, the likely rarest first. */
const LISTS = {
  correlationIds: 'correlation',
  sessionIds: 'session',
  ipAddresses: 'ip',
  principalIds: 'principal',
  actions: 'action',
} as const satisfies Partial<Record<keyof AuditEventFilter, SearchKey>>;

/** The filters that indexes serve, of the lists and of the query: those that name values, without operators. */
export function indexedFilters(filter: AuditEventFilter): IndexedFilter[] {
  const { q, ...lists } = filter;
  const found = Object.entries(LISTS).flatMap(([list, key]): IndexedFilter[] => {
    const values = valuesOf(list as keyof typeof LISTS, lists);
    return values ? [{ key, values }] : [];
  });
  const targets = targetConditions(lists).flatMap(({ ids }): IndexedFilter[] => {
    const values = ids && plainValues(ids);
    return values ? [{ key: 'target', values, isOfTargets: true }] : [];
  });
  const query = q === undefined ? [] : indexedFilters(parseEventQuery(q).filter);
  return [...found, ...targets, ...query];
}

function valuesOf(
  list: keyof typeof LISTS,
  filter: AuditEventFilter,
): readonly string[] | undefined {
  const texts = filter[list];
  const isAddress = EVENT_FILTERS.find((one) => one.list === list)?.isAddress;
  return texts && plainValues(texts, isAddress);
}
