import { randomInt } from 'node:crypto';
import { Client } from 'pg';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { type Acknowledged, acknowledgedIn, LoadSender, randomRequest } from './load.fixture';
import type { LoadRequest } from './load.fixture';
import {
  type Build,
  buildService,
  type ServiceProcess,
  startServiceProcess,
  tokenFor,
} from './service.fixture';
import { until } from './until.fixture';

const CLIENTS = 64;
const KILLS = 5;

/** What load clients were told, request by request. */
class Ledger {
  readonly acknowledged: Acknowledged[] = [];
  readonly keyed: { request: LoadRequest; body: string }[] = [];
  readonly unexpected: string[] = [];
  requests = 0;
  replays = 0;
  lost = 0;
}

describe('the service as a process', () => {
  let build: Build;
  let test: TestDatabase;
  let database: Client;
  let sender: LoadSender;
  const running = new Set<ServiceProcess>();

  async function start(): Promise<ServiceProcess> {
    const service = await startServiceProcess(build, test.url);
    running.add(service);
    return service;
  }

  async function end(service: ServiceProcess, signal: NodeJS.Signals) {
    running.delete(service);
    return service.end(signal);
  }

  beforeAll(async () => {
    build = await buildService();
    sender = new LoadSender(await tokenFor());
  }, 120_000);

  afterAll(async () => {
    sender?.close();
    await build?.remove();
  });

  beforeEach(async () => {
    test = await createTestDatabase();
    database = new Client({ connectionString: test.url });
    await database.connect();
  });

  afterEach(async () => {
    await Promise.all([...running].map((service) => end(service, 'SIGKILL')));
    await database?.end();
    await test?.drop();
  });

  /** What every table must look like, whatever happened. */
  async function checkTable({ acknowledged, unexpected }: Ledger): Promise<void> {
    expect(unexpected).toEqual([]);
    const { rows } = await database.query<{ mark: string; id: string; sequence: string }>(
      'SELECT correlation_id AS mark, id::text, sequence::text FROM audit_event',
    );
    const stored = new Map(rows.map((row) => [row.mark, row]));
    expect(stored.size).toBe(rows.length); // nothing twice
    const wrong = acknowledged.filter(({ mark, id, sequence }) => {
      const row = stored.get(mark);
      return row?.id !== id || row.sequence !== sequence;
    });
    expect(wrong).toEqual([]);
    const gaps = await database.query(
      `SELECT organization_id, count(*), min(sequence), max(sequence), o.last_sequence
       FROM audit_event JOIN audit_organization o USING (organization_id) GROUP BY 1, 5
       HAVING count(*) <> max(sequence) OR min(sequence) <> 1 OR count(DISTINCT sequence) <> count(*)
         OR o.last_sequence <> max(sequence)`,
    );
    expect(gaps.rows).toEqual([]);
  }

  /** Sends one request until it is settled: acknowledged, or lost and not safe to repeat. */
  async function settle(
    request: LoadRequest,
    service: () => Promise<ServiceProcess>,
    ledger: Ledger,
  ): Promise<void> {
    for (;;) {
      const { url } = await service();
      const answer = await sender.send(url, request);
      if ('lost' in answer) {
        ledger.lost += 1;
        if (request.isRepeatable) continue;
        return;
      }
      const { status, body } = answer;
      if (status === 200 || status === 201) {
        ledger.acknowledged.push(...acknowledgedIn(request, body));
        ledger.requests += 1;
        if (answer.replayed) ledger.replays += 1;
        if (request.key !== undefined) ledger.keyed.push({ request, body });
        return;
      }
      // A backend of the killed process may still be committing under the same key.
      if (status === 409 && request.key !== undefined && body.includes('still running')) continue;
      ledger.unexpected.push(`${status} ${body}`);
      return;
    }
  }

  it('loses and doubles nothing that it acknowledged when it is killed under load, five times', async () => {
    const ledger = new Ledger();
    let service = start();
    let over = false;
    const clients = Array.from({ length: CLIENTS }, async (_, client) => {
      for (let round = 0; !over; round += 1) {
        await settle(randomRequest(`c${client}-${round}`), () => service, ledger);
      }
    });
    for (let kills = 0; kills < KILLS; kills += 1) {
      const doomed = await service;
      const target = ledger.requests + randomInt(150, 700);
      await until(() => ledger.requests >= target || ledger.unexpected.length > 0);
      const dead = end(doomed, 'SIGKILL');
      service = dead.then(start);
    }
    const target = ledger.requests + 300;
    await until(() => ledger.requests >= target || ledger.unexpected.length > 0);
    over = true;
    await Promise.all(clients);

    expect(ledger.lost).toBeGreaterThan(0);
    await checkTable(ledger);
    const { url } = await service;
    for (const { request, body } of ledger.keyed.slice(0, 200)) {
      expect(await sender.send(url, request)).toMatchObject({ replayed: true, body });
    }
    await checkTable(ledger);
  }, 120_000);

  it('finishes the requests that run when it is told to stop, and exits with 0', async () => {
    const ledger = new Ledger();
    const service = await start();
    const organizationId = 'org-held';
    const single = (mark: string): LoadRequest => ({
      path: '/api/v1/audit/events',
      key: undefined,
      body: JSON.stringify({
        organizationId,
        action: 'held',
        status: 'success',
        correlationId: mark,
      }),
      marks: [mark],
      isRepeatable: false,
    });
    await settle(single('first'), () => Promise.resolve(service), ledger);
    await database.query('BEGIN');
    await database.query('SELECT FROM audit_organization FOR UPDATE');
    const held = Array.from({ length: 20 }, (_, index) =>
      settle(single(`held ${index}`), () => Promise.resolve(service), ledger),
    );
    await until(async () => {
      const { rowCount } = await database.query(
        `SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid)
         WHERE NOT l.granted AND a.datname = current_database()`,
      );
      return rowCount === 1;
    });
    // Answered after everything that was sent before it.
    for (let probe = 0; probe < 3; probe += 1) await fetch(`${service.url}/health/live`);
    const stopping = end(service, 'SIGTERM');
    await until(() =>
      fetch(`${service.url}/health/ready`).then(
        ({ status }) => status === 503,
        () => true,
      ),
    );
    await database.query('COMMIT');
    await Promise.all(held);
    expect(await stopping).toEqual({ code: 0, signal: null });
    expect(ledger.lost).toBe(0);
    expect(ledger.acknowledged).toHaveLength(21);
    await checkTable(ledger);
  });

  it('keeps everything it acknowledged when it is told to stop under load', async () => {
    const ledger = new Ledger();
    const service = await start();
    const clients = Array.from({ length: CLIENTS }, async (_, client) => {
      for (let round = 0; ledger.lost === 0 && ledger.unexpected.length === 0; round += 1) {
        const request = { ...randomRequest(`c${client}-${round}`), isRepeatable: false };
        await settle(request, () => Promise.resolve(service), ledger);
      }
    });
    await until(() => ledger.requests > 400);
    expect(await end(service, 'SIGTERM')).toEqual({ code: 0, signal: null });
    await Promise.all(clients);
    await checkTable(ledger);
  });

  it('starts twice at once on an empty database', async () => {
    await database.query('DROP SCHEMA public CASCADE');
    await database.query('CREATE SCHEMA public');
    const ledger = new Ledger();
    const services = await Promise.all([start(), start()]);
    const statuses = await Promise.all(
      services.map(async ({ url }) => (await fetch(`${url}/health/ready`)).status),
    );
    expect(statuses).toEqual([200, 200]);
    await Promise.all(
      Array.from({ length: 60 }, (_, index) => {
        const service = services[index % 2];
        return settle(randomRequest(`s${index}`), () => Promise.resolve(service), ledger);
      }),
    );
    expect(ledger.requests).toBe(60);
    await checkTable(ledger);
  });
});
