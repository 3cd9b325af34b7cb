import fc from 'fast-check';
import { createHash, randomBytes } from 'node:crypto';
import { setImmediate as tick } from 'node:timers/promises';
import { Client } from 'pg';
import type { NewEvent } from '../../src/audit/event/audit-event';
import type { WriteRequest } from '../../src/audit/write/batch-committer';
import type { AppError } from '../../src/platform/errors/app-error';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import {
  newEvent,
  openReplica,
  type Receipt,
  receiptsIn,
  type Replica,
  writeRequest,
} from './replica.fixture';

const REPLICAS = 3;
const ORGANIZATIONS = ['c', 'a', 'b'];

/** An event to send: `id` picks one of a few ids that clients chose, `variant` its content. */
interface EventPlan {
  organization: string;
  id: number | undefined;
  variant: number;
}

interface RequestPlan {
  replica: number;
  /** Ticks of the event loop before it. */
  pause: number;
  events: EventPlan[];
  batchSize: number;
  /** Picks one of a few idempotency keys. */
  key: number | undefined;
  poison: 'none' | 'bad json' | 'long key' | 'no answer';
}

const often = <T>(value: T, rare: fc.Arbitrary<T>, weight: number) =>
  fc.oneof({ weight, arbitrary: fc.constant(value) }, { weight: 1, arbitrary: rare });

const eventPlan: fc.Arbitrary<EventPlan> = fc.record({
  organization: fc.constantFrom(...ORGANIZATIONS),
  id: fc.option(fc.nat({ max: 9 }), { nil: undefined }),
  variant: often(0, fc.constant(1), 6),
});

const requestPlan: fc.Arbitrary<RequestPlan> = fc.record({
  replica: fc.nat({ max: REPLICAS - 1 }),
  pause: often(0, fc.nat({ max: 40 }), 2),
  events: fc.oneof(
    { weight: 3, arbitrary: fc.array(eventPlan, { minLength: 1, maxLength: 1 }) },
    { weight: 2, arbitrary: fc.array(eventPlan, { minLength: 2, maxLength: 12 }) },
    // Above a hundred events a request has a transaction of its own.
    { weight: 1, arbitrary: fc.array(eventPlan, { minLength: 101, maxLength: 130 }) },
  ),
  batchSize: fc.constantFrom(1, 3, 1000),
  key: fc.option(fc.nat({ max: 5 }), { nil: undefined }),
  poison: often<RequestPlan['poison']>(
    'none',
    fc.constantFrom('bad json', 'long key', 'no answer'),
    8,
  ),
});

type Outcome =
  | { receipts: Receipt[]; body: string; replayed: boolean }
  | { error: AppError; events: NewEvent[] };

/** Watches a database from outside: whenever it looks, every organization must hold 1..n. */
class Watcher {
  private stopped = false;
  private readonly watching: Promise<number>;

  constructor(client: Client, run: string) {
    this.watching = this.watch(client, run);
  }

  /** Stops, rejects when a gap was seen, and says how often it looked. */
  async stop(): Promise<number> {
    this.stopped = true;
    return this.watching;
  }

  private async watch(client: Client, run: string): Promise<number> {
    for (let looks = 1; ; looks += 1) {
      const { rows } = await client.query<{ organization_id: string; seen: string; last: string }>(
        `SELECT organization_id, count(*) AS seen, max(sequence) AS last
         FROM audit_event WHERE starts_with(organization_id, $1) GROUP BY 1`,
        [run],
      );
      for (const { organization_id: organization, seen, last } of rows) {
        if (seen !== last) throw new Error(`${organization}: ${seen} events up to number ${last}`);
      }
      if (this.stopped) return looks;
    }
  }
}

describe('the audit writer under random load from several replicas', () => {
  let test: TestDatabase;
  let replicas: Replica[] = [];
  let client: Client;
  let watcherClient: Client;

  beforeAll(async () => {
    test = await createTestDatabase();
    client = new Client({ connectionString: test.url });
    watcherClient = new Client({ connectionString: test.url });
    await Promise.all([client.connect(), watcherClient.connect()]);
    replicas = await Promise.all(Array.from({ length: REPLICAS }, () => openReplica(test.url)));
  });

  afterAll(async () => {
    await Promise.all(replicas.map((replica) => replica.close()));
    await Promise.all([client?.end(), watcherClient?.end()]);
    await test?.drop();
  });

  function eventOf(run: string, { organization, id, variant }: EventPlan): NewEvent {
    return newEvent({
      organizationId: `${run}-${organization}`,
      action: id === undefined ? 'own' : `variant ${variant}`,
      ...(id === undefined
        ? {}
        : { hasClientId: true, id: `${run}-0000-4000-8000-00000000000${id}` }),
    });
  }

  function requestOf(run: string, plan: RequestPlan): WriteRequest {
    const events = plan.events.map((event) => eventOf(run, event));
    const requestHash = createHash('sha256').update(JSON.stringify(plan)).digest();
    const request = writeRequest(events, {
      batchSize: plan.batchSize,
      ...(plan.key === undefined
        ? {}
        : {
            claim: {
              subject: 'alice',
              scope: Buffer.alloc(1),
              key: `${run}-${plan.key}`,
              requestHash,
            },
          }),
    });
    const organizationId = `${run}-a`;
    if (plan.poison === 'bad json') events.push(newEvent({ organizationId, metadata: '{"a":' }));
    if (plan.poison === 'long key') {
      events.push(newEvent({ organizationId: randomBytes(5000).toString('hex') }));
    }
    if (plan.poison === 'no answer') {
      request.textOf = () => {
        throw new Error('There is no answer');
      };
    }
    return request;
  }

  async function send(run: string, plan: RequestPlan): Promise<Outcome> {
    for (let turn = 0; turn < plan.pause; turn += 1) await tick();
    const request = requestOf(run, plan);
    try {
      const recorded = await replicas[plan.replica]?.writer.write(request);
      if (!recorded) throw new Error('There is no such replica');
      const { replayed, text } = recorded;
      return { receipts: receiptsIn(recorded), body: text, replayed };
    } catch (error) {
      return { error: error as AppError, events: request.events };
    }
  }

  /** Refusals must have a reason in the request itself, never in a stranger's. */
  function checkRefusal(plan: RequestPlan, { code }: AppError): void {
    const reasons: string[] = [];
    if (plan.poison !== 'none') reasons.push('INTERNAL');
    if (plan.key !== undefined) reasons.push('CONFLICT', 'IDEMPOTENCY_MISMATCH');
    if (plan.events.some(({ id }) => id !== undefined)) reasons.push('CONFLICT');
    expect(reasons).toContain(code);
  }

  /** What one statement commits is committed before its answer is made, and stays although that fails. */
  function isCommittedFirst({ poison, key, events }: RequestPlan): boolean {
    const isPlain = key === undefined && events.every(({ id }) => id === undefined);
    return isPlain && poison === 'no answer';
  }

  async function checkTable(
    run: string,
    acknowledged: Receipt[],
    unanswered: ReadonlySet<string>,
  ): Promise<void> {
    const { rows } = await client.query<{
      organization_id: string;
      id: string;
      sequence: string;
      in_order: boolean;
    }>(
      `SELECT organization_id, id, sequence,
              recorded_at >= lag(recorded_at, 1, recorded_at)
                OVER (PARTITION BY organization_id ORDER BY sequence) AS in_order
       FROM audit_event WHERE starts_with(organization_id, $1) ORDER BY organization_id, sequence`,
      [run],
    );
    const heads = await client.query<{ organization_id: string; last_sequence: string }>(
      'SELECT * FROM audit_organization WHERE starts_with(organization_id, $1)',
      [run],
    );
    for (const { organization_id: organization, last_sequence: last } of heads.rows) {
      const numbers = rows.filter((row) => row.organization_id === organization);
      expect(numbers.map(({ sequence }) => sequence)).toEqual(
        Array.from({ length: Number(last) }, (_, index) => String(index + 1)),
      );
    }
    expect(rows.every((row) => row.in_order)).toBe(true);
    const name = (text: string) => {
      const { organizationId, sequence, id } = JSON.parse(text) as Record<string, string>;
      return `${organizationId} ${sequence} ${id}`;
    };
    const known = rows.filter(({ id }) => !unanswered.has(id));
    const stored = known.map((row) => `${row.organization_id} ${row.sequence} ${row.id}`);
    const created = acknowledged.filter(({ status }) => status === 'created');
    // Every acknowledged event once, and nothing of requests that were refused.
    expect(created.map(({ text }) => name(text)).sort()).toEqual([...stored].sort());
    const names = new Set(stored);
    for (const { text } of acknowledged) expect(names.has(name(text))).toBe(true);
    const clientIds = rows
      .filter(({ id }) => id.startsWith(run))
      .map((row) => row.organization_id + row.id);
    expect(new Set(clientIds).size).toBe(clientIds.length);
  }

  it('keeps every promise: gapless, in commit order, all or nothing, once, strangers apart', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(requestPlan, { minLength: 4, maxLength: 40 }), async (plans) => {
        const run = randomBytes(4).toString('hex');
        const watcher = new Watcher(watcherClient, run);
        const outcomes = await Promise.all(plans.map((plan) => send(run, plan)));
        const acknowledged: Receipt[] = [];
        const unanswered = new Set<string>();
        for (const [index, outcome] of outcomes.entries()) {
          const plan = plans[index];
          if ('error' in outcome) {
            checkRefusal(plan, outcome.error);
            if (isCommittedFirst(plan)) outcome.events.forEach(({ id }) => unanswered.add(id));
          } else {
            expect(plan.poison).toBe('none');
            expect(outcome.receipts).toHaveLength(plan.events.length);
            if (!outcome.replayed) acknowledged.push(...outcome.receipts);
          }
        }
        for (const [index, outcome] of outcomes.entries()) {
          const plan = plans[index];
          if ('error' in outcome || plan.key === undefined) continue;
          const replica = (plan.replica + 1) % REPLICAS;
          const again = await replicas[replica]?.writer.write(requestOf(run, plan));
          expect(again).toMatchObject({ replayed: true, text: outcome.body });
        }
        await watcher.stop();
        await checkTable(run, acknowledged, unanswered);
      }),
      { numRuns: 40, endOnFailure: true },
    );
  });
});
