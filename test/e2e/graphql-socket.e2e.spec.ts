import { once } from 'node:events';
import { request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { AuditSearch } from '../../src/audit/read/audit-search';
import type { Quota } from '../../src/platform/runtime/quota';
import { GraphqlSocket } from '../../src/api/graphql/graphql-socket';
import { Blocker } from '../integration/blocker.fixture';
import { until } from '../integration/until.fixture';
import {
  closeOf,
  initText,
  newOrganization,
  reader,
  RECORDED,
  SocketStage,
  SUBPROTOCOL,
} from '../support/socket-stage';
import { EVENTS, eventWith, tokenOf } from '../support/test-service';

let stage: SocketStage;

beforeAll(async () => {
  stage = await SocketStage.start();
});
afterEach(() => stage.clear());

describe('the socket', () => {
  it('runs queries and mutations with the limits and errors of GraphQL over HTTP', async () => {
    const organization = newOrganization();
    const token = await reader([organization]);
    const create = stage.subscribe(
      token,
      'mutation ($e: CreateAuditEventInput!) { createAuditEvent(event: $e) { sequence } }',
      { e: { organizationId: organization, action: 'a', status: 'SUCCESS' } },
    );
    await until(() => create.isOver);
    expect(create.data).toEqual([{ createAuditEvent: { sequence: '1' } }]);
    const codesOf = async (query: string) => {
      const answer = stage.subscribe(token, query);
      await until(() => answer.isOver);
      return answer.codes;
    };
    expect(await codesOf('{ cacheStats { entries } }')).toEqual(['FORBIDDEN']);
    expect(await codesOf('{ nothing }')).toEqual(['VALIDATION_FAILED']);
    expect(await codesOf('{ a')).toEqual(['VALIDATION_FAILED']);
    expect(await codesOf(`{ ${'__typename '.repeat(30)} }`)).toEqual(['VALIDATION_FAILED']);
    expect(await codesOf(`{ ${'a { '.repeat(50)} b ${'}'.repeat(50)} }`)).toEqual([
      'VALIDATION_FAILED',
    ]);
  });

  it('refuses a large operation when others hold all the memory for messages, and goes on', async () => {
    const room = Reflect.get(stage.service.provider(GraphqlSocket), 'messageMemory') as Quota;
    const half = Math.floor(room.limit / 2);
    for (const holder of ['a', 'b']) expect(room.acquire(holder, half)).toBe(true);
    try {
      const socket = await stage.connected(await reader([newOrganization()]));
      const answerTo = async (message: object): Promise<unknown> => {
        socket.send(JSON.stringify(message));
        const [answer] = (await once(socket, 'message')) as [Buffer];
        return JSON.parse(String(answer));
      };
      const payload = { query: '{ __typename }' };
      const large = { ...payload, variables: { text: 'x'.repeat(10_000) } };
      const refused = await answerTo({ id: '1', type: 'subscribe', payload: large });
      expect(refused).toMatchObject({
        ...{ id: '1', type: 'error' },
        payload: [{ extensions: { code: 'TOO_MANY_REQUESTS' } }],
      });
      expect(await answerTo({ type: 'ping' })).toEqual({ type: 'pong' });
      const small = await answerTo({ id: '1', type: 'subscribe', payload });
      expect(small).toMatchObject({ id: '1', type: 'next' });
    } finally {
      for (const holder of ['a', 'b']) room.release(holder, half);
    }
  });

  it('keeps the digits of variables', async () => {
    const organization = newOrganization();
    const socket = await stage.connected(await reader([organization]));
    const metadata = '{"n":[-9218868437227405312,1.0,1E3]}';
    const query =
      'mutation ($m: JSON) { createAuditEvent(event: { organizationId: \\"ORG\\", action: \\"a\\", status: SUCCESS, metadata: $m }) { metadata } }';
    socket.send(
      `{"id":"1","type":"subscribe","payload":{"query":"${query.replace('ORG', organization)}","variables":{"m":${metadata}}}}`,
    );
    const [answer] = (await once(socket, 'message')) as [Buffer];
    expect(String(answer)).toContain(`"metadata":${metadata}`);
  });

  it.each([
    ['of a variable', '{"query":"{ __typename }","variables":{"m":{"a":1,"a":2}}}'],
    ['in the payload', '{"query":"{ __typename }","query":"{ __typename }","variables":{"a":1}}'],
    ['beside no variables', '{"query":"{ __typename }","query":"{ __typename }"}'],
  ])('refuses a message that names a member twice: %s', async (_, payload) => {
    const socket = await stage.connected(await reader([newOrganization()]));
    socket.send(`{"id":"1","type":"subscribe","payload":${payload}}`);
    const [answer] = (await once(socket, 'message')) as [Buffer];
    expect(String(answer)).toContain('"code":"VALIDATION_FAILED"');
    expect(String(answer)).toContain('must not name a member of an object twice');
  });

  it.each([
    ['without a token', {}],
    ['with a bad token', { authorization: 'Bearer a.b.c' }],
    ['with a token that is no text', { Authorization: { toString: 1 } }],
  ])('closes %s with 4401', async (_, params) => {
    const subscriber = stage.open(params, RECORDED);
    await until(() => subscriber.ending !== undefined);
    expect(subscriber.ending?.code).toBe(4401);
  });

  it('closes with 4401 a client that sends operations before its token', async () => {
    const socket = stage.connect();
    await once(socket, 'open');
    const payload = { query: '{ __typename }' };
    const messages: unknown[] = [];
    socket.on('message', (data) => messages.push(data));
    socket.send(initText('a.b.c'));
    for (let id = 0; id < 5; id += 1) {
      socket.send(JSON.stringify({ id: String(id), type: 'subscribe', payload }));
    }
    expect(await closeOf(socket)).toBe(4401);
    expect(messages).toEqual([]);
  });

  it('takes the name of the header in either case', async () => {
    const socket = stage.connect();
    await once(socket, 'open');
    socket.send(initText(await tokenOf(), 'Authorization'));
    const [answer] = (await once(socket, 'message')) as [Buffer];
    expect(JSON.parse(answer.toString())).toEqual({ type: 'connection_ack' });
  });

  it.each([
    ['another path', '/api/v1/audit/events', [SUBPROTOCOL], 404],
    ['another subprotocol', '/graphql', ['graphql-ws'], 400],
    ['no subprotocol', '/graphql', [], 400],
  ])('refuses %s', async (_, path, protocols, status) => {
    const socket = stage.connect(path, protocols);
    const [, response] = (await once(socket, 'unexpected-response')) as [
      unknown,
      { statusCode: number; headers: Record<string, string> },
    ];
    expect(response.statusCode).toBe(status);
    expect(response.headers['content-type']).toBe('application/problem+json');
  });

  it('leaves requests that offer HTTP/2 unchanged', async () => {
    const sent = request(`${stage.service.url}/health/live`, {
      headers: { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c', 'http2-settings': '' },
    }).end();
    const [response] = (await once(sent, 'response')) as [{ statusCode: number; resume(): void }];
    response.resume();
    expect(response.statusCode).toBe(200);
  });

  it('cuts messages that are too large, binary, or too many before the token', async () => {
    const large = await stage.connected(await tokenOf());
    large.send('x'.repeat(1024 * 1024 + 1));
    expect(await closeOf(large)).toBe(1009);
    const binary = stage.connect();
    await once(binary, 'open');
    binary.send(Buffer.from(initText(await tokenOf())));
    expect(await closeOf(binary)).toBe(1003);
    const chatty = stage.connect();
    await once(chatty, 'open');
    for (let sent = 0; sent < 50; sent += 1) chatty.send('{"type":"ping"}');
    expect(await closeOf(chatty)).toBe(1008);
    const greeting = stage.connect();
    await once(greeting, 'open');
    greeting.send(`{"type":"ping","payload":{"a":"${'x'.repeat(70_000)}"}}`);
    expect(await closeOf(greeting)).toBe(1009);
  });

  it('closes 200 clients that never authenticate, and sockets of one principal beyond the limit', async () => {
    const silent = Array.from({ length: 200 }, () => stage.connect());
    const codes = await Promise.all(silent.map(closeOf));
    expect(new Set(codes)).toEqual(new Set([4408]));
    const token = await reader(['org-1']);
    for (let count = 0; count < 3; count += 1) await stage.connected(token);
    const fourth = stage.connect();
    await once(fourth, 'open');
    fourth.send(initText(token));
    expect(await closeOf(fourth)).toBe(1013);
  }, 20_000);
});

describe('a client that takes nothing', () => {
  it('is not read from until it does, and loses nothing', async () => {
    const socket = await stage.connected(await tokenOf());
    const [count, size] = [1600, 64 * 1024];
    let pongs = 0;
    socket.on('message', () => (pongs += 1));
    socket.pause();
    const ping = JSON.stringify({ type: 'ping', payload: { text: 'x'.repeat(size) } });
    let taken = 0;
    const sendNext = (): void => {
      if (taken < count) socket.send(ping, () => ((taken += 1), sendNext()));
    };
    sendNext();
    let before = -1;
    await until(async () => {
      const isStill = taken === before;
      before = taken;
      await sleep(500);
      return isStill;
    });
    expect(taken).toBeLessThan(count / 2);
    socket.resume();
    await until(() => pongs === count);
  }, 20_000);

  it('runs few of its queries until it reads their results, and then all', async () => {
    const organization = newOrganization();
    const token = await tokenOf({ organizations: [organization] });
    const metadata = { text: 'x'.repeat(200_000) };
    const events = Array.from({ length: 40 }, () =>
      eventWith({ organizationId: organization, metadata }),
    );
    expect((await stage.service.post(`${EVENTS}/bulk`, token, { events })).status).toBe(201);
    const socket = await stage.connected(token);
    const pages = jest.spyOn(stage.service.provider(AuditSearch), 'findPage');
    socket.pause();
    const query = '{ optimizedAuditEvents { edges { node { metadata } } } }';
    for (let id = 0; id < 20; id += 1) {
      socket.send(JSON.stringify({ id: String(id), type: 'subscribe', payload: { query } }));
    }
    await until(() => pages.mock.calls.length >= 4);
    await sleep(500);
    expect(pages.mock.calls).toHaveLength(4);
    const answers: string[] = [];
    socket.on('message', (data: Buffer) => answers.push(data.toString().slice(0, 40)));
    socket.resume();
    await until(() => answers.filter((text) => text.includes('"next"')).length === 20);
    pages.mockRestore();
  }, 20_000);

  it('learns that its subscription has ended, and may have another', async () => {
    const organization = newOrganization();
    const socket = await stage.connected(await reader([organization]));
    const payload = { query: RECORDED, variables: { after: '0' } };
    socket.send(JSON.stringify({ id: '1', type: 'subscribe', payload }));
    await until(() => stage.active === 1);
    socket.pause();
    const token = await tokenOf({ organizations: [organization] });
    const metadata = { text: 'x'.repeat(30_000) };
    const events = Array.from({ length: 200 }, () =>
      eventWith({ organizationId: organization, metadata }),
    );
    for (let sent = 0; sent < 5; sent += 1) {
      const { status } = await stage.service.post(`${EVENTS}/bulk`, token, { events });
      expect(status).toBe(201);
    }
    const messages: { type: string; payload: unknown }[] = [];
    socket.on('message', (data: Buffer) => messages.push(JSON.parse(data.toString())));
    socket.resume();
    await until(() => messages.at(-1)?.type === 'error');
    expect(messages.length).toBeLessThan(5 * events.length);
    expect(messages.at(-1)?.payload).toMatchObject([{ extensions: { code: 'SLOW_CONSUMER' } }]);
    await until(() => stage.active === 0);
  }, 30_000);
});

describe('SIGTERM', () => {
  it('answers running operations on sockets, takes no more, and completes no subscription', async () => {
    const other = await SocketStage.start();
    const blocker = await Blocker.connect(other.service.databaseUrl);
    const organization = newOrganization();
    const socket = await other.connected(await reader([organization]));
    const messages: { id?: string; type: string; payload?: unknown }[] = [];
    socket.on('message', (data: Buffer) => messages.push(JSON.parse(data.toString())));
    const send = (id: string, query: string) =>
      socket.send(JSON.stringify({ id, type: 'subscribe', payload: { query } }));
    const create = (action: string) =>
      `mutation { createAuditEvent(event: { organizationId: "${organization}", action: "${action}", status: SUCCESS }) { action } }`;
    send('followed', 'subscription { auditEventRecorded { action } }');
    await until(() => other.active === 1);
    await blocker.blockWrites();
    send('running', create('running'));
    await until(async () => (await blocker.busy()).length > 0);
    const closed = closeOf(socket);
    const stopped = other.service.stop();
    await until(() => other.active === 0); // the feed has ended
    send('late', create('late'));
    await blocker.unblock();
    expect(await closed).toBe(1001);
    expect(messages.filter(({ id }) => id !== 'followed')).toEqual([
      {
        id: 'running',
        type: 'next',
        payload: { data: { createAuditEvent: { action: 'running' } } },
      },
      { id: 'running', type: 'complete' },
    ]);
    expect(messages).not.toContainEqual({ id: 'followed', type: 'complete' });
    await blocker.close();
    await stopped;
  });

  it('closes its sockets with 1001 at once, refuses new ones, and ends', async () => {
    const subscriber = stage.subscribe(await reader([newOrganization()]), RECORDED);
    await until(() => stage.active === 1);
    const mute = await stage.connected(await tokenOf());
    mute.pause(); // never answers the goodbye
    const stopped = stage.service.stop();
    await until(() => subscriber.ending !== undefined);
    expect(subscriber.ending?.code).toBe(1001);
    expect(subscriber.data).toEqual([]);
    await stopped;
    expect(stage.active).toBe(0);
  });
});
