import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import WebSocket from 'ws';
import { Exporter } from '../../src/streaming/exporter';
import { until } from '../integration/until.fixture';
import { openExport, readAnswer } from '../support/export-client';
import { expectProblem } from '../support/problem';
import { closeOf, initText, SUBPROTOCOL } from '../support/socket-stage';
import { TailClient } from '../support/tail-client';
import { EVENTS, eventWith, goodClaims, TestService } from '../support/test-service';

const ORGANIZATION = `org-${randomUUID()}`;
/** Together more than sockets and buffers hold: an export of them waits for its reader. */
const [BATCHES, EVENTS_OF_ONE, BYTES_OF_ONE] = [6, 1000, 8000];
/** Long enough to begin everything on a busy machine. */
const LIFE_SECONDS = 10;

let service: TestService;
let folder: string;
let serial = 0;

interface Issuer {
  jwk: JWK;
  privateKey: CryptoKey;
}

async function issuer(kid: string): Promise<Issuer> {
  const { publicKey, privateKey } = await generateKeyPair('EdDSA');
  return { jwk: { ...(await exportJWK(publicKey)), kid }, privateKey };
}

function sign(
  { jwk, privateKey }: Issuer,
  lifeSeconds = 3600,
  scope = 'audit:read audit:write audit:export',
): Promise<string> {
  serial += 1;
  const exp = Math.floor(Date.now() / 1000) + lifeSeconds;
  const claims = { ...goodClaims(), sub: `user-${serial}`, scope, organizations: [ORGANIZATION] };
  return new SignJWT({ ...claims, exp })
    .setProtectedHeader({ alg: 'EdDSA', kid: jwk.kid ?? '' })
    .sign(privateKey);
}

async function publish(...issuers: Issuer[]): Promise<void> {
  const next = join(folder, `${randomUUID()}.json`);
  await writeFile(next, JSON.stringify({ keys: issuers.map(({ jwk }) => jwk) }));
  await rename(next, join(folder, 'jwks.json'));
}

let stays: Issuer;
let goes: Issuer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'audit-token-ends-'));
  [stays, goes] = await Promise.all([issuer('stays'), issuer('goes')]);
  await publish(stays, goes);
  service = await TestService.start({
    ...{ AUTH_JWT_SECRET: '', AUTH_JWKS_FILE: join(folder, 'jwks.json') },
    ...{ AUTH_ALGORITHMS: 'EdDSA', AUTH_JWKS_REFRESH_SECONDS: '1' },
    ...{
      STREAMING_SELF_AUDIT: 'true',
      STREAMING_MAX_CONCURRENT: '40',
      REDIS_URL: '',
      ALERT_INTERVAL_MS: '200',
    },
  });
  const writer = await sign(stays);
  for (let batch = 0; batch < BATCHES; batch += 1) {
    const events = Array.from({ length: EVENTS_OF_ONE }, () => {
      // random, so that a compressed export is as long as the others
      const metadata = { filling: randomBytes(BYTES_OF_ONE / 2).toString('hex') };
      return eventWith({ organizationId: ORGANIZATION, metadata });
    });
    expect((await service.post(`${EVENTS}/bulk`, writer, { events })).status).toBe(201);
  }
}, 120_000);

afterAll(async () => {
  await service.stop();
  await rm(folder, { recursive: true });
});

/** Something that goes on; `ended` resolves with what its client has of the end. */
interface GoingOn {
  ended: () => Promise<unknown>;
  expected: unknown;
}

const MARK = 'UNAUTHENTICATED';

/** An export of which nothing but its beginning has been taken. */
async function exporting(token: string, query: string): Promise<GoingOn> {
  const { response } = await openExport(service, token, query);
  expect(response.statusCode).toBe(200);
  await once(response, 'readable');
  return {
    ended: async () => {
      await until(() => service.provider(Exporter).statistics().active === 0);
      const { isWhole, trailers } = await readAnswer(response);
      return { isWhole, complete: trailers['x-export-complete'] };
    },
    expected: { isWhole: false, complete: undefined },
  };
}

async function tailing(token: string): Promise<GoingOn> {
  const tail = await TailClient.open(`${service.url}${EVENTS}/tail`, {
    authorization: `Bearer ${token}`,
  });
  return {
    ended: async () => {
      await until(() => tail.isOver);
      return JSON.parse(tail.messages.at(-1)?.data ?? '{}').code;
    },
    expected: MARK,
  };
}

/** A stream of tRPC, as lines or as server-sent events, of which only the beginning has been taken. */
async function streaming(token: string, accept: string): Promise<GoingOn> {
  const [name, query] =
    accept === 'application/jsonl' ? ['trpc-accept', '?batch=1&input={}'] : ['accept', '?input={}'];
  const request = httpRequest(`${service.url}/trpc/performance.streamAuditEvents${query}`, {
    headers: { authorization: `Bearer ${token}`, [name]: accept },
    agent: false,
  });
  request.end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  expect(response.statusCode).toBe(200);
  await once(response, 'readable');
  return {
    ended: async () => {
      const { body } = await readAnswer(response);
      return body.toString().includes(MARK);
    },
    expected: true,
  };
}

async function following(token: string): Promise<GoingOn> {
  const socket = new WebSocket(`ws://127.0.0.1:${service.port}/graphql`, SUBPROTOCOL);
  await once(socket, 'open');
  const closed = closeOf(socket);
  socket.send(initText(token));
  const [acknowledgement] = (await once(socket, 'message')) as [Buffer];
  expect(String(acknowledgement)).toContain('connection_ack');
  return { ended: () => closed, expected: 4401 };
}

/** A body of lines that has no end. */
async function ingesting(token: string): Promise<GoingOn> {
  const request = httpRequest(`${service.url}${EVENTS}/bulk`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/x-ndjson' },
    agent: false,
  });
  request.on('error', () => undefined);
  const line = `${JSON.stringify(eventWith({ organizationId: ORGANIZATION }))}\n`;
  request.write(line);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  expect(response.statusCode).toBe(200);
  const sending = setInterval(() => request.write(line), 100);
  return {
    ended: async () => {
      const { body, isWhole } = await readAnswer(response);
      clearInterval(sending);
      request.destroy();
      const lines = body.toString().trimEnd().split('\n');
      const [last, { summary }] = lines.slice(-2).map((text) => JSON.parse(text));
      const { status, code, errors } = last;
      const told = String(errors[0].message).slice(0, 37);
      const others = lines.slice(0, -2).every((text) => text.includes('"created"'));
      return { isWhole, status, code, told, others, counted: summary.created === last.line - 1 };
    },
    expected: {
      ...{ isWhole: true, status: 'rejected', code: MARK, others: true, counted: true },
      told: 'and all that follows is not read: The',
    },
  };
}

const KINDS: Record<string, (token: string) => Promise<GoingOn>> = {
  'an export of JSON': (token) => exporting(token, 'format=json'),
  'an export of CSV': (token) => exporting(token, 'format=csv'),
  'an export of lines': (token) => exporting(token, 'format=ndjson'),
  'a compressed export': (token) => exporting(token, 'format=ndjson&compression=true'),
  'a tail': tailing,
  'a stream of lines of tRPC': (token) => streaming(token, 'application/jsonl'),
  'a subscription of tRPC': (token) => streaming(token, 'text/event-stream'),
  'a socket': following,
  'a body of lines': ingesting,
};

async function beginAll(tokenOf: (name: string) => Promise<string>): Promise<[string, GoingOn][]> {
  const begin = async ([name, open]: [string, (token: string) => Promise<GoingOn>]) =>
    [name, await open(await tokenOf(name))] as [string, GoingOn];
  return Promise.all(Object.entries(KINDS).map(begin));
}

/**
 * The rest of an answer is read only once the tail, the last to end, has ended: before that a client that reads quickly
 * has the whole answer.
 */
async function expectEnded(all: [string, GoingOn][]): Promise<void> {
  await all.find(([name]) => name === 'a tail')?.[1].ended();
  const ends = await Promise.all(all.map(async ([name, { ended }]) => [name, await ended()]));
  expect(ends).toEqual(all.map(([name, { expected }]) => [name, expected]));
}

/** What the events say that record the exports of these principals. */
async function recordedExports(correlated: string): Promise<Record<string, unknown>[]> {
  const path = `${EVENTS}?actions=audit.export&${correlated}`;
  const { json } = await service.get(path, await sign(stays), { 'cache-control': 'no-cache' });
  return json.data;
}

it('all that goes on ends when its token expires', async () => {
  const all = await beginAll((name) =>
    sign(stays, name === 'a tail' ? LIFE_SECONDS + 2 : LIFE_SECONDS),
  );
  await expectEnded(all);
  await until(async () => (await recordedExports('limit=100')).length === 4);
  for (const event of await recordedExports('limit=100')) {
    expect(event).toMatchObject({
      status: 'failure',
      metadata: { outcome: 'aborted', reason: 'token ended' },
    });
  }
}, 120_000);

it('all that goes on ends when the key of its token is withdrawn, and so do verified tokens', async () => {
  const token = await sign(goes);
  const other = await sign(stays);
  for (const one of [token, other]) expect((await service.get(EVENTS, one)).status).toBe(200);
  const all = await beginAll(() => sign(goes));
  const staying = await tailing(other);
  await publish(stays);
  await expectEnded(all);
  await until(async () => (await service.get(EVENTS, token)).status === 401);
  expectProblem(await service.get(EVENTS, token), 401, 'UNAUTHENTICATED');
  expect((await service.get(EVENTS, other)).status).toBe(200);
  let isOver = false;
  const ended = staying.ended().then(() => (isOver = true));
  await service.post(EVENTS, other, eventWith({ organizationId: ORGANIZATION }));
  expect(isOver).toBe(false);
  ended.catch(() => undefined); // it ends with the service
}, 120_000);

it('a key set that is away is an alert and degrades health; tokens of known keys go on', async () => {
  const file = join(folder, 'jwks.json');
  const metric = async () =>
    /^audit_auth_key_set_up .*$/m.exec((await service.get('/metrics')).text)?.[0];
  const health = async () => (await service.get('/health')).json;
  const operator = await sign(stays, 3600, 'performance:read');
  const alertPath = '/api/v1/performance/alerts';
  const active = async () =>
    ((await service.get(alertPath, operator)).json as Record<string, unknown>[]).some(
      ({ type, resolvedAt }) => type === 'KEY_SET_UNAVAILABLE' && !resolvedAt,
    );
  await service.get(EVENTS, await sign(stays));
  expect(await metric()).toBe('audit_auth_key_set_up 1');
  expect((await health()).details.keySet).toEqual({ status: 'up', configured: true });
  await rm(file);
  await until(active);
  expect(await metric()).toBe('audit_auth_key_set_up 0');
  expect((await health()).status).toBe('degraded');
  expect((await health()).details.keySet.status).toBe('degraded');
  expect((await service.get('/health/ready')).status).toBe(200);
  expect((await service.get(EVENTS, await sign(stays))).status).toBe(200);
  expectProblem(await service.get(EVENTS, await sign(goes)), 503, 'AUTHENTICATION_UNAVAILABLE');
  await publish(stays);
  await until(async () => !(await active()));
  expect((await health()).details.keySet.status).toBe('up');
}, 120_000);
