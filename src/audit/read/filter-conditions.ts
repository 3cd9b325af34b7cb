import { type FineInstant, formatInstant } from '../../platform/runtime/instant';
import {
  type AuditEventFilter,
  type EventFilter,
  MEMBER_FILTERS,
  type TargetCondition,
  targetConditions,
} from '../event/audit-event-filter';
import { parseEventQuery, type TextTerm } from '../event/event-query';
import { type MetadataTerm, parseMetadataTerms } from '../event/metadata-terms';
import { type Alternatives, parseValueTerms, type ValueTerms } from '../event/value-terms';
import type { Values } from './values';

/** Returns the conditions of a filter on an event `e`, at any place of a list; eventTest (event-test.ts) is the same in memory. */
export function matchConditions(filter: AuditEventFilter, values: Values): string[] {
  const found: string[] = [];
  for (const one of MEMBER_FILTERS) {
    const list = filter[one.list];
    if (list) found.push(onValue(valueOf(one), parseValueTerms(list, one.isAddress), values));
  }
  for (const target of targetConditions(filter)) found.push(...onTargets(target, values));
  for (const term of parseMetadataTerms(filter.metadata ?? [])) {
    found.push(onMetadata(term, values));
  }
  if (filter.q !== undefined) {
    const query = parseEventQuery(filter.q);
    found.push(...timeConditions(query.filter, values), ...matchConditions(query.filter, values));
    for (const term of query.texts) found.push(onText(term, values));
  }
  return found;
}

/** The bounds of a filter on the timestamp of an event `e`. */
export function timeConditions(
  { startDate, endDate }: Pick<AuditEventFilter, 'startDate' | 'endDate'>,
  values: Values,
): string[] {
  const found: string[] = [];
  const bound = (operator: string, { micros }: FineInstant) =>
    found.push(`e.timestamp ${operator} ${values.bind(formatInstant(micros), 'timestamptz')}`);
  const finer = (operator: string, at: FineInstant) => {
    if (at.submicros !== '') found.push(compareFine(operator, at, values));
  };
  if (startDate) {
    bound('>=', startDate);
    finer('>=', startDate);
  }
  if (endDate) {
    bound(endDate.submicros === '' ? '<' : '<=', endDate);
    finer('<', endDate);
  }
  return found;
}

/** Exact comparison. It needs a plain bound on timestamp beside it, for the index and for pruning. */
function compareFine(operator: string, at: FineInstant, values: Values): string {
  const micros = values.bind(formatInstant(at.micros), 'timestamptz');
  const submicros = values.bind(at.submicros, 'text');
  return `(e.timestamp, coalesce(e.timestamp_submicros, '')) ${operator} (${micros}, ${submicros})`;
}

/** The value that a filter of one member compares. */
export function valueOf({ column, member }: Pick<EventFilter, 'column' | 'member'>): string {
  return member === undefined ? `e.${column}` : `(e.${column} ->> '${member}')`;
}

function onValue(value: string, { wanted, unwanted }: ValueTerms, values: Values): string {
  const parts = [
    ...(wanted ? [fitting(value, wanted, values)] : []),
    // An event without the value is one that does not have it.
    ...(unwanted ? [`(${fitting(value, unwanted, values)}) IS NOT TRUE`] : []),
  ];
  return parts.length === 1 ? (parts[0] ?? '') : `(${parts.join(' AND ')})`;
}

function fitting(
  value: string,
  { equal, prefixes, networks, isAny }: Alternatives,
  values: Values,
): string {
  if (isAny) return `${value} IS NOT NULL`;
  const parts: string[] = [];
  if (equal.length > 0) parts.push(`${value} = ANY(${values.bind(equal, 'text[]')})`);
  if (prefixes.length > 0) parts.push(`${value} ^@ ANY(${values.bind(prefixes, 'text[]')})`);
  if (networks.length > 0) {
    parts.push(`audit_address(${value}) <<= ANY(${values.bind(networks, 'inet[]')})`);
  }
  return parts.length === 1 ? (parts[0] ?? '') : `(${parts.join(' OR ')})`;
}

/**
 * One target with a wanted type and a wanted id, and none with an unwanted type or id. Most events have no other target than the
 * one in columns of its own, and are told without the list (docs/adr/0054).
 */
function onTargets({ types, ids }: TargetCondition, values: Values): string[] {
  const [ofTypes, ofIds] = [parseValueTerms(types ?? []), parseValueTerms(ids ?? [])];
  const found: string[] = [];
  const any = (columns: readonly TargetColumn[]): string => {
    const first = columns.map(({ column, terms }) => fitting(`e.${column}`, terms, values));
    const other = columns.map(({ member, terms }) => fitting(`(t ->> '${member}')`, terms, values));
    return `(${first.join(' AND ')} OR e.targets IS NOT NULL AND EXISTS (SELECT FROM json_array_elements(e.targets) t WHERE ${other.join(' AND ')}))`;
  };
  const columnsOf = (side: keyof ValueTerms): TargetColumn[] => [
    ...(ofTypes[side]
      ? [{ column: 'target_resource_type', member: 'type', terms: ofTypes[side] }]
      : []),
    ...(ofIds[side] ? [{ column: 'target_resource_id', member: 'id', terms: ofIds[side] }] : []),
  ];
  const wanted = columnsOf('wanted');
  if (wanted.length > 0) found.push(any(wanted));
  for (const column of columnsOf('unwanted')) found.push(`${any([column])} IS NOT TRUE`);
  return found;
}

interface TargetColumn {
  column: string;
  member: string;
  terms: Alternatives;
}

/** The name is searched for in the text first, which costs less than the walk over the value. */
function onMetadata({ path, values: wanted, isNegated }: MetadataTerm, values: Values): string {
  const name = values.bind(JSON.stringify(path.at(-1) ?? ''), 'text');
  const names = values.bind(path, 'text[]');
  const held = wanted
    ? `audit_json_has_value(e.metadata, ${names}, ${values.bind(wanted.texts, 'text[]')}, ${values.bind(wanted.prefixes, 'text[]')}, ${values.bind(wanted.numbers, 'text[]')}, ${values.bind(wanted.words, 'text[]')})`
    : `audit_json_has_path(e.metadata, ${names})`;
  const condition = `(strpos(e.metadata::text, ${name}) > 0 AND ${held})`;
  return isNegated ? `${condition} IS NOT TRUE` : condition;
}

/** JSON text is searched for the text as JSON spells it, before its values are walked over. */
function onText({ text, isNegated }: TextTerm, values: Values): string {
  const term = values.bind(text, 'text');
  const spelled = values.bind(JSON.stringify(text).slice(1, -1), 'text');
  const inJson = (column: string) =>
    `strpos(audit_fold(e.${column}::text), ${spelled}) > 0 AND audit_json_has_text(e.${column}, ${term})`;
  const condition = `(strpos(${SEARCHED_COLUMNS}, ${term}) > 0 OR ${inJson('metadata')} OR ${inJson('targets')})`;
  return isNegated ? `${condition} IS NOT TRUE` : condition;
}

/** Columns whose texts a query finds, each behind a character that no text of a query has. */
const SEARCHED_COLUMNS = `audit_fold(e.action || ${[
  'principal_id',
  'principal_name',
  'target_resource_type',
  'target_resource_id',
  'outcome_description',
]
  .map((column) => `coalesce(E'\\x01' || e.${column}, '')`)
  .join(' || ')})`;
