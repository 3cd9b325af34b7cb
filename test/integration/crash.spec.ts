import { randomInt } from 'node:crypto';
import { Client } from 'pg';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { Ledger } from './ledger.fixture';
import { type LoadRequest, LoadSender, randomRequest } from './load.fixture';
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

  it('loses and doubles nothing that it acknowledged when it is killed under load, five times', async () => {
    const ledger = new Ledger();
    let service = start();
    let over = false;
    const clients = Array.from({ length: CLIENTS }, async (_, client) => {
      for (let round = 0; !over; round += 1) {
        await ledger.settle(sender, randomRequest(`c${client}-${round}`), () => service);
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
    await ledger.check(database);
    const { url } = await service;
    for (const { request, body } of ledger.keyed.slice(0, 200)) {
      expect(await sender.send(url, request)).toMatchObject({ replayed: true, body });
    }
    await ledger.check(database);
  }, 120_000);

  it('finishes the requests that run on SIGTERM, and exits with 0', async () => {
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
    await ledger.settle(sender, single('first'), () => Promise.resolve(service));
    await database.query('BEGIN');
    await database.query('SELECT FROM audit_organization FOR UPDATE');
    const held = Array.from({ length: 20 }, (_, index) =>
      ledger.settle(sender, single(`held ${index}`), () => Promise.resolve(service)),
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
    await ledger.check(database);
  });

  it('keeps everything it acknowledged on SIGTERM under load', async () => {
    const ledger = new Ledger();
    const service = await start();
    const clients = Array.from({ length: CLIENTS }, async (_, client) => {
      for (let round = 0; ledger.lost === 0 && ledger.unexpected.length === 0; round += 1) {
        const request = { ...randomRequest(`c${client}-${round}`), isRepeatable: false };
        await ledger.settle(sender, request, () => Promise.resolve(service));
      }
    });
    await until(() => ledger.requests > 400);
    expect(await end(service, 'SIGTERM')).toEqual({ code: 0, signal: null });
    await Promise.all(clients);
    await ledger.check(database);
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
        return ledger.settle(sender, randomRequest(`s${index}`), () => Promise.resolve(service));
      }),
    );
    expect(ledger.requests).toBe(60);
    await ledger.check(database);
  });
});
