import { Client } from 'pg';
import {
  addMonths,
  type Month,
  monthsAhead,
  monthsBetween,
} from '../../src/platform/database/partitions';
import {
  type Build,
  buildService,
  type ServiceProcess,
  startServiceProcess,
  tokenFor,
} from '../integration/service.fixture';
import { until } from '../integration/until.fixture';
import { EVENTS } from '../support/test-service';
import { BULK_PROTOCOLS } from './bulk-protocols.fixture';
import { PrivatePostgres } from './private-postgres.fixture';

const PARTITION_LOCK = 0x70617274;
/** 36 months, 14 years and 5 decades, what is older, and three months ahead (src/platform/database/partition-ranges.ts). */
const MOST_PARTITIONS = 59;
const [THIS_MONTH = ''] = monthsAhead(0);
const ALL_MONTHS = Array.from({ length: monthsBetween('1970-01', THIS_MONTH) + 1 }, (_, index) =>
  addMonths('1970-01', index),
);
/** Of those that have a partition each: none of them is there before it is written to. */
const FIRST_MONTHLY = `${Number(THIS_MONTH.slice(0, 4)) - 2}-01`;
const REQUEST_TIMEOUT_MS = 3000;

const eventIn = (organizationId: string, month: Month) => ({
  organizationId,
  action: 'flood',
  status: 'success',
  timestamp: `${month}-01T00:00:00Z`,
});

/** A stock server: 64 locks a transaction, where embedded ones have more. */
describe('one client with events of every month there is', () => {
  let postgres: PrivatePostgres;
  let admin: Client;
  let build: Build;
  let service: ServiceProcess;
  let impatient: ServiceProcess;

  beforeAll(async () => {
    postgres = await PrivatePostgres.start({ max_locks_per_transaction: '64' });
    admin = new Client({ connectionString: postgres.url });
    admin.on('error', () => undefined);
    await admin.connect();
    build = await buildService();
    const env = { RETENTION_DAYS: '0', DATABASE_POOL_MAX: '10' };
    service = await startServiceProcess(build, postgres.url, env);
    impatient = await startServiceProcess(build, postgres.url, {
      ...env,
      REQUEST_TIMEOUT_MS: String(REQUEST_TIMEOUT_MS),
    });
  }, 180_000);

  afterAll(async () => {
    await service?.end('SIGKILL');
    await impatient?.end('SIGKILL');
    await build?.remove();
    await admin?.end().catch(() => undefined);
    await postgres?.remove();
  }, 60_000);

  const partitions = async () => {
    const { rows } = await admin.query<{ count: number }>(
      `SELECT count(*)::int AS count FROM pg_inherits WHERE inhparent = 'audit_event'::regclass`,
    );
    return rows[0]?.count ?? 0;
  };
  const isLockWaitedFor = async () => {
    const { rows } = await admin.query(
      `SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 AND NOT granted`,
      [PARTITION_LOCK],
    );
    return rows.length > 0;
  };

  async function ask(
    url: string,
    path: string,
    token: string,
    body?: string,
    type = 'application/json',
  ): Promise<{ status: number; text: string }> {
    const response = await fetch(`${url}${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: {
        authorization: `Bearer ${token}`,
        ...(body === undefined ? { 'cache-control': 'no-cache' } : { 'content-type': type }),
      },
      body,
    });
    return { status: response.status, text: await response.text() };
  }

  /** Asks again and again until it is told to end; what was not answered as it should be. */
  function keepAsking(work: () => Promise<{ status: number; text: string }>): {
    end: () => Promise<string[]>;
    answered: () => number;
  } {
    let isOver = false;
    let answered = 0;
    const failures: string[] = [];
    const running = (async () => {
      while (!isOver) {
        const { status, text } = await work();
        answered += 1;
        if (status >= 300) failures.push(`${status} ${text}`);
      }
    })();
    const end = async () => {
      isOver = true;
      await running;
      return failures;
    };
    return { end, answered: () => answered };
  }

  it('is stopped by the deadline of its request, through every protocol, and leaves nothing behind', async () => {
    const token = await tokenFor({ organizations: ['attacker'], subject: 'attacker' });
    const events = ALL_MONTHS.slice(0, 300).map((month) => eventIn('attacker', month));
    const before = await partitions();
    await admin.query('SELECT pg_advisory_lock($1)', [PARTITION_LOCK]);
    for (const { name, path, body, inRest } of BULK_PROTOCOLS) {
      const sent = ask(impatient.url, path, token, body(JSON.stringify(events)));
      await until(isLockWaitedFor);
      const { status, text } = await sent;
      const answer = inRest({ status, body: text, replayed: false });
      expect([name, answer]).toEqual([name, expect.objectContaining({ status: 504 })]);
      await until(async () => !(await isLockWaitedFor()));
    }
    // Lines have no deadline but their client's.
    const leaving = new AbortController();
    const lines = fetch(`${impatient.url}${EVENTS}/bulk`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/x-ndjson' },
      body: events.map((event) => `${JSON.stringify(event)}\n`).join(''),
      signal: leaving.signal,
    });
    const left = expect(lines).rejects.toThrow();
    await until(isLockWaitedFor);
    leaving.abort();
    await left;
    await until(async () => !(await isLockWaitedFor()));
    await admin.query('SELECT pg_advisory_unlock_all()');
    // What still waited in the process would be made before this one, or with it.
    const own = await tokenFor({ organizations: ['org-0'] });
    const last = JSON.stringify(eventIn('org-0', FIRST_MONTHLY));
    expect((await ask(impatient.url, EVENTS, own, last)).status).toBe(201);
    expect(await partitions()).toBe(before + 1);
    const { rows } = await admin.query(
      `SELECT FROM audit_event WHERE organization_id = 'attacker'`,
    );
    expect(rows).toEqual([]);
  }, 120_000);

  it('makes no more than some dozens of partitions, and no request of others fails or waits for all of them', async () => {
    const token = await tokenFor({ organizations: ['attacker'], subject: 'attacker' });
    const own = await tokenFor({ organizations: ['org-1', 'org-2'], subject: 'other' });
    const operator = await tokenFor({ organizations: ['*'], subject: 'operator' });
    const read = (query: string, by: string) =>
      keepAsking(() => ask(service.url, `${EVENTS}?${query}`, by));
    const others = [
      read('limit=50', own),
      read('limit=10&sort_field=sequence', own),
      read('limit=10&sort_field=sequence', operator),
      read('limit=10&include_total=true', operator),
      keepAsking(() =>
        ask(service.url, EVENTS, own, JSON.stringify({ ...eventIn('org-1', THIS_MONTH) })),
      ),
    ];
    await until(() => others.every((one) => one.answered() > 2));
    const before = await partitions();
    const bulk = (months: Month[]) =>
      ask(
        service.url,
        `${EVENTS}/bulk`,
        token,
        JSON.stringify({ events: months.map((month) => eventIn('attacker', month)) }),
      );
    const flood = Promise.all([bulk(ALL_MONTHS), bulk([...ALL_MONTHS].reverse())]);
    await until(async () => (await partitions()) >= before + 3);
    // The attacker's own last month, so that only the queue decides when it is made.
    const first = await ask(
      service.url,
      EVENTS,
      own,
      JSON.stringify(eventIn('org-2', addMonths(FIRST_MONTHLY, 12))),
    );
    expect(first.status).toBe(201);
    const then = await partitions();
    expect((await flood).map(({ status }) => status)).toEqual([201, 201]);
    expect(then).toBeLessThan((await partitions()) - 10);
    for (const one of others) expect(await one.end()).toEqual([]);
    expect(await partitions()).toBeLessThanOrEqual(MOST_PARTITIONS);
    const { rows } = await admin.query(
      `SELECT FROM audit_event WHERE organization_id = 'attacker'`,
    );
    expect(rows).toHaveLength(2 * ALL_MONTHS.length);
    const page = await ask(service.url, `${EVENTS}?limit=1000&sort_direction=asc`, token);
    expect((JSON.parse(page.text) as { data: unknown[] }).data).toHaveLength(1000);
  }, 240_000);
});
