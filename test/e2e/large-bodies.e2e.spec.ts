import { connect } from 'node:net';
import type { Client } from 'pg';
import { ConcurrencyHealthIndicator } from '../../src/concurrency/concurrency.health';
import { FairScheduler } from '../../src/concurrency/fair-scheduler';
import { LargeBodyLimiter } from '../../src/concurrency/large-body-limiter';
import { BodyMemoryLimiter } from '../../src/http/body-memory-limiter';
import { until } from '../integration/until.fixture';
import { type Answer, EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

const MAX_REQUESTS = 12;
const QUEUE_SIZE = 5;
/** What LargeBodyLimiter says of itself; more when these take long. */
const AT_ONCE = 3;
const BULKS = 8;
const EVENTS_EACH = 200;

let service: TestService;
let admin: Client;
let flood: string;
let quiet: string;

beforeAll(async () => {
  service = await TestService.start({
    CONCURRENCY_MAX_REQUESTS: String(MAX_REQUESTS),
    CONCURRENCY_QUEUE_SIZE: String(QUEUE_SIZE),
  });
  flood = await tokenOf({ organizations: ['flood'] });
  quiet = await tokenOf({ sub: 'bob', organizations: ['quiet'] });
  admin = await service.connect();
});

afterAll(async () => {
  await admin.end();
  await service.stop();
  delete process.env.CONCURRENCY_MAX_REQUESTS;
  delete process.env.CONCURRENCY_QUEUE_SIZE;
});

const filler = 'x'.repeat(500);
const bulk = () => ({
  events: Array.from({ length: EVENTS_EACH }, () =>
    eventWith({ organizationId: 'flood', outcomeDescription: filler }),
  ),
});
const send = (body: unknown, path = `${EVENTS}/bulk`) => service.post(path, flood, body);
const large = () => service.provider(LargeBodyLimiter).permits.statistics();
const scheduler = () => service.provider(FairScheduler).statistics();
const here = () => large().active + large().queued;

/** Does `work` while nothing of that organization can be committed. */
async function whileHeld(work: () => Promise<Promise<Answer>[]>): Promise<Answer[]> {
  await send({ events: [eventWith({ organizationId: 'flood' })] });
  await admin.query('BEGIN');
  await admin.query(`SELECT FROM audit_organization WHERE organization_id = 'flood' FOR UPDATE`);
  const answers = await work().finally(() => admin.query('ROLLBACK'));
  return Promise.all(answers);
}

describe('requests with large bodies', () => {
  it('leave permits to others while they wait, and all get a response', async () => {
    const answers = await whileHeld(async () => {
      const sent = Array.from({ length: BULKS }, () => send(bulk()));
      await until(() => here() === BULKS);
      await until(() => scheduler().active === large().active);
      expect((await service.get(EVENTS, quiet)).status).toBe(200);
      const event = eventWith({ organizationId: 'quiet' });
      expect((await service.post(EVENTS, quiet, event)).status).toBe(201);
      return sent;
    });
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 201));
    const sequences = answers.flatMap(({ json }) =>
      (json.results as { sequence: string }[]).map(({ sequence }) => Number(sequence)),
    );
    expect(new Set(sequences).size).toBe(BULKS * EVENTS_EACH);
    expect(Math.max(...sequences) - Math.min(...sequences)).toBe(BULKS * EVENTS_EACH - 1);
    expect([large().active, large().queued]).toEqual([0, 0]);
  });

  it('do not keep those of others waiting while they wait for a lock', async () => {
    await whileHeld(async () => {
      const sent = Array.from({ length: AT_ONCE }, () => send(bulk()));
      await until(() => large().active === AT_ONCE);
      const events = bulk().events.map((event) => ({ ...event, organizationId: 'quiet' }));
      expect((await service.post(`${EVENTS}/bulk`, quiet, { events })).status).toBe(201);
      expect(scheduler().active).toBe(AT_ONCE); // these still wait
      return sent;
    });
  });

  it('are counted among those that wait', async () => {
    await whileHeld(async () => {
      const sent = Array.from({ length: BULKS }, () => send(bulk()));
      await until(() => here() === BULKS);
      const before = large().queued;
      const { text } = await service.get('/metrics');
      const counted = Number(/^audit_concurrency_queued_requests (\d+)$/m.exec(text)?.[1]);
      expect([before, large().queued]).toContain(counted);
      expect(counted).toBeGreaterThan(0);
      return sent;
    });
  });

  it('are refused beyond as many as may work and wait', async () => {
    const answers = await whileHeld(async () => {
      let refused = 0;
      const sent = Array.from({ length: 3 * MAX_REQUESTS }, async () => {
        const answer = await send(bulk());
        if (answer.status === 503) refused += 1;
        return answer;
      });
      await until(() => here() + refused === sent.length);
      const { concurrency } = service.provider(ConcurrencyHealthIndicator).check();
      expect(concurrency?.status).toBe('degraded');
      return sent;
    });
    const refused = answers.filter(({ status }) => status !== 201);
    expect(refused.length).toBeGreaterThan(0);
    expect(answers.length - refused.length).toBeGreaterThanOrEqual(MAX_REQUESTS + QUEUE_SIZE);
    for (const { status, json, headers } of refused) {
      expect([status, json.code]).toEqual([503, 'TOO_MANY_REQUESTS']);
      expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
    }
  });

  it('leave the queue when their client does, and are not made anything of', async () => {
    const cancelled = () => large().cancelled + scheduler().cancelled;
    await whileHeld(async () => {
      const sent = Array.from({ length: AT_ONCE }, () => send(bulk()));
      await until(() => here() === AT_ONCE);
      const before = cancelled();
      const leaving = new AbortController();
      const gone = fetch(`${service.url}${EVENTS}/bulk`, {
        method: 'POST',
        headers: { authorization: `Bearer ${flood}`, 'content-type': 'application/json' },
        body: JSON.stringify(bulk()),
        signal: leaving.signal,
      }).catch((error: Error) => error.name);
      await until(() => here() === AT_ONCE + 1);
      leaving.abort();
      expect(await gone).toBe('AbortError');
      await until(() => here() === AT_ONCE && cancelled() === before + 1);
      return sent;
    });
    await until(() => service.provider(BodyMemoryLimiter).reserved === 0);
  });

  const asItIs = (variables: object) => variables;
  const asMutation = ({ events }: { events: Record<string, unknown>[] }) => ({
    query: `mutation ($events: [CreateAuditEventInput!]!) {
      bulkCreateAuditEvents(events: $events) { created }
    }`,
    variables: {
      events: events.map((event) => ({ ...event, status: String(event.status).toUpperCase() })),
    },
  });
  const protocols = [
    ['REST', `${EVENTS}/bulk`, asItIs],
    ['tRPC', '/trpc/performance.bulkCreateAuditEvents', asItIs],
    ['GraphQL', '/graphql', asMutation],
  ] as const;
  it.each(protocols)(
    'wait only for each other within their organization: %s',
    async (_, path, written) => {
      await whileHeld(async () => {
        const small = () => send({ events: [eventWith({ organizationId: 'flood' })] });
        const sent = Array.from({ length: MAX_REQUESTS }, small);
        await until(() => scheduler().active === MAX_REQUESTS);
        sent.push(small());
        await until(() => scheduler().queued === 1);
        sent.push(send(written(bulk()), path));
        await until(() => scheduler().queued === 2);
        expect(scheduler().flows).toBe(2);
        return sent;
      });
    },
  );

  it.each(protocols)(
    'wait likewise through every protocol, and name the violation: %s',
    async (_, path, written) => {
      const answers = await whileHeld(async () => {
        const sent = Array.from({ length: AT_ONCE + 1 }, () => send(written(bulk()), path));
        await until(() => here() === AT_ONCE + 1);
        await until(() => scheduler().active === large().active);
        return sent;
      });
      expect(answers.every(({ status }) => status < 300)).toBe(true);
      const { events } = bulk();
      const faulty = await send(
        written({ events: [...events, eventWith({ status: 'odd' })] }),
        path,
      );
      expect(faulty.text).toContain('VALIDATION_FAILED');
      expect(faulty.text).toContain(`events[${EVENTS_EACH}].status`);
    },
  );

  it('have one permit for all calls of a batch, taken before these are read', async () => {
    const path = '/trpc/performance.bulkCreateAuditEvents';
    const answers = await whileHeld(async () => {
      const sent = [
        send({ 0: bulk(), 1: bulk() }, `${path},performance.bulkCreateAuditEvents?batch=1`),
      ];
      await until(() => scheduler().active === 2);
      expect(here()).toBe(1);
      return sent;
    });
    expect(answers.map(({ status }) => status)).toEqual([200]);
    await until(() => here() === 0);
  });

  it.each(['trpc-accept', 'accept'])(
    'have it until responses in lines are made: %s',
    async (name) => {
      const path =
        '/trpc/performance.bulkCreateAuditEvents,performance.bulkCreateAuditEvents?batch=1';
      await whileHeld(async () => {
        const lines = { [name]: 'application/jsonl' };
        const sent = service.post(path, flood, { 0: bulk(), 1: bulk() }, lines);
        await until(() => scheduler().active === 2);
        expect(here()).toBe(1);
        return [sent];
      });
      await until(() => here() === 0);
    },
  );

  it('keep it while one of the calls is not answered', async () => {
    const path = '/trpc/performance.bulkCreateAuditEvents';
    const both = await tokenOf({ organizations: ['flood', 'quiet'] });
    await whileHeld(async () => {
      const before = scheduler().granted;
      const other = { events: [eventWith({ organizationId: 'quiet' })] };
      const body = { 0: other, 1: bulk() };
      const sent = service.post(`${path},performance.bulkCreateAuditEvents?batch=1`, both, body);
      await until(() => scheduler().granted === before + 2 && scheduler().active === 1);
      expect(here()).toBe(1);
      return [sent];
    });
    await until(() => here() === 0);
  });

  it('release it when a batch calls an unknown procedure', async () => {
    const before = large().granted;
    const body = { 0: bulk() };
    await send(body, '/trpc/performance.bulkCreateAuditEvents,performance.nothing?batch=1');
    expect(large().granted).toBe(before + 1);
    await until(() => here() === 0);
  });

  it.each([
    ['one answer', ''],
    ['lines', 'trpc-accept: application/jsonl\r\n'],
    ['lines by Accept', 'Accept: application/jsonl\r\n'],
  ])('give it back though %s must wait behind what goes on', async (_, header) => {
    const before = large().granted;
    const socket = connect(service.port, '127.0.0.1');
    const body = JSON.stringify({ 0: { filter: {} }, 1: ' '.repeat(70_000) });
    socket.write(
      `GET ${EVENTS}/tail HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${flood}\r\n\r\n` +
        `POST /trpc/performance.getOptimizedAuditEvents,performance.nothing?batch=1 HTTP/1.1\r\nHost: x\r\n${header}` +
        `Authorization: Bearer ${flood}\r\nContent-Type: application/json\r\n` +
        `Content-Length: ${body.length}\r\n\r\n${body}`,
    );
    await until(() => large().granted === before + 1 && here() === 0);
    socket.destroy();
  });

  it('release it when the operation is a subscription', async () => {
    const before = large().granted;
    const leaving = new AbortController();
    const answer = await fetch(`${service.url}/trpc/performance.auditEventRecorded`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${flood}`,
        'content-type': 'application/json',
        accept: 'text/event-stream',
      },
      body: `{"filter":{}${' '.repeat(70_000)}}`,
      signal: leaving.signal,
    });
    expect(answer.status).toBe(200);
    await until(() => large().granted === before + 1 && here() === 0);
    leaving.abort();
  });

  it('that are malformed are rejected with the position', async () => {
    const text = `${JSON.stringify(bulk()).slice(0, -2)},]}`;
    const answer = await service.post(`${EVENTS}/bulk`, flood, Buffer.from(text), {
      'content-type': 'application/json',
    });
    expect(answer.json).toMatchObject({
      code: 'MALFORMED_JSON',
      detail: expect.stringMatching(`line 1, column ${text.length - 1}\\.$`) as string,
    });
  });
});
