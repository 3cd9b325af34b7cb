import * as fc from 'fast-check';
import { randomUUID } from 'node:crypto';
import { type AuditEventFilter } from '../../src/audit/event/audit-event-filter';
import { eventTest, recordedEventOf } from '../../src/audit/event/event-test';
import { fetchExport, linesOf } from '../support/export-client';
import { NAUGHTY_STRINGS } from '../support/naughty-strings';
import { TailClient } from '../support/tail-client';
import { EVENTS, TestService, tokenOf } from '../support/test-service';
import { until } from '../integration/until.fixture';

/** A value of metadata, as JSON text: numbers keep their spelling. */
interface MadeEvent {
  id: string;
  organizationId: string;
  timestamp: string;
  principalId: string | null;
  principalName?: string;
  action: string;
  status: string;
  targetResourceType: string | null;
  targetResourceId: string | null;
  targets?: { type?: string; id?: string; name?: string }[];
  outcomeDescription: string | null;
  correlationId: string | null;
  sessionContext: { sessionId?: string; ipAddress?: string } | null;
  metadata: unknown;
}

/** Numbers of metadata as they are spelled in JSON. */
class Spelled {
  constructor(readonly text: string) {}
}

function jsonOf(value: unknown): string {
  if (value instanceof Spelled) return value.text;
  if (Array.isArray(value)) return `[${value.map(jsonOf).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${jsonOf(member)}`).join(',')}}`;
}

const usable = NAUGHTY_STRINGS.filter(
  (text) => text !== '' && !text.includes('\0') && text.isWellFormed() && [...text].length <= 255,
);
const naughty = fc.constantFrom(...usable);
/** Few values, so that filters find some; with what operators and escapes are made of. */
const value = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom('alice', 'Alice', 'alice*', '!alice', 'al', 'al\\', 'al\\*', '\\!al', 'CORP\\alice', 'a,b', '*', '!', 'Größe', 'ΟΔΟΣ', 'ὈΔΟΣ x', '大小大小', '10.1.2.3') },
  { weight: 1, arbitrary: naughty },
); // prettier-ignore
const address = fc.constantFrom(
  '10.1.2.3', '10.1.255.255', '10.2.0.0', '010.1.2.3', '10.1.2.3:443', '::ffff:10.1.2.9', '::FFFF:a01:0203', '2001:db8::1',
  '2001:DB8:0::1', '2001:db9::', 'fe80::1%eth0', 'AWS Internal', '::', '1::2::3', '10.1.2', '0x7f.1', '::1.2.3.4', '10.1.2.3 ',
); // prettier-ignore
const number = fc.constantFrom('0', '-0', '1', '1.0', '1e0', '10e-1', '42', '42.0', '4.2e1', '9223372036854775807', '9223372036854775808', '1e400', '1E+400', '10e399', '1e999999', '0.1', '1.10', '1e-7'); // prettier-ignore
const key = fc.oneof(
  fc.constantFrom('a', 'b', 'a.b', 'a=b', 'k"ey', 'größe', '__proto__', 'x\\', '!n', ''),
  naughty,
);
const { json } = fc.letrec((tie) => ({
  json: fc.oneof(
    { maxDepth: 3, depthSize: 'small' },
    value, number.map((text) => new Spelled(text)), fc.constantFrom(true, false, null), tie('list'), tie('object'),
  ),
  list: fc.array(tie('json'), { maxLength: 3 }),
  object: fc.uniqueArray(fc.tuple(key, tie('json')), { maxLength: 3, selector: ([name]) => name }).map(objectOf),
})); // prettier-ignore

function objectOf(entries: [string, unknown][]): object {
  const object = {};
  for (const [name, member] of entries) {
    Object.defineProperty(object, name, { value: member, enumerable: true, configurable: true });
  }
  return object;
}

const metadata = fc.option(fc.uniqueArray(fc.tuple(key, json), { maxLength: 4, selector: ([name]) => name }).map(objectOf)); // prettier-ignore
const target = fc
  .record({ type: value, id: value, name: value }, { requiredKeys: [] })
  .filter(({ type, id }) => type !== undefined || id !== undefined);
const nullable = <T>(one: fc.Arbitrary<T>) => fc.option(one, { nil: null });

const event: fc.Arbitrary<Omit<MadeEvent, 'id' | 'organizationId'>> = fc.record({
  timestamp: fc.integer({ min: 0, max: 40 }).map((day) => new Date(Date.UTC(2026, 5, 1 + day)).toISOString()),
  principalId: nullable(value),
  action: value,
  status: fc.constantFrom('success', 'failure', 'attempt'),
  outcomeDescription: nullable(value),
  correlationId: nullable(value),
  sessionContext: nullable(fc.record({ sessionId: value, ipAddress: address }, { requiredKeys: [] })),
  metadata,
  resource: fc.oneof(
    fc.record({ targetResourceType: nullable(value), targetResourceId: nullable(value) }),
    fc.array(target, { minLength: 1, maxLength: 3 }).map((targets) => ({
      targetResourceType: targets[0]?.type ?? null, targetResourceId: targets[0]?.id ?? null, targets,
    })),
  ),
  name: fc.option(value, { nil: undefined }),
}).map(({ resource, name, ...rest }) => ({ ...rest, ...resource, ...(name === undefined ? {} : { principalName: name }) })); // prettier-ignore

// --- Conditions: how each is written, and whether an event fulfils it, decided in plain code.

interface Condition {
  /** Parameters of REST; lists are put together by name. */
  parameter: string;
  element: string;
  isNegated: boolean;
  /** What alternatives have in common. */
  group: string;
  holds: (event: MadeEvent) => boolean;
}

const PAIRS = /\\*$/;
const escapeEnd = (text: string): string => {
  if (!text.endsWith('*')) return text;
  const before = text.slice(0, -1);
  return `${before}${PAIRS.exec(before)?.[0] ?? ''}\\*`;
};
const escapeStart = (text: string): string =>
  text.replace(/^(\\*)!/, (_, some: string) => `${some}${some}\\!`);
const withStar = (prefix: string): string => `${prefix}${PAIRS.exec(prefix)?.[0] ?? ''}*`;

type Match = { kind: 'equal' | 'prefix' | 'any'; text: string; isNegated: boolean };
const match: fc.Arbitrary<Match> = fc.oneof(
  fc.record({ kind: fc.constant('equal' as const), text: value, isNegated: fc.boolean() }),
  fc.record({ kind: fc.constant('prefix' as const), text: value.map((text) => [...text].slice(0, 3).join('')), isNegated: fc.boolean() }),
  fc.record({ kind: fc.constant('any' as const), text: fc.constant(''), isNegated: fc.boolean() }),
); // prettier-ignore

function written({ kind, text, isNegated }: Match): string {
  const body = kind === 'any' ? '*' : kind === 'prefix' ? withStar(text) : escapeEnd(text);
  return isNegated ? `!${body}` : escapeStart(body);
}
function fits({ kind, text }: Match, found: string | null | undefined): boolean {
  if (found === null || found === undefined) return false;
  return kind === 'any' || (kind === 'prefix' ? found.startsWith(text) : found === text);
}

const FIELDS: Record<string, (event: MadeEvent) => string | null | undefined> = {
  principal_ids: ({ principalId }) => principalId,
  actions: ({ action }) => action,
  correlation_ids: ({ correlationId }) => correlationId,
  session_ids: ({ sessionContext }) => sessionContext?.sessionId,
  ip_addresses: ({ sessionContext }) => sessionContext?.ipAddress,
};
const fieldCondition: fc.Arbitrary<Condition> = fc
  .tuple(fc.constantFrom(...Object.keys(FIELDS)), match)
  .filter(([, { kind, text }]) => kind !== 'prefix' || text !== '')
  .map(([parameter, one]) => ({
    parameter, element: written(one), isNegated: one.isNegated, group: parameter,
    holds: (event) => fits(one, FIELDS[parameter]?.(event)) !== one.isNegated,
  })); // prettier-ignore

const targetsOf = ({ targets, targetResourceType, targetResourceId }: MadeEvent) =>
  targets ?? [{ type: targetResourceType, id: targetResourceId }];
const targetCondition: fc.Arbitrary<Condition> = fc
  .tuple(fc.constantFrom('resource_ids', 'target_types'), match)
  .filter(([, { kind, text }]) => kind !== 'prefix' || text !== '')
  .map(([parameter, one]) => ({
    parameter, element: written(one), isNegated: one.isNegated, group: parameter,
    holds: (event) => targetsOf(event).some(({ type, id }) => fits(one, parameter === 'resource_ids' ? id : type)) !== one.isNegated,
  })); // prettier-ignore

const NETWORKS: Record<string, (bytes: readonly number[]) => boolean> = {
  '10.1.0.0/16': ([a, b, ...rest]) => rest.length === 2 && a === 10 && b === 1,
  '10.0.0.0/8': ([a, ...rest]) => rest.length === 3 && a === 10,
  '0.0.0.0/0': (bytes) => bytes.length === 4,
  '2001:db8::/32': (bytes) => bytes.length === 16 && [0x20, 1, 0xd, 0xb8].every((byte, at) => bytes[at] === byte),
  '::/0': (bytes) => bytes.length === 16,
}; // prettier-ignore
const BYTES: Record<string, readonly number[]> = {
  '10.1.2.3': [10, 1, 2, 3], '10.1.255.255': [10, 1, 255, 255], '10.2.0.0': [10, 2, 0, 0],
  '::ffff:10.1.2.9': [10, 1, 2, 9], '::FFFF:a01:0203': [10, 1, 2, 3],
  '2001:db8::1': [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
  '2001:DB8:0::1': [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
  '2001:db9::': [0x20, 1, 0xd, 0xb9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
  '::': new Array<number>(16).fill(0), '::1.2.3.4': [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
}; // prettier-ignore
const networkCondition: fc.Arbitrary<Condition> = fc
  .tuple(fc.constantFrom(...Object.keys(NETWORKS)), fc.boolean())
  .map(([network, isNegated]) => ({
    parameter: 'ip_addresses', element: `${isNegated ? '!' : ''}${network}`, isNegated, group: 'ip_addresses',
    holds: ({ sessionContext }) => {
      const bytes = BYTES[sessionContext?.ipAddress ?? ''];
      return (bytes !== undefined && NETWORKS[network]?.(bytes) === true) !== isNegated;
    },
  })); // prettier-ignore

/** The values at a path, lists standing for their elements; undefined where there are none. */
function* valuesAt(from: unknown, path: readonly string[]): Generator<unknown> {
  if (path.length === 0) yield from;
  if (Array.isArray(from)) for (const element of from) yield* valuesAt(element, path);
  else if (
    typeof from === 'object' &&
    from !== null &&
    !(from instanceof Spelled) &&
    path.length > 0
  ) {
    const [name = '', ...rest] = path;
    if (Object.hasOwn(from, name)) yield* valuesAt((from as Record<string, unknown>)[name], rest);
  }
}

/** Digits and power of ten, without zeros at the ends: of any size. */
function decimal(text: string): string {
  const [, sign = '', whole = '', fraction = '', power = '0'] = /^(-?)(\d+)\.?(\d*)(?:e([+-]?\d+))?$/i.exec(text) ?? [];
  let digits = BigInt(whole + fraction);
  let exponent = BigInt(power) - BigInt(fraction.length);
  if (digits === 0n) return '0';
  for (; digits % 10n === 0n; digits /= 10n) exponent += 1n;
  return `${sign}${digits}e${exponent}`;
} // prettier-ignore

const pathName = key.filter((name) => name !== '');
const metadataCondition: fc.Arbitrary<Condition> = fc
  .record({
    path: fc.array(pathName, { minLength: 1, maxLength: 2 }),
    wanted: fc.oneof(
      fc.constant(undefined),
      fc.record({ kind: fc.constant('quoted' as const), text: value }),
      fc.record({ kind: fc.constant('prefix' as const), text: value.map((text) => [...text].slice(0, 3).join('')) }),
      number.map((text) => ({ kind: 'bare' as const, text })),
      fc.constantFrom('true', 'null', 'alice', 'Größe').map((text) => ({ kind: 'bare' as const, text })),
    ),
    isNegated: fc.boolean(),
  })
  .filter(({ wanted }) => wanted?.kind !== 'prefix' || (wanted.text !== '' && !wanted.text.startsWith('"')))
  .map(({ path, wanted, isNegated }) => {
    const names = path.map((name) => name.replace(/[.=\\]/g, '\\$&')).join('.');
    const body = wanted === undefined ? names : `${names}=${
      wanted.kind === 'quoted' ? JSON.stringify(wanted.text) : wanted.kind === 'prefix' ? withStar(wanted.text) : wanted.text}`;
    const isHeld = (found: unknown): boolean => {
      if (wanted === undefined) return true;
      if (wanted.kind === 'prefix') return typeof found === 'string' && found.startsWith(wanted.text);
      if (found === wanted.text) return true;
      if (wanted.kind === 'quoted') return false;
      if (found instanceof Spelled) return /^-?\d/.test(wanted.text) && decimal(found.text) === decimal(wanted.text);
      return (found === null || typeof found === 'boolean') && String(found) === wanted.text;
    };
    return {
      parameter: 'metadata', element: isNegated ? `!${body}` : escapeStart(body), isNegated, group: `metadata ${JSON.stringify(path)}`,
      holds: (event: MadeEvent) => [...valuesAt(event.metadata, path)].some(isHeld) !== isNegated,
    };
  }); // prettier-ignore

const lower = (text: string) => text.toLowerCase().replaceAll('ς', 'σ');
function* textsIn(from: unknown): Generator<string> {
  if (typeof from === 'string') yield from;
  else if (from instanceof Spelled) yield from.text;
  else if (typeof from === 'object' && from !== null) {
    for (const one of Object.values(from)) yield* textsIn(one);
  }
}
const textsOf = (event: MadeEvent): string[] =>
  [event.action, event.principalId, event.principalName, event.targetResourceType, event.targetResourceId, event.outcomeDescription,
    ...textsIn(event.targets), ...textsIn(event.metadata)].filter((text) => typeof text === 'string'); // prettier-ignore

const textCondition: fc.Arbitrary<Condition> = fc
  .tuple(fc.oneof(value, number), fc.boolean(), fc.nat(3))
  .map(([text, isNegated, from]) => ({ text: [...text].slice(from > 1 ? 1 : 0).join(''), isNegated }))
  .filter(({ text }) => [...lower(text)].length >= 3 && !text.includes('\x01'))
  .map(({ text, isNegated }) => ({
    parameter: 'q', element: `${isNegated ? '-' : ''}"${text.replace(/["\\]/g, '\\$&')}"`, isNegated, group: `q ${randomUUID()}`,
    holds: (event) => textsOf(event).some((one) => lower(one).includes(lower(text))) !== isNegated,
  })); // prettier-ignore

const conditions = fc.array(
  fc.oneof(fieldCondition, targetCondition, networkCondition, metadataCondition, textCondition),
  { minLength: 1, maxLength: 4 },
);

/** Alternatives of what is wanted in one list; everything else holds together. */
function selects(all: readonly Condition[], event: MadeEvent): boolean {
  const groups = new Map<string, Condition[]>();
  for (const one of all) {
    if (one.isNegated && !one.holds(event)) return false;
    if (!one.isNegated) groups.set(one.group, [...(groups.get(one.group) ?? []), one]);
  }
  return [...groups.values()].every((group) => group.some(({ holds }) => holds(event)));
}

function queryOf(all: readonly Condition[]): URLSearchParams {
  const query = new URLSearchParams();
  const texts: string[] = [];
  for (const { parameter, element } of all) {
    if (parameter === 'q') texts.push(element);
    else query.append(parameter, element);
  }
  if (texts.length > 0) query.set('q', texts.join(' '));
  return query;
}

/** One value is a comma-separated list, several are taken as they are. */
function withRepetition(query: URLSearchParams): string {
  const parts: string[] = [];
  for (const name of new Set(query.keys())) {
    const all = query.getAll(name);
    const list = name === 'q' || all.length > 1 ? all : all.map((one) => one.replace(/(\\*),/g, (_, some: string) => `${some}${some}\\,`));
    for (const one of list) parts.push(`${name}=${encodeURIComponent(one)}`);
  }
  return parts.join('&');
} // prettier-ignore

let service: TestService;
let token: string;
let organizations = 0;

beforeAll(async () => {
  service = await TestService.start({ RATE_LIMIT_MAX: '100000' });
  token = await tokenOf({ organizations: ['*'], scope: 'audit:read audit:write audit:export' });
});
afterAll(() => service.stop());

async function store(events: Omit<MadeEvent, 'id' | 'organizationId'>[]): Promise<MadeEvent[]> {
  const organizationId = `org-${(organizations += 1)}`;
  const made = events.map((one) => ({ ...one, id: randomUUID(), organizationId }));
  const answer = await service.request('POST', `${EVENTS}/bulk`, {
    token,
    body: `{"events":[${made.map(jsonOf).join(',')}]}`,
  });
  if (answer.status !== 201) throw new Error(answer.text.slice(0, 2000));
  return made;
}

const idsIn = (text: string): string[] =>
  (JSON.parse(text) as { data: { id: string }[] }).data.map(({ id }) => id).sort();

describe('filters with operators, metadata and texts', () => {
  it('select what a scan in plain code selects: in lists, exports and feeds', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(event, { minLength: 1, maxLength: 40 }),
        fc.array(conditions, { minLength: 20, maxLength: 20 }),
        async (events, filters) => {
          const made = await store(events);
          const organizationId = made[0]?.organizationId ?? '';
          const all = await service.get(`${EVENTS}?organization_ids=${organizationId}&limit=1000`, token);
          const stored = linesOf((await fetchExport(service, token, `organization_ids=${organizationId}&format=ndjson`)).text);
          expect(idsIn(all.text)).toHaveLength(made.length);
          for (const filter of filters) {
            const expected = made.filter((one) => selects(filter, one)).map(({ id }) => id).sort();
            const query = `organization_ids=${organizationId}&${withRepetition(queryOf(filter))}`;
            const answer = await service.get(`${EVENTS}?${query}&limit=1000&include_total=true`, token);
            expect({ query, status: answer.status, ids: answer.status === 200 ? idsIn(answer.text) : answer.text }).toEqual({ query, status: 200, ids: expected });
            expect(answer.json.pagination.total).toBe(expected.length);
            const exported = linesOf((await fetchExport(service, token, `${query}&format=ndjson`)).text);
            expect({ query, ids: exported.map((line) => (JSON.parse(line) as { id: string }).id).sort() }).toEqual({ query, ids: expected });
            // Feeds decide in memory.
            const test = eventTest(filterIn(queryOf(filter)));
            const live = stored.filter((text) => test(recordedEventOf(text)));
            expect({ query, ids: live.map((line) => (JSON.parse(line) as { id: string }).id).sort() }).toEqual({ query, ids: expected });
          }
        },
      ),
      { numRuns: 30 },
    ); // prettier-ignore
  }, 300_000);
});

describe('a live feed', () => {
  it('has only the events of its query, those before it and those after', async () => {
    const sample = fc.sample(event, { numRuns: 1, seed: 3 })[0];
    if (!sample) throw new Error('There is no sample.');
    const fitting = {
      ...sample, principalId: 'alice', outcomeDescription: 'Rückgabe', metadata: { order: { id: new Spelled('4.2e1') } },
    }; // prettier-ignore
    const others = [
      { ...fitting, principalId: 'bob' },
      { ...fitting, outcomeDescription: 'Gabe' },
      { ...fitting, metadata: { order: { id: new Spelled('43') } } },
    ];
    const [first] = await store([fitting, ...others]);
    const organizationId = first?.organizationId ?? '';
    const query = new URLSearchParams({
      organization_ids: organizationId,
      q: 'actor:alice "RÜCKGABE"',
      metadata: 'order.id=42',
      after_sequence: '0',
    });
    const tail = await TailClient.open(`${service.url}${EVENTS}/tail?${query.toString()}`, {
      authorization: `Bearer ${token}`,
    });
    await until(() => tail.events.length > 0 || tail.isOver);
    organizations -= 1; // the same organization again
    const [, , , last] = await store([...others, fitting]);
    await until(() => tail.events.some(({ id }) => id === last?.id) || tail.isOver);
    expect(tail.events.map(({ id }) => id)).toEqual([first?.id, last?.id]);
    await tail.close();
  });
});

function filterIn(query: URLSearchParams): AuditEventFilter {
  const lists: Record<string, string> = { principal_ids: 'principalIds', actions: 'actions', correlation_ids: 'correlationIds', session_ids: 'sessionIds', ip_addresses: 'ipAddresses', resource_ids: 'resourceIds', target_types: 'targetTypes', metadata: 'metadata' }; // prettier-ignore
  const filter: Record<string, unknown> = {};
  for (const name of new Set(query.keys())) {
    if (name === 'q') filter.q = query.get('q') ?? '';
    else filter[lists[name] ?? name] = query.getAll(name);
  }
  return filter;
}
