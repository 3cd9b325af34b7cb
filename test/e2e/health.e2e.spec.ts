import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { Client } from 'pg';
import { expectProblem, expectTimed } from '../support/problem';
import { type Answer, EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

const WAIT_MS = 20_000;

/** The way from the service to its database, which can be closed and opened again. */
class Gate {
  private server: Server | undefined;
  private readonly sockets = new Set<Socket>();
  private port = 0;

  constructor(private readonly target: URL) {}

  get url(): string {
    const url = new URL(this.target);
    url.hostname = '127.0.0.1';
    url.port = String(this.port);
    return url.href;
  }

  async open(): Promise<void> {
    const server = createServer((near) => this.join(near));
    server.listen(this.port, '127.0.0.1');
    await once(server, 'listening');
    this.port = (server.address() as AddressInfo).port;
    this.server = server;
  }

  async close(): Promise<void> {
    const { server } = this;
    if (!server?.listening) return;
    server.close();
    for (const socket of this.sockets) socket.destroy();
    await once(server, 'close');
  }

  private join(near: Socket): void {
    const far = connect(Number(this.target.port || 5432), this.target.hostname);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      this.sockets.add(from);
      from.pipe(to);
      from.on('error', () => to.destroy());
      from.on('close', () => {
        this.sockets.delete(from);
        to.destroy();
      });
    }
  }
}

let service: TestService;
let gate: Gate;
let token: string;

beforeAll(async () => {
  service = await TestService.start({}, async (url) => {
    gate = new Gate(new URL(url));
    await gate.open();
    return gate.url;
  });
  token = await tokenOf();
});

afterAll(async () => {
  await service.stop();
  await gate.close();
});

/** Asks until the answer has this status. */
async function untilStatus(status: number, ask: () => Promise<Answer>): Promise<Answer> {
  const deadlineMs = Date.now() + WAIT_MS;
  let answer = await ask();
  while (answer.status !== status && Date.now() < deadlineMs) answer = await ask();
  expect({ status: answer.status, text: answer.text }).toMatchObject({ status });
  return answer;
}

const ready = () => service.get('/health/ready');

describe('the probes', () => {
  it.each([
    ['/health', ['database', 'redis', 'partitions', 'memory', 'disk', 'eventLoop', 'cache']],
    ['/health/live', []],
    ['/health/ready', ['lifecycle', 'database', 'redis']],
    ['/health/startup', ['lifecycle']],
  ])(
    '%s answers in the shape of Terminus, without a token and uncached',
    async (path, indicators) => {
      const answer = await service.get(path);
      expect(answer.status).toBe(200);
      expect(answer.json).toEqual({
        status: 'ok',
        info: expect.any(Object),
        error: {},
        details: expect.any(Object),
      });
      const names = Object.keys(answer.json.details).map((name) =>
        name.replace(/[_ ](\w)/g, (_, letter: string) => letter.toUpperCase()),
      );
      expect(names).toEqual(expect.arrayContaining(indicators));
      for (const { status } of Object.values<{ status: string }>(answer.json.details))
        expect(status).toBe('up');
      expect(answer.headers.get('cache-control')).toBe('no-store');
      expectTimed(answer);
    },
  );

  it('take a bad token as they take none', async () => {
    expect((await service.get('/health/live', 'garbage')).status).toBe(200);
  });
});

describe('X-Request-Id', () => {
  it.each([
    'abc',
    '7a0f3c52-9f0d-4c1e-8a53-0a7b0c6f4c1d',
    'a'.repeat(128),
    'Root=1-67891233-abcdef012345678912345678',
    'A/b+c=~.:@',
  ])('%s is taken over', async (id) => {
    for (const path of ['/health/live', `${EVENTS}?limit=0`, '/nowhere']) {
      const answer = await service.get(path, token, { 'x-request-id': id });
      expect(answer.headers.get('x-request-id')).toBe(id);
      if (answer.status !== 200) expect(answer.json.requestId).toBe(id);
    }
  });

  it.each([
    '',
    ' ',
    'a b',
    'a'.repeat(129),
    '<script>',
    '"quoted"',
    'é',
    'a,b',
    '{}',
    '%0d%0a',
    '-rf',
  ])('%p is replaced by one of ours', async (id) => {
    const answer = await service.get(`${EVENTS}?limit=0`, token, { 'x-request-id': id });
    const uuid = expect.stringMatching(/^[0-9a-f-]{36}$/);
    expect(answer.headers.get('x-request-id')).toEqual(uuid);
    expect(answer.json.requestId).toBe(answer.headers.get('x-request-id'));
  });
});

describe('when the database is away', () => {
  it('is alive, not ready, answers 503 with Retry-After, and is back by itself', async () => {
    const stored = await service.post(EVENTS, token, eventWith());
    await gate.close();

    const notReady = await untilStatus(503, ready);
    expect(notReady.json).toMatchObject({
      status: 'error',
      error: { database: { status: 'down' } },
    });
    expect(notReady.json.details.lifecycle).toEqual({ status: 'up', phase: 'ready' });
    expect(notReady.text).not.toMatch(/ECONN|127\.0\.0\.1|postgres:|password/);
    const all = await service.get('/health');
    expect(all.status).toBe(503);
    expect(all.text).not.toMatch(/ECONN|127\.0\.0\.1|postgres:|password/);
    for (const path of ['/health/live', '/health/startup']) {
      expect((await service.get(path)).json.status).toBe('ok');
    }
    const asked = [
      service.get(EVENTS, token),
      service.get(`${EVENTS}?include_total=true`, token),
      service.get(`${EVENTS}/${stored.json.id}`, token),
      service.post(EVENTS, token, eventWith({ action: 'lost' }), { 'idempotency-key': 'later' }),
      service.post(`${EVENTS}/bulk`, token, { events: [eventWith({ action: 'lost' })] }),
    ];
    for (const answer of await Promise.all(asked)) {
      expectProblem(answer, 503, 'DATABASE_UNAVAILABLE');
      expect(answer.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
    }
    // What needs no database is answered as ever.
    expectProblem(await service.get(`${EVENTS}?limit=0`, token), 400, 'VALIDATION_FAILED');
    expectProblem(await service.get(EVENTS), 401, 'UNAUTHENTICATED');

    await gate.open();
    await untilStatus(200, ready);
    expect((await service.get(`${EVENTS}/${stored.json.id}`, token)).text).toBe(stored.text);
    expect((await service.get(`${EVENTS}?actions=lost`, token)).json.data).toEqual([]);
    const retried = await service.post(EVENTS, token, eventWith({ action: 'lost' }), {
      'idempotency-key': 'later',
    });
    expect(retried.status).toBe(201);
    expect(Number(retried.json.sequence)).toBe(Number(stored.json.sequence) + 1);
  }, 60_000);

  it('loses nothing it acknowledged when its connections are ended under load', async () => {
    const mine = await tokenOf({ organizations: ['org-load'] });
    const event = eventWith({ organizationId: 'org-load' });
    const admin = new Client({ connectionString: service.databaseUrl });
    await admin.connect();
    const acknowledged: string[] = [];
    const writers = Array.from({ length: 8 }, async () => {
      for (let count = 0; count < 25; count += 1) {
        const answer = await service.post(EVENTS, mine, event);
        if (answer.status === 201) acknowledged.push(answer.json.id);
        else expectProblem(answer, 503, 'DATABASE_UNAVAILABLE');
      }
    });
    for (let count = 0; count < 5; count += 1) {
      const seen = acknowledged.length;
      await admin.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`,
      );
      await untilStatus(200, ready);
      while (acknowledged.length === seen && acknowledged.length < 150) await ready();
    }
    await Promise.all(writers);
    await admin.end();
    const { json } = await service.get(
      `${EVENTS}?limit=1000&sort_field=sequence&sort_direction=asc`,
      mine,
    );
    const stored: { id: string; sequence: string }[] = json.data;
    expect(stored.map(({ id }) => id)).toEqual(expect.arrayContaining(acknowledged));
    expect(stored.map(({ sequence }) => sequence)).toEqual(
      stored.map((_, index) => String(index + 1)),
    );
  }, 60_000);
});
