import fc from 'fast-check';
import { type AuditEventFilter, EVENT_FILTERS } from '../../src/audit/event/audit-event-filter';
import { eventTest, recordedEventOf } from '../../src/audit/event/event-test';
import type { NewEvent } from '../../src/audit/event/audit-event';
import { uuid7 } from '../../src/audit/event/uuid7';
import { COUNT_KEYS, type CountKey, isByTime } from '../../src/audit/read/count-statement';
import { EventCounts, type FoundCounts, type ParsedCount } from '../../src/audit/read/event-counts';
import { SealedReads } from '../../src/audit/search/sealed-reads';
import type { Principal } from '../../src/auth/principal';
import { databaseConfig, paginationConfig, serverConfig } from '../../src/platform/config/settings';
import { formatInstant, parseFineInstant } from '../../src/platform/runtime/instant';
import { newEvent, writeRequest } from './replica.fixture';
import { sealAll, sealingOf } from './sealing.fixture';
import { newOrganization, useTwoReplicas } from './two-replicas.fixture';

const NOW = Date.now();
const DAY_MS = 86_400_000;
const ORGANIZATIONS = ['org-a', 'org-b', 'org-ü'];
const MICROS_LENGTH = '2026-11-23T10:30:00.123456'.length;
const PATHS = { startDate: 'start_date', timeZone: 'time_zone' };
const ZONES = ['UTC', 'Europe/Berlin', 'Asia/Kolkata', 'America/New_York', 'Pacific/Chatham'];

interface StoredEvent {
  timestamp: string;
  organizationId: string;
  principalId: string | null;
  action: string;
  status: string;
  targetResourceType: string | null;
  targets?: { type?: string }[];
  text: string;
}

const text = fc.constantFrom('a', 'b', 'ab', 'ä\u0002', '\u{1F600}', '\uFF21', 'x'.repeat(200));
const kind = fc.constantFrom('Invoice', 'Order', 'Größe');
const maybe = <T>(one: fc.Arbitrary<T>) => fc.option(one, { nil: null });
const targets = maybe(
  fc.array(fc.record({ type: kind, id: text }, { requiredKeys: ['id'] }), {
    minLength: 1,
    maxLength: 4,
  }),
);
/** A hundred days to the minute before last; many at the edges of days and hours. */
const instant = fc
  .tuple(
    fc.integer({ min: 0, max: 100 * 24 - 1 }),
    fc.constantFrom(0, 0, 1, 3_599_999_999, 1_799_999_999, 1_800_000_000),
  )
  .map(([hours, micros]) => {
    const begin = Math.floor(NOW / 3_600_000 - 2) * 3_600_000 * 1000;
    return begin - hours * 3_600_000_000 + micros;
  });
const submicros = fc.constantFrom('', '', '5');
const event = fc
  .record({
    micros: instant,
    timestampSubmicros: submicros.map((digits) => (digits === '' ? null : digits)),
    organizationId: fc.constantFrom(...ORGANIZATIONS),
    principalId: maybe(text),
    action: text,
    correlationId: maybe(text),
    status: fc.constantFrom('success' as const, 'failure' as const, 'attempt' as const),
    metadata: maybe(fc.constantFrom('{"order":{"id":42}}', '{"tags":["red","blue"]}')),
    session: maybe(fc.constantFrom('10.1.2.3', '10.2.0.1', '2001:db8::1')),
    principalType: maybe(fc.constantFrom('user', 'service')),
    targets,
  })
  .map(({ micros, targets: list, session, ...rest }): Partial<NewEvent> => ({
    ...rest,
    id: uuid7(micros),
    timestamp: formatInstant(micros),
    sessionContext: session && JSON.stringify({ sessionId: 's', ipAddress: session }),
    targetResourceType: list?.[0]?.type ?? null,
    targetResourceId: list?.[0]?.id ?? null,
    targets: list && list.length > 1 ? JSON.stringify(list) : null,
  }));

const terms = (...lists: string[][]) => fc.option(fc.constantFrom(...lists), { nil: undefined });
const bound = fc.option(
  fc.tuple(instant, submicros).map(([micros, digits]) => ({ micros, submicros: digits })),
  { nil: undefined },
);
const filter = fc
  .record({
    principalIds: terms(['a'], ['!a'], ['a*', 'b'], ['!*']),
    actions: terms(['a'], ['a', 'ä\u0002'], ['!a*'], ['none']),
    correlationIds: terms(['b'], ['!b']),
    statuses: terms(['failure'], ['failure', 'success']),
    dataClassifications: terms(['INTERNAL'], ['PHI']),
    resourceTypes: terms(['Invoice'], ['!Invoice'], ['!*']),
    resourceIds: terms(['a'], ['!b']),
    targetTypes: terms(['Order', 'G*']),
    targetIds: terms(['ab']),
    sessionIds: terms(['s'], ['!*']),
    ipAddresses: terms(['10.1.0.0/16'], ['!10.0.0.0/8']),
    principalTypes: terms(['user'], ['!user']),
    metadata: terms(['order.id=42'], ['!tags=red']),
    q: fc.option(
      fc.constantFrom('actor:a', '-status:success', 'invoice -order', 'target:b metadata.order.id'),
      { nil: undefined },
    ),
    startDate: bound,
    endDate: bound,
  })
  .map((asked) => {
    // Two or three conditions at once: of more, no event is left.
    const given = Object.entries(asked).filter(([, value]) => value !== undefined);
    return given;
  })
  .chain((given) => fc.subarray(given, { maxLength: Math.min(3, given.length) }))
  .map((some) => Object.fromEntries(some) as AuditEventFilter);

function principalOf(organizations: readonly string[] | '*'): Principal {
  return { subject: 'alice', organizations, scopes: ['audit:read'] } as unknown as Principal;
}

const dates = new Map<string, Intl.DateTimeFormat>();
function dayIn(zone: string, timestamp: string): string {
  const known =
    dates.get(zone) ?? new Intl.DateTimeFormat('en-CA', { timeZone: zone, dateStyle: 'short' });
  dates.set(zone, known);
  return known.format(new Date(timestamp));
}

/** The values of an event, in plain code. */
function valuesOf(stored: StoredEvent, { by, timeZone }: ParsedCount): (string | null)[] {
  switch (by) {
    case 'action':
      return [stored.action];
    case 'principal':
      return [stored.principalId];
    case 'status':
      return [stored.status];
    case 'resource_type': {
      const all = [stored.targetResourceType, ...(stored.targets ?? []).map(({ type }) => type)];
      const types = new Set(all.filter((type) => typeof type === 'string'));
      return types.size === 0 ? [null] : [...types];
    }
    case 'day':
      return [dayIn(timeZone, stored.timestamp)];
    case 'hour':
      return [`${stored.timestamp.slice(0, 13)}:00:00.000000Z`];
  }
}

function scan(all: readonly StoredEvent[], request: ParsedCount): [string | null, number][] {
  const counts = new Map<string | null, number>();
  for (const stored of all) {
    for (const value of valuesOf(stored, request)) counts.set(value, (counts.get(value) ?? 0) + 1);
  }
  const bytes = (value: string | null) => Buffer.from(value ?? '');
  return [...counts].sort(([one, n], [other, m]) => {
    if (isByTime(request.by)) return Buffer.compare(bytes(one), bytes(other));
    if (n !== m) return m - n;
    if (one === null || other === null) return one === null ? 1 : -1;
    return Buffer.compare(bytes(one), bytes(other));
  });
}

function fits(stored: StoredEvent, own: readonly string[] | '*', asked: AuditEventFilter): boolean {
  if (own !== '*' && !own.includes(stored.organizationId)) return false;
  return eventTest(asked)(recordedEventOf(stored.text));
}

function pairs({ counts }: FoundCounts): [string | null, number][] {
  return counts.map(({ value, events }) => [value, events]);
}

describe('counts of events', () => {
  const replicas = useTwoReplicas();
  const stored: StoredEvent[] = [];
  let counts: EventCounts;

  async function write(events: Partial<NewEvent>[]): Promise<void> {
    const list = events.map((one) => newEvent(one));
    const { text: receipts } = await replicas.one.writer.write(writeRequest(list));
    for (const receipt of JSON.parse(receipts) as { text: string }[]) {
      stored.push({ ...(JSON.parse(receipt.text) as StoredEvent), text: receipt.text });
    }
  }

  function parse(
    by: CountKey,
    asked: AuditEventFilter,
    { timeZone, organizations = '*' }: { timeZone?: string; organizations?: string[] | '*' } = {},
  ): ParsedCount {
    return counts.parse(principalOf(organizations), { by, filter: asked, timeZone }, PATHS);
  }

  beforeAll(async () => {
    const { queries, sealed } = replicas.one;
    const reads = new SealedReads(sealed);
    counts = new EventCounts(queries, reads, paginationConfig(), serverConfig(), databaseConfig());
    counts.budgetMs = 60_000;
    await write(fc.sample(event, { numRuns: 900, seed: 20 }));
    await sealAll(sealingOf(replicas.one, { sealEvents: 60 }));
    // Behind the seals, and late into them.
    await write(fc.sample(event, { numRuns: 300, seed: 62 }));
    await replicas.one.sealed.refresh();
  });

  it('has filters of every kind in its property', () => {
    const sampled = fc.sample(filter, { numRuns: 500, seed: 1 }).flatMap((one) => Object.keys(one));
    const all = [...EVENT_FILTERS.map(({ list }) => list), 'metadata', 'q', 'startDate', 'endDate'];
    expect(new Set(sampled)).toEqual(new Set(all));
    expect(replicas.one.sealed.of('principal').length).toBeGreaterThan(0);
  });

  it('are those of a scan in plain code', async () => {
    const asked = fc.record({
      by: fc.constantFrom(...COUNT_KEYS),
      filter,
      timeZone: fc.constantFrom(...ZONES),
      organizations: fc.oneof(
        fc.constant('*' as const),
        fc.subarray(ORGANIZATIONS, { minLength: 1 }),
      ),
      start: instant,
    });
    const seen = { nothing: 0, something: 0 };
    await fc.assert(
      fc.asyncProperty(asked, async ({ by, filter: given, timeZone, organizations, start }) => {
        const hour = Math.max(start, (NOW - 45 * DAY_MS) * 1000);
        const from = { micros: by === 'hour' ? hour : start, submicros: '' };
        const all = isByTime(by) && !given.startDate ? { ...given, startDate: from } : given;
        const own = all.startDate?.micros ?? 0;
        // A range of hours may not be as long as that of the events.
        if (by === 'hour' && own < (NOW - 45 * DAY_MS) * 1000) all.startDate = from;
        const zone = by === 'day' ? { timeZone } : {};
        const request = parse(by, all, { organizations, ...zone });
        const found = await counts.count(request);
        const expected = stored.filter((one) => fits(one, organizations, all));
        const scanned = scan(expected, request);
        expect(pairs(found)).toEqual(scanned.slice(0, isByTime(by) ? Infinity : 100));
        expect(found).toMatchObject({ total: expected.length, distinct: scanned.length });
        expect(found.countedFrom).toBeUndefined();
        for (const { events, start: begin, end } of found.counts) {
          if (!isByTime(by)) expect([begin, end]).toEqual([null, null]);
          else {
            // The bounds of a bucket are those of a filter that finds its events.
            const [from = '', to = ''] = [begin, end].map((at) => at?.slice(0, MICROS_LENGTH));
            const within = ({ timestamp }: StoredEvent) => {
              const micros = timestamp.slice(0, MICROS_LENGTH);
              return micros >= from && micros < to;
            };
            expect(expected.filter(within)).toHaveLength(events);
          }
        }
        seen[expected.length > 0 ? 'something' : 'nothing'] += 1;
      }),
      { numRuns: 400 },
    );
    expect(Math.min(seen.nothing, seen.something)).toBeGreaterThan(10);
  }, 240_000);

  it('of a resource type are the total of its filter', async () => {
    const { counts: found } = await counts.count(parse('resource_type', {}));
    for (const { value, events } of found) {
      const resourceTypes = [value ?? '!*'];
      const list = {
        organizations: '*' as const,
        filter: { resourceTypes },
        sort: { field: 'timestamp', direction: 'desc' } as const,
      };
      expect(await replicas.one.queries.count(list)).toMatchObject({ count: events });
    }
    expect(found.map(({ value }) => value)).toContain(null);
  });

  it('of more values than fit in memory are exact', async () => {
    const organization = newOrganization();
    const many = Array.from({ length: 21_000 }, (_, index) => ({
      organizationId: organization,
      principalId: 'everyone',
      action: index < 500 ? `often-${index % 5}` : `once-${String(index).padStart(5, '0')}`,
      timestamp: formatInstant((NOW - 60_000 - (index % 80) * DAY_MS) * 1000),
    }));
    for (let at = 0; at < many.length; at += 7000) {
      await replicas.one.writer.write(
        writeRequest(many.slice(at, at + 7000).map((one) => newEvent(one))),
      );
    }
    const found = await counts.count(parse('action', {}, { organizations: [organization] }));
    expect(found).toMatchObject({ total: 21_000, distinct: 20_505 });
    expect(found.countedFrom).toBeUndefined();
    expect(pairs(found).slice(0, 6)).toEqual([
      ...[0, 1, 2, 3, 4].map((index) => [`often-${index}`, 100]),
      ['once-00500', 1],
    ]);
    expect(found.counts).toHaveLength(100);
    // More matches than are read by index.
    const often = { principalIds: ['everyone'] };
    const byStatus = await counts.count(parse('status', often, { organizations: [organization] }));
    expect(pairs(byStatus)).toEqual([['success', 21_000]]);
  }, 60_000);

  it('know a day that begins after midnight, and one of 25 hours', async () => {
    const organization = newOrganization();
    const times = [
      '2018-11-04T02:59:59.999999Z', // the last microsecond of the 3rd in São Paulo, whose clocks skip midnight
      '2018-11-04T03:00:00.000000Z',
      '2018-11-05T01:59:59.999999Z',
      '2018-02-18T01:30:00.000000Z', // the hour before midnight is there twice
      '2018-02-18T02:30:00.000000Z',
      '2018-02-18T03:00:00.000000Z',
    ];
    const events = times.map((timestamp) => newEvent({ organizationId: organization, timestamp }));
    await replicas.one.writer.write(writeRequest(events));
    const range = {
      startDate: parseFineInstant('2018-01-01T00:00:00Z'),
      endDate: parseFineInstant('2019-01-01T00:00:00Z'),
    } as AuditEventFilter;
    const request = { timeZone: 'America/Sao_Paulo', organizations: [organization] };
    const found = await counts.count(parse('day', range, request));
    expect(found.counts).toEqual([
      { value: '2018-02-17', events: 2, start: '2018-02-17T02:00:00.000000Z', end: '2018-02-18T03:00:00.000000Z' },
      { value: '2018-02-18', events: 1, start: '2018-02-18T03:00:00.000000Z', end: '2018-02-19T03:00:00.000000Z' },
      { value: '2018-11-03', events: 1, start: '2018-11-03T03:00:00.000000Z', end: '2018-11-04T03:00:00.000000Z' },
      { value: '2018-11-04', events: 2, start: '2018-11-04T03:00:00.000000Z', end: '2018-11-05T02:00:00.000000Z' },
    ]); // prettier-ignore
  });

  it('know offsets that are no quarters of an hour', async () => {
    const organization = newOrganization();
    const times = ['1960-01-01T00:44:29.000000Z', '1960-01-01T00:44:31.000000Z'];
    const events = times.map((timestamp) => newEvent({ organizationId: organization, timestamp }));
    await replicas.one.writer.write(writeRequest(events));
    const range = {
      startDate: parseFineInstant('1959-12-01T00:00:00Z'),
      endDate: parseFineInstant('1960-02-01T00:00:00Z'),
    } as AuditEventFilter;
    const request = { timeZone: 'Africa/Monrovia', organizations: [organization] };
    expect(pairs(await counts.count(parse('day', range, request)))).toEqual([
      ['1959-12-31', 1],
      ['1960-01-01', 1],
    ]);
  });

  it('refuse a time zone that only the client knows', async () => {
    const startDate = { micros: (NOW - DAY_MS) * 1000, submicros: '' };
    const request = { ...parse('day', { startDate }), timeZone: 'Nowhere/Land' };
    await expect(counts.count(request)).rejects.toMatchObject({
      code: 'VALIDATION_FAILED',
      errors: [{ path: 'time_zone' }],
    });
  });

  describe('without enough time', () => {
    const organization = newOrganization();
    const times = [1, 2, 3, 40, 41].map((days) => (NOW - days * DAY_MS) * 1000);

    beforeAll(() =>
      replicas.one.writer.write(
        writeRequest(
          times.map((micros) =>
            newEvent({ organizationId: organization, timestamp: formatInstant(micros) }),
          ),
        ),
      ),
    );

    it('are those of the latest events, and say from when on', async () => {
      const { admin } = replicas;
      const { rows } = await admin.query<{ name: string }>(
        `SELECT tableoid::regclass::text AS name FROM audit_event WHERE organization_id = $1 AND timestamp < $2 LIMIT 1`,
        [organization, new Date(NOW - 39.5 * DAY_MS)],
      );
      await admin.query(`BEGIN; LOCK TABLE ${rows[0]?.name} IN ACCESS EXCLUSIVE MODE`);
      counts.budgetMs = 1500;
      try {
        const found = await counts.count(parse('action', {}, { organizations: [organization] }));
        const from = found.countedFrom ?? 0;
        expect(from).toBeGreaterThan(times.at(-2) ?? Infinity);
        expect(from).toBeLessThan(times[2] ?? 0);
        expect(found).toMatchObject({ total: 3, distinct: 1 });
        expect(pairs(found)).toEqual([['test', 3]]);
      } finally {
        counts.budgetMs = 60_000;
        await admin.query('ROLLBACK');
      }
      const all = await counts.count(parse('action', {}, { organizations: [organization] }));
      expect(pairs(all)).toEqual([['test', 5]]);
      expect(all.countedFrom).toBeUndefined();
    }, 30_000);
  });
});
