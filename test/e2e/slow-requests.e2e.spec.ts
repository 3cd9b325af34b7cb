import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Client } from 'pg';
import WebSocket from 'ws';
import { until } from '../integration/until.fixture';
import { initText, SUBPROTOCOL } from '../support/socket-stage';
import { type Answer, EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

const SLOW_MS = 200;
/** What is held back is held for so long: most of a request's time, on a busy machine too. */
const HELD_MS = 1000;
/** Of the time of a request; rounding to tenths included. */
const TOLERANCE = 0.05;

type Spans = Record<string, number>;

interface Line {
  context: string;
  requestId: string;
  method: string;
  ms: number;
  level: string;
  spans?: Spans;
}

describe('a slow request', () => {
  let service: TestService;
  let log = '';
  let token: string;

  const environment = {
    LOG_LEVEL: 'info',
    LOG_FORMAT: 'json',
    SLOW_REQUEST_THRESHOLD_MS: String(SLOW_MS),
    CONCURRENCY_MAX_REQUESTS: '50',
    DATABASE_POOL_MAX: '10',
    DATABASE_POOL_MIN: '0',
  };

  const start = async (more: Record<string, string> = {}) => {
    jest.spyOn(process.stdout, 'write').mockImplementation((text) => (log += String(text)) !== '');
    service = await TestService.start({ ...environment, ...more });
    const scope = 'audit:read audit:write audit:export performance:read';
    token = await tokenOf({ scope, organizations: ['org-1', 'org-2'] });
    await service.get(EVENTS, token); // fast routes serve known tokens
  };

  afterEach(async () => {
    await service?.stop();
    jest.restoreAllMocks();
  });

  const lineOf = async (accepts: (line: Line) => boolean): Promise<Line> => {
    const find = () =>
      log
        .split('\n')
        .filter((line) => line.includes('"Request"'))
        .map((line) => JSON.parse(line) as Line)
        .find((line) => line.context === 'Request' && accepts(line));
    await until(() => find() !== undefined);
    return find() as Line;
  };

  /** Does what `begin` begins while `hold` is executed and not committed, for HELD_MS. */
  async function whileHeld<T>(hold: string, begin: () => Promise<T> | T): Promise<T> {
    const client = await service.connect();
    try {
      await client.query('BEGIN');
      await client.query(hold);
      const begun = begin();
      await heldFor(client);
      await client.query('ROLLBACK');
      return await begun;
    } finally {
      await client.end();
    }
  }

  /** From the time at which something waits for the lock. */
  async function heldFor(client: Client): Promise<void> {
    await until(async () => {
      const { rows } = await client.query(`SELECT 1 FROM pg_locks WHERE NOT granted`);
      return rows.length > 0;
    });
    await elapsed();
  }

  const LOCK_EVENTS = 'LOCK TABLE audit_event IN ACCESS EXCLUSIVE MODE';

  const SEARCH = { query: '{ optimizedAuditEvents { totalCount } }' };
  const NO_CACHE = { 'cache-control': 'no-cache' };

  describe('of each protocol', () => {
    beforeEach(() => start());

    it.each<[string, () => Promise<Answer>]>([
      ['a fast read', () => service.get(`${EVENTS}?limit=7`, token)],
      ['a read past the cache', () => service.get(`${EVENTS}?limit=7`, token, NO_CACHE)],
      ['an event', () => service.get(`${EVENTS}/0198c1f2-3e4a-7000-8000-123456789012`, token)],
      ['a read of express', () => service.get(`${EVENTS}?limit=7`, token, { accept: '*/*;q=0.5' })],
      ['GraphQL', () => service.post('/graphql', token, SEARCH)],
      ['tRPC', () => service.get('/trpc/performance.getOptimizedAuditEvents?input={}', token)],
      ['an export', () => service.get(`${EVENTS}/stream?format=csv`, token)],
    ])('names the statement: %s', async (_, send) => {
      await whileHeld(LOCK_EVENTS, async () => expectMost('sql', await send()));
    });

    const LOCK_HEAD = `SELECT 1 FROM audit_organization WHERE organization_id = 'org-1' FOR UPDATE`;
    it.each<[string, () => Promise<Answer>]>([
      ['a fast write', () => service.post(EVENTS, token, eventWith())],
      ['a bulk', () => service.post(`${EVENTS}/bulk`, token, { events: [eventWith()] })],
      [
        'a write with a key',
        () => service.post(EVENTS, token, eventWith(), { 'idempotency-key': 'key' }),
      ],
      [
        'GraphQL',
        () => {
          const query =
            'mutation { createAuditEvent(event: { organizationId: "org-1", action: "a", status: SUCCESS }) { id } }';
          return service.post('/graphql', token, { query });
        },
      ],
      [
        'tRPC',
        () =>
          service.post('/trpc/performance.bulkCreateAuditEvents', token, { events: [eventWith()] }),
      ],
    ])('names the wait for a locked row: %s', async (_, send) => {
      await service.post(EVENTS, token, eventWith());
      await whileHeld(LOCK_HEAD, async () => expectMost('sql', await send()));
    });

    it('names the batch before its own as queue', async () => {
      await service.post(EVENTS, token, eventWith());
      await whileHeld(LOCK_HEAD, async () => {
        const first = service.post(EVENTS, token, eventWith());
        const second = until(async () => {
          const client = await service.connect();
          const { rows } = await client.query(`SELECT 1 FROM pg_locks WHERE NOT granted`);
          await client.end();
          return rows.length > 0;
        }).then(() => service.post(EVENTS, token, eventWith()));
        expectMost('sql', await first);
        expectMost('queue', await second);
      });
    });

    it('that shares its read with others names the statement, too', async () => {
      await whileHeld(LOCK_EVENTS, async () => {
        const sent = Array.from({ length: 3 }, () => service.get(`${EVENTS}?limit=3`, token));
        for (const answer of await Promise.all(sent)) expectMost('sql', answer);
      });
    });

    it('on a WebSocket is in the log', async () => {
      const socket = new WebSocket(`${service.url.replace('http', 'ws')}/graphql`, SUBPROTOCOL);
      await once(socket, 'open');
      socket.send(initText(token));
      await once(socket, 'message');
      await whileHeld(LOCK_EVENTS, () => {
        socket.send(JSON.stringify({ id: '1', type: 'subscribe', payload: SEARCH }));
      });
      const { ms, spans } = await lineOf(({ method }) => method === 'WS');
      expectMostOf('sql', ms, spans);
      socket.close();
    });

    it.each([
      ['a fast route', EVENTS, JSON.stringify(eventWith())],
      ['an ordinary route', `${EVENTS}/bulk`, JSON.stringify({ events: [eventWith()] })],
      ['GraphQL', '/graphql', JSON.stringify(SEARCH)],
      [
        'tRPC',
        '/trpc/performance.bulkCreateAuditEvents',
        JSON.stringify({ events: [eventWith()] }),
      ],
    ])('names the time in which its body came: %s', async (_, path, body) => {
      const socket = connect(service.port, '127.0.0.1');
      const read = readFrom(socket);
      socket.write(
        `POST ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\n` +
          `Content-Length: ${body.length}\r\n\r\n${body.slice(0, 5)}`,
      );
      await until(() => service.httpServer.runningRequests > 0);
      await elapsed();
      socket.write(body.slice(5));
      await until(() => /\r\n\r\n/.test(read()));
      socket.destroy();
      const [, total, timing] =
        /X-Response-Time: ([\d.]+)ms\r\nServer-Timing: ([^\r]+)/i.exec(read()) ?? [];
      expectMostOf('body', Number(total), spansIn(timing ?? ''));
    });

    it('names the client that took its response late, in the log', async () => {
      const large = eventWith({ metadata: { text: 'x'.repeat(60_000) } });
      await service.post(`${EVENTS}/bulk`, token, {
        events: Array.from({ length: 100 }, () => large),
      });
      const socket = connect(service.port, '127.0.0.1').pause();
      socket.write(
        `GET ${EVENTS}?limit=100 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nX-Request-Id: late\r\n\r\n`,
      );
      await until(() => service.httpServer.runningRequests > 0);
      await elapsed();
      socket.resume();
      const { ms, spans, level } = await lineOf(({ requestId }) => requestId === 'late');
      socket.destroy();
      expect(level).toBe('warn');
      expectMostOf('socket', ms, spans);
    });

    it('is told apart: another one has its total alone', async () => {
      const headers = { 'x-request-id': 'quick' };
      let answer = await service.get('/api/v1/performance/cache/stats', token, headers);
      while (Number.parseFloat(answer.headers.get('x-response-time') ?? '') >= SLOW_MS) {
        answer = await service.get('/api/v1/performance/cache/stats', token, headers);
      }
      expect(answer.headers.get('server-timing')).toMatch(/^total;dur=[\d.]+$/);
      const line = await lineOf(({ requestId, ms }) => requestId === 'quick' && ms < SLOW_MS);
      expect(line.spans).toBeUndefined();
    });

    it('without a good token says nothing of the inside', async () => {
      const socket = connect(service.port, '127.0.0.1');
      const read = readFrom(socket);
      const body = JSON.stringify([{}]);
      // A batch of tRPC is read before its token.
      socket.write(
        `POST /trpc/performance.bulkCreateAuditEvents HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n` +
          `X-Request-Id: nobody\r\nContent-Length: ${body.length}\r\n\r\n`,
      );
      await until(() => service.httpServer.runningRequests > 0 || /\r\n\r\n/.test(read()));
      await elapsed();
      socket.write(body);
      await until(() => /\r\n\r\n/.test(read()));
      socket.destroy();
      expect(read()).toMatch(/^HTTP\/1.1 401/);
      expect(read()).toMatch(/\r\nServer-Timing: total;dur=[\d.]+\r\n/i);
    });
  });

  it('names the wait for its turn', async () => {
    await start({ CONCURRENCY_MAX_REQUESTS: '1' });
    await whileHeld(LOCK_EVENTS, async () => {
      const first = service.get(`${EVENTS}?limit=1`, token);
      await until(() => service.httpServer.runningRequests > 0);
      const others = [
        service.get(`${EVENTS}?limit=2`, token),
        service.post('/graphql', token, SEARCH),
        service.get('/trpc/performance.getOptimizedAuditEvents?input={}', token),
      ];
      expectMost('sql', await first);
      for (const answer of await Promise.all(others)) expectMost('queue', answer);
    });
  });

  it('names the wait for a connection', async () => {
    await start({ DATABASE_POOL_MAX: '1' });
    await whileHeld(LOCK_EVENTS, async () => {
      const first = service.get(`${EVENTS}?limit=1`, token);
      await until(() => service.httpServer.runningRequests > 0);
      const others = [
        service.get(`${EVENTS}?limit=2`, token),
        service.post('/graphql', token, SEARCH),
        service.post(EVENTS, token, eventWith({ organizationId: 'org-2' })),
      ];
      expectMost('sql', await first);
      for (const answer of await Promise.all(others)) expectMost('connection', answer);
    });
  });
});

const elapsed = () => new Promise((resolve) => setTimeout(resolve, HELD_MS)); // what is held has to be slow

function readFrom(socket: Socket): () => string {
  let text = '';
  socket.on('error', () => undefined);
  socket.on('data', (bytes: Buffer) => (text += bytes.toString('latin1')));
  return () => text;
}

/** The spans of a Server-Timing, without the total. */
function spansIn(timing: string): Spans {
  const entries = timing.split(', ').map((part): [string, number] => {
    const [, name = '', ms = ''] = /^(\w+);dur=([\d.]+)$/.exec(part) ?? [];
    return [name, Number(ms)];
  });
  expect(entries[0]?.[0]).toBe('total');
  return Object.fromEntries(entries.slice(1));
}

function expectMost(span: string, { headers }: Answer): void {
  const totalMs = Number.parseFloat(headers.get('x-response-time') ?? '');
  expectMostOf(span, totalMs, spansIn(headers.get('server-timing') ?? ''));
}

/** The spans add up to the time, and `span` is the longest. */
function expectMostOf(span: string, totalMs: number, spans: Spans = {}): void {
  const sumMs = Object.values(spans).reduce((sum, ms) => sum + ms, 0);
  const [longest] = Object.entries(spans).sort(([, a], [, b]) => b - a);
  expect({ longest: longest?.[0], spans }).toEqual({ longest: span, spans });
  expect(Math.abs(sumMs - totalMs) / totalMs).toBeLessThan(TOLERANCE);
}
