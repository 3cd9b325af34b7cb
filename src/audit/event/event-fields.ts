import { DATA_CLASSIFICATIONS, EVENT_STATUSES } from './audit-event';

/** A member of an event's JSON text, a column of its table and a cell of its CSV row. */
export interface EventField {
  name: string;
  column: string;
  type: 'uuid' | 'timestamptz' | 'bigint' | 'text' | 'json';
  /** Allowed values of a text; absent for any text. */
  words?: readonly string[];
  isNullable?: true;
  isRecorded?: true;
  /** Comparison of two events with one id: exact, or by JSON value. */
  comparison?: 'exact' | 'json';
}

const TEXT = { type: 'text', comparison: 'exact' } as const;
const OPTIONAL_TEXT = { ...TEXT, isNullable: true } as const;
const OPTIONAL_JSON = { type: 'json', comparison: 'json', isNullable: true } as const;

/** Fields of an event in the order of its JSON text; source of SELECT and INSERT lists, CSV and filters. */
export const EVENT_FIELDS = [
  { name: 'id', column: 'id', type: 'uuid' },
  { name: 'timestamp', column: 'timestamp', type: 'timestamptz' },
  { name: 'recordedAt', column: 'recorded_at', type: 'timestamptz', isRecorded: true },
  { name: 'sequence', column: 'sequence', type: 'bigint', isRecorded: true },
  { name: 'organizationId', column: 'organization_id', ...TEXT },
  { name: 'principalId', column: 'principal_id', ...OPTIONAL_TEXT },
  { name: 'action', column: 'action', ...TEXT },
  { name: 'targetResourceType', column: 'target_resource_type', ...OPTIONAL_TEXT },
  { name: 'targetResourceId', column: 'target_resource_id', ...OPTIONAL_TEXT },
  { name: 'status', column: 'status', ...TEXT, words: EVENT_STATUSES },
  { name: 'outcomeDescription', column: 'outcome_description', ...OPTIONAL_TEXT },
  {
    name: 'dataClassification',
    column: 'data_classification',
    ...TEXT,
    words: DATA_CLASSIFICATIONS,
  },
  { name: 'correlationId', column: 'correlation_id', ...OPTIONAL_TEXT },
  { name: 'sessionContext', column: 'session_context', ...OPTIONAL_JSON },
  { name: 'metadata', column: 'metadata', ...OPTIONAL_JSON },
] as const satisfies readonly EventField[];

type Field = (typeof EVENT_FIELDS)[number];

interface ListFilter {
  field: Field['name'];
  list: string;
  parameter: string;
  description: string;
  example: string;
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
  },
  {
    field: 'action',
    list: 'actions',
    parameter: 'actions',
    description: 'These actions.',
    example: 'user.login,user.logout',
  },
  {
    field: 'status',
    list: 'statuses',
    parameter: 'statuses',
    description: 'With these outcomes.',
    example: 'failure,attempt',
  },
  {
    field: 'dataClassification',
    list: 'dataClassifications',
    parameter: 'data_classifications',
    description: 'Of these classifications.',
    example: 'CONFIDENTIAL,PHI',
  },
  {
    field: 'targetResourceType',
    list: 'resourceTypes',
    parameter: 'resource_types',
    description: 'On resources of these types.',
    example: 'Patient,Observation',
  },
  {
    field: 'targetResourceId',
    list: 'resourceIds',
    parameter: 'resource_ids',
    description: 'On these resources.',
    example: 'pat-1,pat-2',
  },
  {
    field: 'correlationId',
    list: 'correlationIds',
    parameter: 'correlation_ids',
    description: 'With these correlation ids.',
    example: 'req-7f3a,req-7f3b',
  },
] as const satisfies readonly ListFilter[];

type Filter = (typeof FILTERS)[number];
type FilteredField<F extends Filter> = Extract<Field, { name: F['field'] }>;

/** A filter with its column and the column's allowed values, if any. */
export type EventFilter = ListFilter &
  Pick<Filter, 'field' | 'list' | 'parameter'> &
  Pick<EventField, 'column' | 'words'>;

/** Optional lists of values, named as in code (`list`) or in query strings (`parameter`). */
export type FilterLists<Name extends 'list' | 'parameter'> = {
  [F in Filter as F[Name]]?: FilteredField<F> extends { words: readonly (infer Word)[] }
    ? Word[]
    : string[];
};

export const EVENT_FILTERS: readonly EventFilter[] = FILTERS.map((filter) => {
  const { column, words }: EventField = fieldNamed(filter.field);
  return { ...filter, column, words };
});

function fieldNamed(name: Field['name']): EventField {
  const field = EVENT_FIELDS.find((one) => one.name === name);
  if (!field) throw new TypeError(`An event has no field ${name}.`);
  return field;
}
