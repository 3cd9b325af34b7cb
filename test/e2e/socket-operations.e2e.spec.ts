import { once } from 'node:events';
import WebSocket from 'ws';
import { GraphqlSocket } from '../../src/api/graphql/graphql-socket';
import { HttpServer } from '../../src/http/http-server';
import { until } from '../integration/until.fixture';
import {
  newOrganization,
  reader,
  RECORDED,
  SocketStage,
  SUBPROTOCOL,
} from '../support/socket-stage';
import { TailClient } from '../support/tail-client';
import { trpcClient } from '../support/trpc-client';
import { EVENTS, tokenOf } from '../support/test-service';

interface Line {
  context: string;
  [member: string]: unknown;
}

let stage: SocketStage;
let log = '';
const SETTINGS = { LOG_LEVEL: 'info', LOG_FORMAT: 'json' };

beforeAll(async () => {
  jest.spyOn(process.stdout, 'write').mockImplementation((text) => (log += String(text)) !== '');
  Object.assign(process.env, SETTINGS);
  stage = await SocketStage.start();
});
afterEach(() => stage.clear());
afterAll(async () => {
  await stage.service.stop();
  for (const name of Object.keys(SETTINGS)) Reflect.deleteProperty(process.env, name);
  jest.restoreAllMocks();
});

const linesOf = (route: string) =>
  log
    .split('\n')
    .filter((line) => line.includes(route))
    .map((line) => JSON.parse(line) as Line)
    .filter(({ context }) => context === 'Request');
const metrics = async () => (await stage.service.get('/metrics')).text;

describe('operations on sockets', () => {
  it('have a line in the log and count for their route', async () => {
    const token = await tokenOf({ sub: 'carol', scope: 'performance:read', organizations: ['o'] });
    for (const query of ['{ cacheStats { entries } }', '{ optimizedAuditEvents { totalCount } }']) {
      const answer = stage.subscribe(token, query);
      await until(() => answer.isOver);
    }
    const broken = stage.subscribe(token, '{ nothing ');
    await until(() => broken.isOver);
    await until(() => linesOf('"WS graphql').length === 3);
    expect(linesOf('"WS graphql')).toMatchObject([
      { method: 'WS', route: 'graphql query cacheStats', status: 200, principal: 'carol' },
      { method: 'WS', route: 'graphql query optimizedAuditEvents', status: 403 },
      { method: 'WS', route: 'graphql', status: 400, organization: 'o', ms: expect.any(Number) },
    ]);
    const text = await metrics();
    expect(text).toContain(
      'audit_http_requests_total{method="WS",route="graphql query cacheStats",status="200"} 1',
    );
  });

  it('that go on are counted once they are over', async () => {
    const subscriber = stage.subscribe(await reader([newOrganization()]), RECORDED);
    await until(() => stage.active === 1);
    const route = 'WS graphql subscription auditEventRecorded';
    expect(linesOf(route)).toEqual([]);
    subscriber.leave();
    await until(() => linesOf(route).length === 1);
    expect(linesOf(route)).toMatchObject([{ status: 200 }]);
  });
});

describe('subscriptions', () => {
  it('are counted by kind, in the metrics and in /health', async () => {
    const organization = newOrganization();
    const token = await reader([organization]);
    stage.subscribe(token, RECORDED);
    const tail = await TailClient.open(`${stage.service.url}${EVENTS}/tail`, {
      authorization: `Bearer ${token}`,
    });
    const client = trpcClient(stage.service.url, token);
    const live = client.performance.auditEventRecorded.subscribe(undefined, {
      onData: () => undefined,
    });
    await until(() => stage.active === 3);
    const text = await metrics();
    for (const kind of ['sse', 'websocket', 'trpc']) {
      expect(text).toContain(`audit_concurrency_active_subscriptions{kind="${kind}"} 1`);
    }
    const { json } = await stage.service.get('/health');
    expect(json.details.concurrency.subscriptions).toEqual({ sse: 1, websocket: 1, trpc: 1 });
    live.unsubscribe();
    await tail.close();
    await stage.clear();
    expect(await metrics()).toContain('audit_concurrency_active_subscriptions{kind="trpc"} 0');
  });
});

describe('a peer', () => {
  it('that answers no ping is disconnected, and one that does is not', async () => {
    const sockets = stage.service.provider(GraphqlSocket);
    const usualMs = sockets.keepAliveMs;
    sockets.keepAliveMs = 200;
    const token = await reader([newOrganization()]);
    const alive = await stage.connected(token);
    const silent = await stage.connected(token);
    sockets.keepAliveMs = usualMs;
    silent.pong = () => undefined; // what answers pings inside ws
    let pings = 0;
    alive.on('ping', () => (pings += 1));
    const [code] = (await once(silent, 'close')) as [number];
    expect(code).toBe(1006);
    const before = pings;
    await until(() => pings > before + 2);
    expect(alive.readyState).toBe(WebSocket.OPEN);
  });
});

describe('before the service is ready', () => {
  it('sockets, procedures and tails are answered with 503', async () => {
    const httpServer = new HttpServer();
    const { port } = await httpServer.listen(0, '127.0.0.1');
    const socket = new WebSocket(`ws://127.0.0.1:${port}/graphql`, [SUBPROTOCOL]);
    socket.on('error', () => undefined);
    const [, response] = (await once(socket, 'unexpected-response')) as [
      unknown,
      { statusCode: number; headers: Record<string, string>; destroy(): void },
    ];
    expect([response.statusCode, response.headers['retry-after']]).toEqual([503, '1']);
    response.destroy();
    for (const path of ['/trpc/performance.getMetrics', `${EVENTS}/tail`]) {
      const answer = await fetch(`http://127.0.0.1:${port}${path}`);
      expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '1']);
      expect(await answer.json()).toMatchObject({ code: 'NOT_READY' });
    }
    await httpServer.drain(0);
  });
});

describe('the rate limit', () => {
  const LIMITS = {
    RATE_LIMIT_ENABLED: 'true',
    RATE_LIMIT_REQUESTS: '3',
    RATE_LIMIT_WINDOW_SECONDS: '600',
  };

  it('holds for operations on sockets and requests together', async () => {
    Object.assign(process.env, LIMITS);
    const limited = await SocketStage.start();
    const token = await reader(['org-1']);
    const codes = async () => {
      const answer = limited.subscribe(token, '{ __typename }');
      await until(() => answer.isOver);
      return answer.codes;
    };
    expect([await codes(), await codes()]).toEqual([[], []]);
    expect((await limited.service.get(EVENTS, token)).status).toBe(200);
    expect(await codes()).toEqual(['RATE_LIMITED']);
    expect((await limited.service.get(EVENTS, token)).status).toBe(429);
    await limited.clear();
    await limited.service.stop();
    process.env['RATE_LIMIT_ENABLED'] = 'false';
  });
});
