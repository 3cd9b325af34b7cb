import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { Client } from 'pg';
import { FairScheduler } from '../../src/concurrency/fair-scheduler';
import { Database } from '../../src/platform/database/database';
import { until } from '../integration/until.fixture';
import { expectProblem } from '../support/problem';
import {
  describeWithPostgresPrograms,
  startStreamingPair,
  type StreamingPair,
} from '../support/streaming-pair';
import { TailClient } from '../support/tail-client';
import { type Answer, EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

const DEADLINE_MS = 1000;
const PATIENCE_MS = 90_000;
const UNKNOWN = /not known whether this was stored/;
const FRESH = { 'cache-control': 'no-cache' };

describeWithPostgresPrograms()('with a synchronous standby', () => {
  let pair: StreamingPair;
  let service: TestService;
  let admin: Client;
  let token: string;
  /** Actions of events that were acknowledged. */
  const acknowledged = new Set<string>();

  beforeAll(async () => {
    pair = await startStreamingPair({ synchronous: true });
    const settings = {
      REQUEST_TIMEOUT_MS: String(DEADLINE_MS),
      DATABASE_UPKEEP_INTERVAL_SECONDS: '0',
      ALERT_INTERVAL_MS: '200',
    };
    service = await TestService.start(settings, () => Promise.resolve(pair.primaryUrl));
    admin = new Client({ connectionString: pair.primaryUrl });
    admin.on('error', () => undefined);
    await admin.connect();
    await admin.query('SET synchronous_commit = local');
    token = await tokenOf({
      organizations: ['*'],
      scope: 'audit:read audit:write audit:export performance:read',
    });
  }, PATIENCE_MS);

  afterAll(async () => {
    pair?.thawStandby();
    await admin?.end().catch(() => undefined);
    await service?.stop();
    pair?.stop();
  }, PATIENCE_MS);

  afterEach(async () => {
    pair.thawStandby();
    await until(async () => (await waiting()).length === 0);
    await until(
      () => !unconfirmedCommits().isStalled && unconfirmedCommits().statistics().tenants === 0,
    );
  });

  const unconfirmedCommits = () => service.provider(Database).unconfirmedCommits;

  /** The backends of the service that wait for the standby with a commit of events. */
  async function waiting(): Promise<number[]> {
    const { rows } = await admin.query<{ pid: number }>(
      `SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = 'audit-server'`,
    );
    return rows.map(({ pid }) => pid);
  }

  async function stored(client: Client, actions: Iterable<unknown>): Promise<Map<string, number>> {
    const { rows } = await client.query<{ action: string; count: number }>(
      `SELECT action, count(*)::int AS count FROM audit_event WHERE action = ANY($1) GROUP BY action`,
      [[...actions]],
    );
    return new Map(rows.map(({ action, count }) => [action, count]));
  }

  const organization = () => `org-${randomUUID()}`;
  const pageOf = (id: string) => `${EVENTS}?organization_ids=${id}`;
  const ALERTS = '/api/v1/performance/alerts';
  const isAlerted = ({ json }: Answer) =>
    (json as { type: string; resolvedAt?: string }[]).some(
      ({ type, resolvedAt }) => type === 'COMMITS_STALLED' && !resolvedAt,
    );
  const countIn = (answer: Answer) => (answer.json as { data: unknown[] }).data.length;

  function event(organizationId: string, more: object = {}): ReturnType<typeof eventWith> {
    return eventWith({ organizationId, action: randomUUID(), ...more });
  }

  /** Makes the month known and the connections open, so that it is the commit of events that waits. */
  async function warm(): Promise<string> {
    const id = organization();
    expect((await service.post(EVENTS, token, event(id))).status).toBe(201);
    expect(countIn(await service.get(pageOf(id), token))).toBe(1);
    return id;
  }

  const bulk = (id: string, count: number, more: () => object = () => ({})) => ({
    events: Array.from({ length: count }, () => event(id, more())),
  });
  const withId = () => ({ id: randomUUID() });
  const MUTATION =
    'mutation ($events: [CreateAuditEventInput!]!) { bulkCreateAuditEvents(events: $events) { created } }';

  describe('that does not answer, a write', () => {
    it.each<[string, string, (id: string) => object, number, Record<string, string>]>([
      ['of one event', EVENTS, (id) => event(id), 1, {}],
      ['of one event through express', `${EVENTS}?way=ordinary`, (id) => event(id), 1, {}],
      ['of an event with an id', EVENTS, (id) => event(id, withId()), 1, {}],
      ['with a key', EVENTS, (id) => event(id), 1, { 'idempotency-key': randomUUID() }],
      ['of some events', `${EVENTS}/bulk`, (id) => bulk(id, 20), 20, {}],
      ['of some with ids', `${EVENTS}/bulk`, (id) => bulk(id, 20, withId), 20, {}],
      ['of many events', `${EVENTS}/bulk`, (id) => bulk(id, 300), 300, {}],
      ['by tRPC', '/trpc/performance.bulkCreateAuditEvents', (id) => bulk(id, 20), 20, {}],
      [
        'by GraphQL',
        '/graphql',
        (id) => ({
          query: MUTATION,
          variables: {
            events: bulk(id, 20).events.map((one) => ({ ...one, status: 'SUCCESS' })),
          },
        }),
        20,
        {},
      ],
    ])(
      '%s has an unknown outcome at its deadline, and is not cancelled',
      async (_, path, body, count, headers) => {
        const id = await warm();
        pair.freezeStandby();
        const answer = await service.post(path, token, body(id), headers);
        if (path === '/graphql') expect(answer.text).toMatch(UNKNOWN);
        else {
          expect(answer.status).toBe(503);
          expect(answer.text).toMatch(UNKNOWN);
          expect(answer.text).toContain('DATABASE_UNAVAILABLE');
        }
        expect(await waiting()).toHaveLength(1); // not cancelled
        await until(() => service.provider(FairScheduler).statistics().active === 0);
        expect(countIn(await service.get(pageOf(id), token, FRESH))).toBe(1);
        pair.thawStandby();
        await until(
          async () => countIn(await service.get(`${pageOf(id)}&limit=500`, token)) === 1 + count,
        );
      },
    );

    it('of lines ends with no receipt when its client leaves, and is not cancelled', async () => {
      const id = await warm();
      pair.freezeStandby();
      const body = `${JSON.stringify(event(id))}\n`;
      const socket = connect(service.port, '127.0.0.1');
      socket.write(
        `POST ${EVENTS}/bulk HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n` +
          `Content-Type: application/x-ndjson\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      );
      await until(async () => (await waiting()).length === 1);
      socket.destroy();
      await until(() => service.provider(FairScheduler).statistics().active === 0);
      expect(await waiting()).toHaveLength(1);
    });

    it('is not cancelled when its client hangs up', async () => {
      const id = await warm();
      pair.freezeStandby();
      const body = JSON.stringify(event(id));
      const socket = connect(service.port, '127.0.0.1');
      socket.write(
        `POST ${EVENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n` +
          `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      );
      await until(async () => (await waiting()).length === 1);
      socket.destroy();
      await once(socket, 'close');
      await until(() => service.provider(FairScheduler).statistics().active === 0);
      expect(await waiting()).toHaveLength(1);
      expect(countIn(await service.get(pageOf(id), token, FRESH))).toBe(1);
    });

    it('among strangers has an unknown outcome, and one that waits for the next transaction is not stored', async () => {
      const id = await warm();
      pair.freezeStandby();
      const first = service.post(EVENTS, token, event(id));
      await until(async () => (await waiting()).length === 1);
      const second = event(id);
      expectProblem(await service.post(EVENTS, token, second), 504, 'REQUEST_TIMEOUT');
      expectProblem(await first, 503, 'DATABASE_UNAVAILABLE');
      pair.thawStandby();
      await until(async () => countIn(await service.get(pageOf(id), token)) === 2);
      expect(await stored(admin, [second.action])).toEqual(new Map());
    });

    it('is refused at once when that lasts, while everything else is answered', async () => {
      const id = await warm();
      const { max } = service.provider(FairScheduler).statistics();
      pair.freezeStandby();
      await service.post(EVENTS, token, event(id));
      await until(() => unconfirmedCommits().isStalled);
      expect(service.provider(FairScheduler).statistics().max).toBe(max); // its permit was released at its deadline
      const refused = event(id);
      const answer = await service.post(EVENTS, token, refused);
      expectProblem(answer, 503, 'DATABASE_UNAVAILABLE');
      expect(answer.json.detail).toMatch(/Nothing was stored/);
      expect(answer.headers.get('retry-after')).not.toBeNull();
      expect((await service.get(pageOf(id), token, FRESH)).status).toBe(200);
      expect((await service.get('/health/ready')).status).toBe(200);
      expect((await service.get('/health')).json.details.database.commits).toBe('stalled');
      await until(async () => isAlerted(await service.get(ALERTS, token)));
      pair.thawStandby();
      await until(async () => (await service.post(EVENTS, token, event(id))).status === 201);
      await until(async () => !isAlerted(await service.get(ALERTS, token)));
      expect(await stored(admin, [refused.action])).toEqual(new Map());
    });
  });

  it(
    'that does not answer holds no permits: reads are answered while all of them are taken by writes',
    async () => {
      const settings = { REQUEST_TIMEOUT_MS: '20000', CONCURRENCY_MAX_REQUESTS: '2' };
      const busy = await TestService.start(settings, () => Promise.resolve(pair.primaryUrl));
      try {
        const id = await warm();
        pair.freezeStandby();
        let answered = 0;
        const writes = [
          busy.post(EVENTS, token, event(id)),
          busy.post(`${EVENTS}/bulk`, token, bulk(organization(), 150)),
        ].map((sent) => sent.finally(() => (answered += 1)));
        await until(async () => (await waiting()).length === 2);
        expect((await busy.get(pageOf(id), token, FRESH)).status).toBe(200);
        expect(answered).toBe(0);
        expect(busy.provider(FairScheduler).statistics().max).toBe(4);
        pair.thawStandby();
        // Waited for to the end, and not past its deadline: stored.
        for (const { status } of await Promise.all(writes)) expect(status).toBe(201);
      } finally {
        pair.thawStandby();
        await busy.stop();
      }
    },
    PATIENCE_MS,
  );

  describe('whose wait an operator ends', () => {
    it.each(['pg_cancel_backend', 'pg_terminate_backend'])(
      'by %s: a visible event is neither acknowledged nor shown until it is durable',
      async (end) => {
        const id = await warm();
        const other = await warm();
        const key = { 'idempotency-key': randomUUID() };
        const one = event(id, withId());
        const tail = await TailClient.open(`${service.url}${EVENTS}/tail?organization_ids=${id}`, {
          authorization: `Bearer ${token}`,
        });
        pair.freezeStandby();
        const writing = service.post(EVENTS, token, one, key);
        await until(async () => (await waiting()).length === 1);
        await admin.query(`SELECT ${end}($1)`, await waiting());
        const answer = await writing;
        expectProblem(answer, 503, 'DATABASE_UNAVAILABLE');
        expect(answer.text).toMatch(UNKNOWN);
        await until(async () => (await stored(admin, [one.action])).size === 1); // visible to others
        // The first reads wait for a second, as long as a request may take here.
        await until(async () => (await service.get(pageOf(id), token)).status === 503);
        const reads = await Promise.all([
          service.get(pageOf(id), token),
          service.get(pageOf(id), token, FRESH),
          service.get(`${EVENTS}/${String(one.id)}?organization_ids=${id}`, token),
          service.get(`${pageOf(id)}&include_total=true`, token),
          service.get(`${EVENTS}/stream?organization_ids=${id}&format=ndjson`, token),
        ]);
        expect(reads.map(({ status }) => status)).toEqual([503, 503, 503, 503, 503]);
        for (const { text } of reads) expect(text).not.toContain(one.action);
        expect((await service.get(pageOf(other), token, FRESH)).status).toBe(200);
        // A replay, and a duplicate: each would be an acknowledgement.
        expect((await service.post(EVENTS, token, one, key)).status).toBe(503);
        expect((await service.post(EVENTS, token, one)).status).toBe(503);
        expect(tail.events).toEqual([]); // which has looked for what is new since
        pair.thawStandby();
        await until(async () => (await service.get(pageOf(id), token)).status === 200);
        await until(() => tail.events.length === 1);
        await tail.close();
        expect(countIn(await service.get(pageOf(id), token))).toBe(2);
        await until(async () => (await service.post(EVENTS, token, one, key)).status === 201);
        expect((await service.post(EVENTS, token, one)).status).toBe(200);
        expect(await stored(admin, [one.action])).toEqual(new Map([[one.action, 1]]));
      },
    );
  });

  it(
    'loses nothing that it has acknowledged: stopped, frozen and slow, and then promoted',
    async () => {
      const ids = [await warm(), await warm(), await warm()];
      let isOver = false;
      const write = async (id: string, round: number): Promise<void> => {
        const single = round % 2 === 0;
        const { events } = bulk(id, single ? 1 : 5, withId);
        const [body] = single ? events : [{ events }];
        const actions = events.map(({ action }) => action);
        for (let attempt = 0; attempt < 40; attempt += 1) {
          const { status } = await service.post(single ? EVENTS : `${EVENTS}/bulk`, token, body);
          if (status === 201 || status === 200) {
            for (const action of actions) acknowledged.add(String(action));
            return;
          }
          expect([503, 504]).toContain(status);
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
      };
      const writers = ids.map(async (id) => {
        for (let round = 0; !isOver; round += 1) await write(id, round);
      });
      const faults: [() => void, () => void, number][] = [
        [() => pair.freezeStandby(), () => pair.thawStandby(), 1500],
        [() => pair.stopStandby(), () => pair.startStandby(), 5500],
        [() => pair.freezeStandby(), () => pair.thawStandby(), 300],
      ];
      for (const [begin, end, lastsMs] of faults) {
        const before = acknowledged.size;
        begin();
        // Operators cancel what hangs.
        const cancels = setInterval(() => {
          void admin
            .query(
              `SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`,
            )
            .catch(() => undefined);
        }, 200);
        await new Promise((resolve) => setTimeout(resolve, lastsMs));
        clearInterval(cancels);
        end();
        await until(() => acknowledged.size > before + 5);
      }
      isOver = true;
      await Promise.all(writers);
      pair.freezeStandby();
      await Promise.all(ids.map((id) => service.post(EVENTS, token, event(id))));
      await admin.query(
        `SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`,
      );
      pair.stopPrimary();
      pair.thawStandby();
      pair.promoteStandby();
      const promoted = new Client({ connectionString: pair.standbyUrl });
      await promoted.connect();
      try {
        const there = await stored(promoted, acknowledged);
        expect([...acknowledged].filter((action) => there.get(action) !== 1)).toEqual([]);
        expect(acknowledged.size).toBeGreaterThan(15);
      } finally {
        await promoted.end();
        pair.startPrimary();
        await admin.end().catch(() => undefined);
        admin = new Client({ connectionString: pair.primaryUrl });
        admin.on('error', () => undefined);
        await admin.connect();
        // No standby follows it any more.
        await admin.query(`ALTER SYSTEM RESET synchronous_standby_names`);
        await admin.query('SELECT pg_reload_conf()');
      }
    },
    PATIENCE_MS,
  );
});
