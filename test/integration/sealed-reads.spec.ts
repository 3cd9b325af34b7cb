import fc from 'fast-check';
import type { NewEvent } from '../../src/audit/event/audit-event';
import type { AuditEventFilter, AuditEventSort } from '../../src/audit/event/audit-event-filter';
import { type LogPositions, type Position, positionOf } from '../../src/audit/read/position';
import { ReadPace } from '../../src/audit/read/read-pace';
import { uuid7 } from '../../src/audit/event/uuid7';
import { formatInstant } from '../../src/platform/runtime/instant';
import { newEvent, writeRequest } from './replica.fixture';
import { listSeals, makeGrowing, sealAll, sealingOf } from './sealing.fixture';
import { useTwoReplicas } from './two-replicas.fixture';

const NOW = Date.now();
const DAY_MS = 86_400_000;
const ORGANIZATIONS = ['org-a', 'org-b', 'org-ü'];
const TEXTS = ['a', 'b', 'c', 'ä\u0002', '\u0001', 'x'.repeat(200)];

interface StoredEvent {
  timestamp: string;
  sequence: string;
  id: string;
  organizationId: string;
  principalId: string | null;
  action: string;
  correlationId: string | null;
  sessionContext: { sessionId?: string; ipAddress?: string } | null;
  status: string;
  targetResourceType: string | null;
  targetResourceId: string | null;
  targets?: { type?: string; id?: string }[];
}

const text = fc.constantFrom(...TEXTS);
const targets = fc.option(
  fc.array(fc.record({ type: text, id: text }, { requiredKeys: ['id'] }), {
    minLength: 1,
    maxLength: 3,
  }),
  { nil: null },
);
/** Three closed months, and this one; some share an instant. */
const instant = fc
  .integer({ min: 0, max: 400 })
  .map((part) => (NOW - 4 * 60_000 - Math.floor((part * 100 * DAY_MS) / 400)) * 1000);
const event = fc
  .record({
    micros: instant,
    organizationId: fc.constantFrom(...ORGANIZATIONS),
    principalId: fc.option(text, { nil: null }),
    action: text,
    correlationId: fc.option(text, { nil: null }),
    session: fc.option(fc.record({ sessionId: text, ipAddress: text }, { requiredKeys: [] }), {
      nil: null,
    }),
    status: fc.constantFrom('success' as const, 'failure' as const),
    targets,
  })
  .map(({ micros, targets: list, session, ...rest }): Partial<NewEvent> => ({
    ...rest,
    sessionContext: session && JSON.stringify(session),
    id: uuid7(micros),
    timestamp: formatInstant(micros),
    targetResourceType: list?.[0]?.type ?? null,
    targetResourceId: list?.[0]?.id ?? null,
    targets: list && list.length > 1 ? JSON.stringify(list) : null,
  }));

const some = fc.option(fc.uniqueArray(text, { minLength: 1, maxLength: 2 }), { nil: undefined });
const filter = fc
  .record({
    principalIds: some,
    actions: some,
    correlationIds: some,
    sessionIds: some,
    ipAddresses: some,
    q: fc.option(
      text.map((value) => `actor:"${value}"`),
      { nil: undefined },
    ),
    resourceIds: some,
    resourceTypes: some,
    targetIds: some,
    statuses: fc.option(fc.constant(['failure'] as 'failure'[]), { nil: undefined }),
    startDate: fc.option(instant, { nil: undefined }),
    endDate: fc.option(instant, { nil: undefined }),
  })
  .map(({ startDate, endDate, ...lists }): AuditEventFilter => ({
    ...Object.fromEntries(Object.entries(lists).filter(([, list]) => list !== undefined)),
    ...(startDate === undefined ? {} : { startDate: { micros: startDate, submicros: '' } }),
    ...(endDate === undefined ? {} : { endDate: { micros: endDate, submicros: '' } }),
  }));

/** The value of a query such as `actor:"value"`. */
const valueOf = (query: string): string => query.slice('actor:"'.length, -1);

/** The filter in plain code. */
function fits(stored: StoredEvent, asked: AuditEventFilter): boolean {
  const has = (list: readonly string[] | undefined, value: string | null | undefined) =>
    !list || (value != null && list.includes(value));
  const all = stored.targets ?? [{ type: stored.targetResourceType, id: stored.targetResourceId }];
  const onOne = (types?: readonly string[], ids?: readonly string[]) =>
    (!types && !ids) || all.some(({ type, id }) => has(types, type) && has(ids, id));
  const { startDate, endDate } = asked;
  return (
    has(asked.principalIds, stored.principalId) &&
    has(asked.actions, stored.action) &&
    has(asked.correlationIds, stored.correlationId) &&
    has(asked.sessionIds, stored.sessionContext?.sessionId) &&
    has(asked.ipAddresses, stored.sessionContext?.ipAddress) &&
    has(asked.q === undefined ? undefined : [valueOf(asked.q)], stored.principalId) &&
    has(asked.statuses, stored.status) &&
    onOne(asked.resourceTypes, asked.resourceIds) &&
    onOne(asked.targetTypes, asked.targetIds) &&
    (!startDate || stored.timestamp >= formatInstant(startDate.micros)) &&
    (!endDate || stored.timestamp < formatInstant(endDate.micros))
  );
}

function compare(
  one: StoredEvent,
  other: StoredEvent,
  { field, direction }: AuditEventSort,
): number {
  const order = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));
  const found =
    (field === 'sequence'
      ? Number(BigInt(one.sequence) - BigInt(other.sequence))
      : order(one.timestamp, other.timestamp) || order(one.id, other.id)) ||
    order(one.organizationId, other.organizationId);
  return direction === 'asc' ? found : -found;
}

/** A read of few rows at a time, and of so many portions after the first. */
class FewPortions extends ReadPace {
  constructor(
    rows: number,
    private left: number,
  ) {
    super({ budgetMs: Infinity, firstRows: rows });
  }

  override next<T>(work: (signal?: AbortSignal) => Promise<T>): Promise<T | undefined> {
    this.left -= 1;
    return this.left < 0 ? Promise.resolve(undefined) : super.next(work);
  }
}

describe('reads through sealed indexes', () => {
  const replicas = useTwoReplicas();
  const stored: StoredEvent[] = [];

  async function write(events: Partial<NewEvent>[]): Promise<void> {
    const list = events.map((one) => newEvent(one));
    const { text: receipts } = await replicas.one.writer.write(writeRequest(list));
    for (const receipt of JSON.parse(receipts) as { text: string }[]) {
      stored.push(JSON.parse(receipt.text) as StoredEvent);
    }
  }

  beforeAll(async () => {
    await makeGrowing(replicas.admin);
    const events = fc.sample(event, { numRuns: 900, seed: 20 });
    // Some of them once more in another organization: there is an event before another one that differs in nothing else.
    const twins = events.slice(0, 150).map((one) => ({
      ...one,
      hasClientId: true,
      organizationId: one.organizationId === 'org-a' ? 'org-b' : 'org-a',
    }));
    await write([...events, ...twins]);
    const sealing = sealingOf(replicas.one, { sealEvents: 60 });
    await sealAll(sealing);
    // Behind the seals, and late into them.
    await write(fc.sample(event, { numRuns: 300, seed: 59 }));
    await replicas.one.sealed.refresh();
  });

  it('have ranges of this month, whole months, and a tail', async () => {
    const seals = await listSeals(replicas.admin);
    expect(seals.every(({ isValid }) => isValid)).toBe(true);
    const ranges = replicas.one.sealed.of('principal');
    expect(ranges.map(({ isWhole }) => isWhole)).toEqual([true, false]);
  });

  const sort = fc.record({
    field: fc.constantFrom('timestamp' as const, 'sequence' as const),
    direction: fc.constantFrom('asc' as const, 'desc' as const),
  });
  const organizations = fc.subarray(ORGANIZATIONS, { minLength: 1 });

  it('go on between events that differ in their organization alone', async () => {
    const filter = { correlationIds: ['b'] };
    for (const direction of ['asc', 'desc'] as const) {
      const order = { field: 'timestamp', direction } as const;
      const list = { organizations: ORGANIZATIONS, filter, sort: order, limit: 1, offset: 0 };
      const keys: string[] = [];
      for (let after: Position | undefined; ;) {
        const {
          texts: [next],
        } = await replicas.one.queries.findPage({
          ...list,
          ...(after ? { after } : {}),
        });
        if (next === undefined) break;
        after = positionOf(next);
        keys.push(`${after.id} ${after.organizationId}`);
      }
      const expected = stored
        .filter((one) => fits(one, filter))
        .sort((a, b) => compare(a, b, order));
      expect(keys).toEqual(expected.map(({ id, organizationId }) => `${id} ${organizationId}`));
      expect(new Set(expected.map(({ id }) => id)).size).toBeLessThan(expected.length);
    }
  });

  it.each<[string, AuditEventFilter]>([
    ['principal', { principalIds: ['a'] }],
    ['target, the first one or another', { resourceIds: ['b'] }],
    ['value that no event has', { actions: ['none'] }],
  ])('find the log of a %s in the order of recording, forward and back', async (_, asked) => {
    for (const own of [ORGANIZATIONS.slice(0, 1), ORGANIZATIONS]) {
      const expected = stored
        .filter((one) => own.includes(one.organizationId) && fits(one, asked))
        .sort((a, b) => compare(a, b, { field: 'sequence', direction: 'asc' }))
        .map(({ id }) => id);
      let from: LogPositions | undefined;
      for (const backward of [false, true]) {
        const found: string[] = [];
        for (let isMore = true; isMore;) {
          const page = await replicas.one.queries.findLogPage(
            { organizations: own, filter: asked, from, backward, limit: 9, offset: 0 },
            undefined,
            {},
            new FewPortions(10, Infinity),
          );
          const ids = page.texts.map((one) => positionOf(one).id);
          if (backward) found.unshift(...ids);
          else found.push(...ids);
          from = backward ? page.before : page.after;
          ({ isMore } = page);
        }
        expect(found).toEqual(expected);
      }
    }
  });

  it('find what a scan in plain code finds, page by page, and count it', async () => {
    const request = fc.record({
      filter,
      sort,
      organizations,
      limit: fc.integer({ min: 1, max: 60 }),
      offset: fc.constantFrom(0, 0, 3),
      rows: fc.integer({ min: 10, max: 200 }),
      portions: fc.constantFrom(0, 1, 2, Infinity),
    });
    let isPartial = 0;
    await fc.assert(
      fc.asyncProperty(
        request,
        async ({ filter: asked, sort: order, organizations: own, limit, offset, ...pace }) => {
          const expected = stored
            .filter((one) => own.includes(one.organizationId) && fits(one, asked))
            .sort((a, b) => compare(a, b, order));
          const list = { organizations: own, filter: asked, sort: order };
          const { queries } = replicas.one;
          expect(
            await queries.count(list, undefined, new FewPortions(pace.rows, Infinity)),
          ).toEqual({
            count: expected.length,
            isPartial: false,
          });
          const found: string[] = [];
          let after: Position | undefined;
          let skip: number = offset;
          for (let pages = 0; ; pages += 1) {
            expect(pages).toBeLessThan(2 * stored.length);
            const page = await queries.findPage(
              { ...list, limit, offset: skip, ...(after ? { after } : {}) },
              undefined,
              {},
              new FewPortions(pace.rows, pace.portions),
            );
            found.push(...page.texts.map((one) => positionOf(one).id));
            skip = page.reached ? (page.offset ?? 0) : 0;
            if (page.reached) isPartial += 1;
            const last = page.texts.at(-1);
            if (!page.reached && (last === undefined || page.texts.length < limit)) break;
            after = page.reached ?? positionOf(last ?? '');
          }
          expect(found).toEqual(expected.slice(offset).map(({ id }) => id));
        },
      ),
      { numRuns: 100 },
    );
    expect(isPartial).toBeGreaterThan(0);
  }, 240_000);
});
