import * as fc from 'fast-check';
import { Client } from 'pg';
import type { PageRequest } from '../../src/audit/read/page-statement';
import { addMonths } from '../../src/platform/database/partitions';
import {
  boundStatementNames,
  type StatementGroup,
} from '../../src/platform/database/statement-names';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { openReplica, type Replica } from './replica.fixture';

/** Of pages of few months, of pages of all, and of statements whose names stand in the code. */
const MOST_NAMES = 64 + 24 + 40;
const CONNECTIONS = 2;
const MONTHS = 3000;
const ID = '80000000-0000-4000-8000-000000000000';

/** What a backend keeps of statements. */
interface Kept {
  names: number;
  planBytes: number;
}

const KEPT = `SELECT (SELECT count(*) FROM pg_prepared_statements)::int AS names,
    (SELECT coalesce(sum(total_bytes), 0) FROM pg_backend_memory_contexts WHERE name LIKE 'CachedPlan%')::int AS "planBytes"`;

let test: TestDatabase;

beforeAll(async () => {
  test = await createTestDatabase();
});

afterAll(async () => {
  await test?.drop();
});

describe('pages of many different months', () => {
  const replicas: Replica[] = [];

  afterEach(async () => {
    await Promise.all(replicas.splice(0).map((replica) => replica.close()));
  });

  async function open(preparedStatements: boolean): Promise<Replica> {
    const replica = await openReplica(test.url, { poolMax: CONNECTIONS, preparedStatements });
    replicas.push(replica);
    return replica;
  }

  /** A page that begins in the month with this number, in one of the ways that give different statements. */
  function pageOf(number: number): PageRequest {
    const month = addMonths('1972-01', number);
    const instant = `${month}-15T00:00:00.000000Z`;
    const at = { micros: Date.parse(instant) * 1000, submicros: '' };
    const isDescending = number % 2 === 0;
    const after = { timestamp: instant, sequence: '1', id: ID, organizationId: 'org-1' };
    return {
      organizations: [['org-1'], ['org-1', 'org-2'], '*' as const][number % 3] ?? '*',
      filter: isDescending ? { endDate: at } : { startDate: at },
      sort: { field: 'timestamp', direction: isDescending ? 'desc' : 'asc' },
      ...(number % 5 === 0 ? { after } : {}),
      limit: 1,
      offset: 0,
    };
  }

  async function askAll({ queries }: Replica, from: number, to: number): Promise<void> {
    const numbers = Array.from({ length: to - from }, (_, index) => from + index);
    const next = async (): Promise<void> => {
      for (let number = numbers.shift(); number !== undefined; number = numbers.shift()) {
        await queries.findPage(pageOf(number));
      }
    };
    await Promise.all(Array.from({ length: CONNECTIONS }, next));
  }

  /** What each connection of the pool keeps. */
  async function keptBy({ database }: Replica): Promise<Kept[]> {
    let waiting = CONNECTIONS;
    let proceed = (): void => undefined;
    const allAreLent = new Promise<void>((resolve) => (proceed = resolve));
    const look = (): Promise<Kept | undefined> =>
      database.withClient(async (client) => {
        waiting -= 1;
        if (waiting === 0) proceed();
        await allAreLent;
        return (await client.query<Kept>(KEPT)).rows[0];
      });
    const found = await Promise.all(Array.from({ length: CONNECTIONS }, look));
    return found.map((kept) => kept ?? { names: NaN, planBytes: NaN });
  }

  it('leave no more statements and plans in a backend than the first of them', async () => {
    const replica = await open(true);
    await askAll(replica, 0, MONTHS / 10);
    const first = await keptBy(replica);
    await askAll(replica, MONTHS / 10, MONTHS);
    const last = await keptBy(replica);
    const most = Math.max(...first.map(({ planBytes }) => planBytes));
    for (const { names, planBytes } of last) {
      expect(names).toBeGreaterThan(64); // they are prepared
      expect(names).toBeLessThanOrEqual(MOST_NAMES);
      expect(planBytes).toBeLessThan(1.5 * most);
    }
  }, 120_000);

  it('leave none where statements are not prepared', async () => {
    const replica = await open(false);
    await askAll(replica, 0, 100);
    for (const { names } of await keptBy(replica)) expect(names).toBe(0);
  });
});

describe('a connection with bounded statement names', () => {
  const GROUP: StatementGroup = { name: 'some', max: 3 };
  const OTHER: StatementGroup = { name: 'others', max: 2 };
  const clients: Client[] = [];

  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.end()));
  });

  async function connect(pipeline: boolean): Promise<Client> {
    const client = new Client({ connectionString: test.url, pipeline });
    clients.push(client);
    await client.connect();
    boundStatementNames(client);
    return client;
  }

  const statement = (number: number, group?: StatementGroup) => ({
    name: `${group?.name ?? 'fixed'} ${number}`,
    text: `SELECT ${number} AS number, 1 / $1::int AS share`,
    ...(group ? { group } : {}),
  });

  async function namesIn(client: Client): Promise<string[]> {
    const { rows } = await client.query<{ name: string }>(
      'SELECT name FROM pg_prepared_statements ORDER BY prepare_time, name',
    );
    return rows.map(({ name }) => name);
  }

  it('closes the least recently used statement of a full group, and prepares it again when it is asked', async () => {
    const client = await connect(true);
    for (const number of [1, 2, 3, 1, 4, 4]) {
      await client.query({ ...statement(number, GROUP), values: [1] });
    }
    expect(await namesIn(client)).toEqual(['some 1', 'some 3', 'some 4']);
    await client.query({ ...statement(2, GROUP), values: [1] });
    expect(await namesIn(client)).toEqual(['some 1', 'some 4', 'some 2']);
  });

  it('keeps other groups and statements without one', async () => {
    const client = await connect(true);
    for (const number of [1, 2]) await client.query({ ...statement(number), values: [1] });
    for (const number of [1, 2]) await client.query({ ...statement(number, OTHER), values: [1] });
    for (let number = 1; number <= 50; number += 1) {
      await client.query({ ...statement(number, GROUP), values: [1] });
    }
    const names = await namesIn(client);
    expect(names.filter((name) => !name.startsWith('some'))).toEqual([
      'fixed 1',
      'fixed 2',
      'others 1',
      'others 2',
    ]);
    expect(names).toHaveLength(4 + GROUP.max);
  });

  it('works in a transaction that has failed', async () => {
    const client = await connect(true);
    for (const number of [1, 2, 3]) {
      await client.query({ ...statement(number, GROUP), values: [1] });
    }
    await client.query('BEGIN');
    await expect(client.query({ ...statement(1, GROUP), values: [0] })).rejects.toThrow('zero');
    await expect(client.query({ ...statement(4, GROUP), values: [1] })).rejects.toThrow('aborted');
    await client.query('ROLLBACK');
    const { rows } = await client.query({ ...statement(4, GROUP), values: [1] });
    expect(rows).toEqual([{ number: 4, share: 1 }]);
    expect(await namesIn(client)).toEqual(['some 3', 'some 1', 'some 4'].sort());
  });

  /** Numbers of statements that are sent together, each with the divisor that it is given. */
  const batches = fc.array(
    fc.array(
      fc.record({ number: fc.nat({ max: 9 }), divisor: fc.nat({ max: 3 }), isOther: fc.boolean() }),
      {
        minLength: 1,
        maxLength: 12,
      },
    ),
    { minLength: 1, maxLength: 6 },
  );

  it.each([true, false])(
    'answers whatever is asked, in whatever order, and keeps to its bound (pipeline: %s)',
    async (pipeline) => {
      const client = await connect(pipeline);
      await fc.assert(
        fc.asyncProperty(batches, async (all) => {
          for (const batch of all) {
            const asked = batch.map(({ number, divisor, isOther }) => {
              const asking = statement(number, isOther ? OTHER : GROUP);
              return client.query({ ...asking, values: [divisor] });
            });
            const outcomes = await Promise.allSettled(asked);
            outcomes.forEach((outcome, index) => {
              const { number, divisor } = batch[index] ?? { number: NaN, divisor: NaN };
              if (outcome.status === 'rejected') {
                expect(divisor).toBe(0);
                expect(String(outcome.reason)).toContain('division by zero');
              } else {
                expect(outcome.value.rows).toEqual([{ number, share: Math.trunc(1 / divisor) }]);
              }
            });
          }
          // What was still under way when it should have gone goes with the next statement.
          for (const number of [10, 11, 12, 13]) {
            await client.query({ ...statement(number, GROUP), values: [1] });
            await client.query({ ...statement(number, OTHER), values: [1] });
          }
          expect((await namesIn(client)).length).toBeLessThanOrEqual(GROUP.max + OTHER.max);
        }),
        { numRuns: 40 },
      );
    },
    60_000,
  );
});
