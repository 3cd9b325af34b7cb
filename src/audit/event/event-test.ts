import { BlockList } from 'node:net';
import { isEarlier, parseFineInstant, parseInstant } from '../../platform/runtime/instant';
import { mapJsonNumbers } from '../../platform/runtime/lossless-json';
import {
  type AuditEventFilter,
  EVENT_FILTERS,
  type FilteredValues,
  MEMBER_FILTERS,
  type TargetCondition,
  targetConditions,
} from './audit-event-filter';
import { normalNumber } from './event-content';
import { type EventQuery, parseEventQuery } from './event-query';
import { fold } from './folded-text';
import { type MetadataTerm, type MetadataValues, parseMetadataTerms } from './metadata-terms';
import {
  type Alternatives,
  isAddress,
  parseValueTerms,
  plainAddress,
  type ValueTerms,
} from './value-terms';

/** A recorded event that all subscribers share. */
export interface RecordedEvent {
  organizationId: string;
  sequence: bigint;
  recordedMicros: number;
  text: string;
  /** Members that most filters compare; a parsed event takes many times the memory of its text. */
  members: FilteredMembers;
}

interface FilteredMembers {
  timestamp: string;
  values: FilteredValues;
  /** Targets after the first one, which is in values of its own. */
  targets?: readonly Target[] | undefined;
}

interface Target {
  type?: string | null;
  id?: string | null;
}

type ParsedEvent = Record<string, unknown> & {
  organizationId: string;
  timestamp: string;
  sequence: string;
  recordedAt: string;
  targets?: readonly Target[];
};

/** One filter of each value. */
const COMPARED = EVENT_FILTERS.filter(
  ({ field, member }, index) =>
    EVENT_FILTERS.findIndex((one) => one.field === field && one.member === member) === index,
);

export function recordedEventOf(text: string): RecordedEvent {
  const event = JSON.parse(text) as ParsedEvent;
  const values: FilteredValues = {};
  for (const { list, field, member } of COMPARED) values[list] = valueIn(event[field], member);
  const others = event.targets?.slice(1).map(({ type, id }) => ({ type, id }));
  return {
    organizationId: event.organizationId,
    sequence: BigInt(event.sequence),
    recordedMicros: parseInstant(event.recordedAt) ?? 0,
    text,
    members: {
      timestamp: event.timestamp,
      values,
      ...(others && others.length > 0 ? { targets: others } : {}),
    },
  };
}

function valueIn(value: unknown, member: string | undefined): string | null {
  const found =
    member === undefined ? value : (value as Record<string, unknown> | null | undefined)?.[member];
  return typeof found === 'string' ? found : null;
}

/** Tests an event against a filter, organizations aside. */
export type EventTest = (event: RecordedEvent) => boolean;

/** The test of a filter, as matchConditions and timeConditions (read/filter-conditions.ts) select rows. */
export function eventTest(filter: AuditEventFilter): EventTest {
  const tests: EventTest[] = [];
  for (const { list, isAddress: isOfAddresses } of MEMBER_FILTERS) {
    const texts = filter[list];
    if (texts === undefined) continue;
    const test = valueTest(parseValueTerms(texts, isOfAddresses));
    tests.push(({ members }) => test(members.values[list] ?? null));
  }
  for (const target of targetConditions(filter)) tests.push(...targetTests(target));
  const { startDate, endDate } = filter;
  if (startDate || endDate) {
    tests.push(({ members: { timestamp } }) => {
      const at = parseFineInstant(timestamp);
      if (!at) return false;
      return !(startDate && isEarlier(at, startDate)) && !(endDate && !isEarlier(at, endDate));
    });
  }
  for (const term of parseMetadataTerms(filter.metadata ?? [])) tests.push(metadataTest(term));
  if (filter.q !== undefined) tests.push(...queryTests(parseEventQuery(filter.q)));
  return (event) => tests.every((test) => test(event));
}

function queryTests({ filter, texts }: EventQuery): EventTest[] {
  return [
    eventTest(filter),
    ...texts.map(({ text, isNegated }): EventTest => {
      return (event) => searched(event).texts.includes(text) !== isNegated;
    }),
  ];
}

type ValueTest = (value: string | null) => boolean;

function valueTest({ wanted, unwanted }: ValueTerms): ValueTest {
  const fits = wanted ? fitting(wanted) : () => true;
  const isUnwanted = unwanted ? fitting(unwanted) : () => false;
  return (value) => fits(value) && !isUnwanted(value);
}

function fitting({ equal, prefixes, networks, isAny }: Alternatives): ValueTest {
  const values = new Set(equal);
  // One for each family: a list of IPv6 takes addresses of IPv4 for such within IPv6.
  const lists = { ipv4: new BlockList(), ipv6: new BlockList() };
  for (const network of networks) {
    const [address = '', bits] = network.split('/');
    const family = familyOf(address);
    lists[family].addSubnet(address, Number(bits), family);
  }
  return (value) => {
    if (value === null) return false;
    if (isAny || values.has(value)) return true;
    if (prefixes.some((prefix) => value.startsWith(prefix))) return true;
    if (networks.length === 0 || !isAddress(value)) return false;
    const address = plainAddress(value);
    const family = familyOf(address);
    return lists[family].check(address, family);
  };
}

const familyOf = (address: string) => (address.includes(':') ? 'ipv6' : 'ipv4');

function targetTests({ types, ids }: TargetCondition): EventTest[] {
  const [ofTypes, ofIds] = [parseValueTerms(types ?? []), parseValueTerms(ids ?? [])];
  const tests: EventTest[] = [];
  const any = (type?: Alternatives, id?: Alternatives): EventTest => {
    const [fitsType, fitsId] = [type && fitting(type), id && fitting(id)];
    const fits = (target: Target): boolean =>
      (fitsType?.(target.type ?? null) ?? true) && (fitsId?.(target.id ?? null) ?? true);
    return ({ members: { values, targets } }) =>
      fits({ type: values.resourceTypes ?? null, id: values.resourceIds ?? null }) ||
      (targets?.some(fits) ?? false);
  };
  if (ofTypes.wanted || ofIds.wanted) tests.push(any(ofTypes.wanted, ofIds.wanted));
  for (const unwanted of [
    ofTypes.unwanted && any(ofTypes.unwanted),
    ofIds.unwanted && any(undefined, ofIds.unwanted),
  ]) {
    if (unwanted) tests.push((event) => !unwanted(event));
  }
  return tests;
}

/** A number of JSON as it is spelled: no stored text begins with NUL. */
const NUMBER_MARK = '\0';

interface SearchedEvent {
  action: string;
  principalId?: string | null;
  principalName?: string | null;
  targetResourceType?: string | null;
  targetResourceId?: string | null;
  outcomeDescription?: string | null;
  targets?: unknown;
  metadata?: unknown;
}

/** Content that texts and conditions on metadata are compared with. */
interface SearchedContent {
  metadata: unknown;
  /** All texts, folded, with a character between them that no text of a query has. */
  texts: string;
}

let last: { text: string; content: SearchedContent } | undefined;

/** Of the last event only: subscribers test one event after the other, and an event may be large. */
function searched({ text }: RecordedEvent): SearchedContent {
  if (last?.text !== text) last = { text, content: searchedContent(text) };
  return last.content;
}

function searchedContent(text: string): SearchedContent {
  const marked = mapJsonNumbers(text, (number) => `"\\u0000${number}"`);
  const event = JSON.parse(marked) as SearchedEvent;
  const { action, principalId, principalName, targetResourceType, targetResourceId } = event;
  const { outcomeDescription, targets, metadata = null } = event;
  const texts: unknown[] = [action, principalId, principalName, targetResourceType];
  const all = [...texts, targetResourceId, outcomeDescription, targets, metadata];
  return { metadata, texts: fold([...textsIn(all)].join('\x01')) };
}

function* textsIn(value: unknown): Generator<string> {
  if (typeof value === 'string') yield value.startsWith(NUMBER_MARK) ? value.slice(1) : value;
  if (typeof value !== 'object' || value === null) return;
  for (const member of Object.values(value)) yield* textsIn(member);
}

function metadataTest({ path, values, isNegated }: MetadataTerm): EventTest {
  const fits = values ? (value: unknown) => jsonFits(value, values) : () => true;
  return (event) => {
    return hasAt(searched(event).metadata, path, fits) !== isNegated;
  };
}

function hasAt(
  value: unknown,
  path: readonly string[],
  fits: (value: unknown) => boolean,
): boolean {
  const [name, ...rest] = path;
  if (name === undefined && fits(value)) return true;
  if (Array.isArray(value)) return value.some((element) => hasAt(element, path, fits));
  if (name === undefined || typeof value !== 'object' || value === null) return false;
  return Object.hasOwn(value, name) && hasAt((value as Record<string, unknown>)[name], rest, fits);
}

function jsonFits(value: unknown, { texts, prefixes, numbers, words }: MetadataValues): boolean {
  if (typeof value === 'object' && value !== null) return false;
  if (typeof value !== 'string') return words.includes(String(value));
  if (value.startsWith(NUMBER_MARK)) return numbers.includes(normalNumber(value.slice(1)));
  return texts.includes(value) || prefixes.some((prefix) => value.startsWith(prefix));
}
