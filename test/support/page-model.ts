import { randomUUID } from 'node:crypto';
import * as fc from 'fast-check';
import { listText } from './test-service';

/** A stored event, as the model knows it. */
export interface Stored {
  id: string;
  timestamp: string;
  sequence: string;
  organizationId: string;
  [member: string]: unknown;
}

const ORGANIZATIONS = ['org-1', 'org-2', 'org,3', 'Org\\4', 'org-ü'];
const STATUSES = ['attempt', 'success', 'failure'];
const CLASSES = ['PUBLIC', 'INTERNAL', 'CONFIDENTIAL', 'PHI'];
const NAMES = ['a', 'b', 'ä,b', 'c\\', 'd\\,'];
/** Few instants, so that many events share one; some on the border of a month. */
const TIMES = [
  '2026-07-31T23:59:59.999999Z',
  '2026-08-01T00:00:00.000000Z',
  '2026-08-01T00:00:00.000001Z',
  '2026-08-01T00:00:00.000001001Z',
  '2026-08-01T00:00:00.0000019Z',
  '2026-08-15T12:00:00.000000Z',
  '2025-12-31T23:59:59.999999Z',
  '2021-01-01T00:00:00.000000Z',
];
const LISTS = {
  principal_ids: ['principalId', NAMES],
  actions: ['action', NAMES],
  statuses: ['status', STATUSES],
  data_classifications: ['dataClassification', CLASSES],
  correlation_ids: ['correlationId', NAMES],
  principal_types: ['principalType', NAMES],
  resource_types: ['targets', NAMES],
  resource_ids: ['targets', NAMES],
  target_types: ['targets', NAMES],
  target_ids: ['targets', NAMES],
} as const;
/** Filters that one target has to fit, of all that an event has. */
const TARGET_LISTS = [
  ['resource_types', 'resource_ids'],
  ['target_types', 'target_ids'],
] as const;

const maybe = (values: readonly string[]) => fc.option(fc.constantFrom(...values), { freq: 4 });
const sharedIds = Array.from({ length: 30 }, () => randomUUID());
const target = fc
  .record({ type: maybe(NAMES), id: maybe(NAMES) })
  .filter(({ type, id }) => type !== null || id !== null);
/** An event to store: few values each, so that many are equal. */
export const sampleEvent = fc
  .record({
    organizationId: fc.constantFrom(...ORGANIZATIONS),
    timestamp: fc.constantFrom(...TIMES),
    id: fc.option(fc.constantFrom(...sharedIds)),
    principalId: maybe(NAMES),
    action: fc.constantFrom(...NAMES),
    status: fc.constantFrom(...STATUSES),
    dataClassification: fc.constantFrom(...CLASSES),
    targetResourceType: maybe(NAMES),
    targetResourceId: maybe(NAMES),
    correlationId: maybe(NAMES),
    principalType: maybe(NAMES),
    targets: fc.option(fc.array(target, { minLength: 1, maxLength: 4 })),
  })
  .map(({ targetResourceType, targetResourceId, ...event }) =>
    event.targets === null ? { ...event, targetResourceType, targetResourceId } : event,
  );

/** Events as the service has stored them, by the receipts of a bulk write, whose `status` is not the event's. */
export function storedOf(
  sent: readonly object[],
  receipts: readonly { id: string; sequence: string }[],
): Stored[] {
  return sent.map((event, index) => {
    const { id, sequence } = receipts[index] ?? {};
    return { ...event, id, sequence } as Stored;
  });
}

/** What one reader asks for, and the organizations of its token. */
export interface Ask {
  mine: string[];
  organization_ids: string[] | null;
  lists: Partial<Record<keyof typeof LISTS, string[] | null>>;
  start_date: string | null;
  end_date: string | null;
  sort_field: 'timestamp' | 'sequence' | null;
  sort_direction: 'asc' | 'desc' | null;
}

const dates = fc.option(
  fc.constantFrom(
    ...TIMES,
    '2026-08-01',
    '2026-08-01T02:00:00+02:00',
    '2021-01-01T00:00:00.000001Z',
    '2026-08-01T02:00:00.0000010010+02:00',
    '2026-08-01T00:00:00.000001002Z',
    '2026-07-31T23:59:59.9999999Z',
    '1970-01-01',
    '2100-01-01',
  ),
  { freq: 2 },
);
const lists = fc.record(
  Object.fromEntries(
    Object.entries(LISTS).map(([name, [, values]]) => [
      name,
      fc.option(fc.subarray([...values], { minLength: 1 }), { freq: 3 }),
    ]),
  ),
  { requiredKeys: [] },
);
const someOrganizations = fc.subarray(ORGANIZATIONS, { minLength: 1 });
function nanos(text: string): bigint {
  const [, second = '', fraction = '', zone = ''] =
    /^(.{19})(?:\.(\d+))?(Z|\+.*)$/.exec(text) ?? [];
  return second === ''
    ? BigInt(Date.parse(text)) * 1_000_000n
    : BigInt(Date.parse(`${second}${zone}`)) * 1_000_000n +
        BigInt(fraction.slice(0, 9).padEnd(9, '0'));
}

/** The two in order; a range that can hold nothing is refused. */
function rangeIn({ start_date, end_date }: Pick<Ask, 'start_date' | 'end_date'>) {
  if (start_date === null || end_date === null) return { start_date, end_date };
  if (nanos(start_date) === nanos(end_date)) return { start_date, end_date: null };
  const isOrdered = nanos(start_date) < nanos(end_date);
  return isOrdered ? { start_date, end_date } : { start_date: end_date, end_date: start_date };
}

/** Any query of a list, by any kind of reader. */
export const ask: fc.Arbitrary<Ask> = fc
  .record({
    mine: fc.oneof(someOrganizations, fc.constantFrom<string[]>(['*'], ['org-1'])),
    narrowed: fc.option(fc.array(fc.nat(9), { minLength: 1, maxLength: 3 })),
    lists: fc.oneof({ weight: 2, arbitrary: fc.constant({}) }, { weight: 3, arbitrary: lists }),
    start_date: dates,
    end_date: dates,
    sort_field: fc.option(fc.constantFrom('timestamp' as const, 'sequence' as const)),
    sort_direction: fc.option(fc.constantFrom('asc' as const, 'desc' as const)),
  })
  .map(({ narrowed, ...rest }) => {
    const pool = rest.mine[0] === '*' ? ORGANIZATIONS : rest.mine;
    const picked = narrowed?.map((at) => pool[at % pool.length] ?? 'org-1') ?? null;
    return { ...rest, ...rangeIn(rest), organization_ids: picked };
  });

/** The query parameters that spell it. */
export function queryOf({ lists: filters, ...rest }: Ask): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [name, value] of Object.entries({ ...rest, ...filters, mine: null })) {
    if (value !== null && value !== undefined)
      found[name] = Array.isArray(value) ? listText(value) : value;
  }
  return found;
}

/** The whole list that the query stands for, each event by its name. */
export function modelOf(all: readonly Stored[], asked: Ask): string[] {
  const organizations = asked.organization_ids ?? asked.mine;
  const found = all.filter((one) => {
    if (organizations[0] !== '*' && !organizations.includes(one.organizationId)) return false;
    if (asked.start_date !== null && nanos(one.timestamp) < nanos(asked.start_date)) return false;
    if (asked.end_date !== null && nanos(one.timestamp) >= nanos(asked.end_date)) return false;
    const fits = (name: keyof typeof LISTS, value: unknown): boolean =>
      asked.lists[name]?.includes(value as string) ?? true;
    const first = { type: one['targetResourceType'], id: one['targetResourceId'] };
    const targets = [first, ...((one['targets'] ?? []) as Record<string, unknown>[])];
    const isOfMembers = Object.entries(LISTS).every(
      ([name, [member]]) => member === 'targets' || fits(name as keyof typeof LISTS, one[member]),
    );
    return (
      isOfMembers &&
      TARGET_LISTS.every(([types, ids]) =>
        targets.some(({ type, id }) => fits(types, type) && fits(ids, id)),
      )
    );
  });
  const bytes = (text: string) => Buffer.from(text).toString('hex');
  const keyOf = (one: Stored) =>
    asked.sort_field === 'sequence'
      ? [one.sequence.padStart(20, '0'), bytes(one.organizationId)]
      : [one.timestamp.slice(0, 26), one.id, bytes(one.organizationId)];
  const sign = asked.sort_direction === 'asc' ? 1 : -1;
  return found
    .map((one) => ({ one, key: keyOf(one).join(' ') }))
    .sort((a, b) => sign * (a.key < b.key ? -1 : 1))
    .map(({ one }) => nameOf(one));
}

/** Tells events apart: ids alone do not. */
export const nameOf = ({ id, organizationId }: { id: string; organizationId: string }) =>
  `${organizationId} ${id}`;
