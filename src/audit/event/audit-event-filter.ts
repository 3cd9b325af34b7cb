import { type FineInstant, formatFineInstant } from '../../platform/runtime/instant';
import { EVENT_FIELDS, type EventField } from './audit-event';

interface ListFilter {
  field: (typeof EVENT_FIELDS)[number]['name'];
  /** Member of a field that is a JSON object. */
  member?: string;
  list: string;
  parameter: string;
  description: string;
  example: string;
  /** Names in the query language (event-query.ts). */
  qualifiers?: readonly string[];
  /** True for values that networks may stand for (value-terms.ts). */
  isAddress?: true;
  /** True for a filter of all targets of an event, not the member alone (`targetConditions`). */
  isOfTargets?: true;
}

/**
 * Filters of every API, without organizations and time. Cursors and cache keys hold this order: new ones go to the end.
 */
const FILTERS = [
  {
    field: 'principalId',
    list: 'principalIds',
    parameter: 'principal_ids',
    description: 'By these principals.',
    example: 'user-1,user-2',
    qualifiers: ['actor', 'principal'],
  },
  {
    field: 'action',
    list: 'actions',
    parameter: 'actions',
    description: 'These actions.',
    example: 'user.login,user.logout',
    qualifiers: ['action'],
  },
  {
    field: 'status',
    list: 'statuses',
    parameter: 'statuses',
    description: 'With these outcomes.',
    example: 'failure,attempt',
    qualifiers: ['status'],
  },
  {
    field: 'dataClassification',
    list: 'dataClassifications',
    parameter: 'data_classifications',
    description: 'Of these classifications.',
    example: 'CONFIDENTIAL,PHI',
    qualifiers: ['classification'],
  },
  {
    field: 'targetResourceType',
    list: 'resourceTypes',
    parameter: 'resource_types',
    description: 'On resources of these types: any target of an event.',
    example: 'Patient,Observation',
    qualifiers: ['resource_type', 'target_type'],
    isOfTargets: true,
  },
  {
    field: 'targetResourceId',
    list: 'resourceIds',
    parameter: 'resource_ids',
    description: 'On these resources: any target of an event, the same one that has the type.',
    example: 'pat-1,pat-2',
    qualifiers: ['resource', 'target'],
    isOfTargets: true,
  },
  {
    field: 'correlationId',
    list: 'correlationIds',
    parameter: 'correlation_ids',
    description: 'With these correlation ids.',
    example: 'req-7f3a,req-7f3b',
    qualifiers: ['correlation'],
  },
  {
    field: 'principalType',
    list: 'principalTypes',
    parameter: 'principal_types',
    description: 'By principals of these kinds.',
    example: 'user,service',
    qualifiers: ['actor_type'],
  },
  {
    field: 'targetResourceType',
    list: 'targetTypes',
    parameter: 'target_types',
    description:
      'With a target of these types. Filters of targets and of resources hold for one target each, which may be another.',
    example: 'Invoice,Order',
    isOfTargets: true,
  },
  {
    field: 'targetResourceId',
    list: 'targetIds',
    parameter: 'target_ids',
    description: 'With one of these targets, the same one that has the type.',
    example: 'inv-17,inv-18',
    isOfTargets: true,
  },
  {
    field: 'sessionContext',
    member: 'sessionId',
    list: 'sessionIds',
    parameter: 'session_ids',
    description: 'In these sessions.',
    example: 's-81f3,s-81f4',
    qualifiers: ['session'],
  },
  {
    field: 'sessionContext',
    member: 'ipAddress',
    list: 'ipAddresses',
    parameter: 'ip_addresses',
    description: 'From these addresses, or from networks such as `10.1.0.0/16` or `2001:db8::/32`.',
    example: '198.51.100.7,10.1.0.0/16',
    qualifiers: ['ip'],
    isAddress: true,
  },
] as const satisfies readonly ListFilter[];

type Filter = (typeof FILTERS)[number];
type FilteredField<F extends Filter> = Extract<(typeof EVENT_FIELDS)[number], { name: F['field'] }>;

/** Filters before the first addition, which cursors of every version hold. */
const FIRST_FILTERS = 7;

/** A filter with its column and the column's allowed values, if any. */
export type EventFilter = ListFilter &
  Pick<Filter, 'field' | 'list' | 'parameter'> &
  Pick<EventField, 'column' | 'words'>;

/** Values that a filter compares, by its list. */
export type FilteredValues = Partial<Record<Filter['list'], string | null | undefined>>;

/** Optional lists of values, named as in code (`list`) or in query strings (`parameter`). */
export type FilterLists<Name extends 'list' | 'parameter'> = {
  [F in Filter as F[Name]]?: FilteredField<F> extends { words: readonly (infer Word)[] }
    ? Word[]
    : string[];
};

export const EVENT_FILTERS: readonly EventFilter[] = FILTERS.map((filter) => {
  const field: EventField | undefined = EVENT_FIELDS.find(({ name }) => name === filter.field);
  if (!field) throw new TypeError(`An event has no field ${filter.field}.`);
  return { ...filter, column: field.column, words: field.words };
});

/** Filters that compare one member of an event. */
export const MEMBER_FILTERS: readonly EventFilter[] = EVENT_FILTERS.filter(
  ({ isOfTargets }) => !isOfTargets,
);

/** Conditions on one target: of what is wanted, type and id hold for the same; what is unwanted, for none. */
export interface TargetCondition {
  types?: readonly string[] | undefined;
  ids?: readonly string[] | undefined;
}

/** The conditions of a filter on targets, each on one of an event's. */
export function targetConditions(filter: AuditEventFilter): TargetCondition[] {
  const conditions = [
    { types: filter.resourceTypes, ids: filter.resourceIds },
    { types: filter.targetTypes, ids: filter.targetIds },
  ];
  return conditions.filter(({ types, ids }) => types ?? ids);
}

/** Filter of events. Lists are alternatives (value-terms.ts), members all hold. */
export interface AuditEventFilter extends FilterLists<'list'> {
  /** Conditions on metadata (metadata-terms.ts). */
  metadata?: string[];
  /** In the query language (event-query.ts). */
  q?: string;
  startDate?: FineInstant;
  /** Exclusive. */
  endDate?: FineInstant;
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
    at === undefined ? null : formatFineInstant(at),
  );
  // Later filters are named, where there are any: without them the text is that of every version.
  const [first, later] = [lists.slice(0, FIRST_FILTERS), lists.slice(FIRST_FILTERS)];
  const named: unknown[] = later.flatMap((values, index) =>
    values ? [[EVENT_FILTERS[FIRST_FILTERS + index]?.list, values]] : [],
  );
  if (filter.metadata) named.push(['metadata', [...new Set(filter.metadata)].sort()]);
  if (filter.q !== undefined) named.push(['q', filter.q]);
  return JSON.stringify([
    range,
    first,
    sort.field,
    sort.direction,
    ...(named.length > 0 ? [named] : []),
  ]);
}
