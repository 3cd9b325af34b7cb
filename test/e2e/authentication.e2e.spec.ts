import { createHmac, generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { expectProblem } from '../support/problem';
import { protocolsOf } from '../support/protocols';
import {
  type Answer,
  EVENTS,
  eventWith,
  goodClaims,
  TEST_AUTH,
  TestService,
  tokenOf,
} from '../support/test-service';

/** A route that wants a token: `path` with ids filled in. */
interface Route {
  method: string;
  path: string;
}

let service: TestService;
let routes: Route[];

beforeAll(async () => {
  service = await TestService.start();
  const { json } = await service.get('/docs-json');
  routes = Object.entries<Record<string, { security?: unknown[] }>>(json.paths).flatMap(
    ([path, item]) =>
      Object.entries(item)
        .filter(([, { security }]) => security?.length)
        .map(([method]) => ({
          method: method.toUpperCase(),
          path: path.replace(/\{\w+\}/g, randomUUID()),
        })),
  );
});

afterAll(() => service.stop());

function call({ method, path }: Route, headers: Record<string, string>): Promise<Answer> {
  return service.request(method, path, {
    headers,
    body: method === 'GET' ? undefined : eventWith(),
  });
}

const encode = (value: unknown) =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

/** A token of any header and claims, signed with HMAC-SHA-256 and, unless told otherwise, the real secret. */
function forge(
  header: unknown,
  claims: unknown,
  key: string | Buffer = TEST_AUTH.AUTH_JWT_SECRET,
): string {
  const input = `${encode(header)}.${encode(claims)}`;
  return `${input}.${createHmac('sha256', key).update(input).digest('base64url')}`;
}

function attacks(): Record<string, string> {
  const claims = goodClaims();
  const now = Math.floor(Date.now() / 1000);
  const HS256 = { alg: 'HS256' };
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const rsaInput = `${encode({ alg: 'RS256' })}.${encode(claims)}`;
  const without = (name: string) =>
    Object.fromEntries(Object.entries(claims).filter(([key]) => key !== name));
  const good = forge(HS256, claims);
  const [header = '', payload = '', signature = ''] = good.split('.');
  return {
    'alg none': `${encode({ alg: 'none' })}.${encode(claims)}.`,
    'alg None with the signature of a good one': `${encode({ alg: 'None' })}.${payload}.${signature}`,
    'alg missing': forge({}, claims),
    'alg HS512 announced': forge({ alg: 'HS512' }, claims),
    'an RSA signature where a secret is configured': `${rsaInput}.${sign('sha256', Buffer.from(rsaInput), privateKey).toString('base64url')}`,
    'a public key as the secret': forge(
      HS256,
      claims,
      publicKey.export({ type: 'spki', format: 'pem' }),
    ),
    'an empty secret': forge(HS256, claims, ''),
    'another secret': forge(HS256, claims, 'another secret that is long enough for all'),
    'an embedded jwk': forge({ ...HS256, jwk: { kty: 'oct', k: encode('mine') } }, claims, 'mine'),
    'an embedded jwk though signed well': forge(
      { ...HS256, jwk: publicKey.export({ format: 'jwk' }) },
      claims,
    ),
    'a jku of another secret': forge(
      { ...HS256, jku: 'https://evil.example/jwks' },
      claims,
      'another secret that is long enough for all',
    ),
    'an unknown critical extension': forge({ ...HS256, crit: ['exp'], exp: 1 }, claims),
    'b64 false': forge({ ...HS256, crit: ['b64'], b64: false }, claims),
    expired: forge(HS256, { ...claims, exp: now - 1 }),
    'expired long ago': forge(HS256, { ...claims, exp: 0 }),
    'not valid yet': forge(HS256, { ...claims, nbf: now + 600 }),
    'nbf that is text': forge(HS256, { ...claims, nbf: 'now' }),
    'exp that is text': forge(HS256, { ...claims, exp: String(now + 600) }),
    'exp beyond all dates': forge(HS256, { ...claims, exp: 1e300 }),
    'exp missing': forge(HS256, without('exp')),
    'sub missing': forge(HS256, without('sub')),
    'sub empty': forge(HS256, { ...claims, sub: '' }),
    'sub that is an object': forge(HS256, { ...claims, sub: { id: 'alice' } }),
    'sub with NUL': forge(HS256, { ...claims, sub: 'a\0b' }),
    'iss missing': forge(HS256, without('iss')),
    'another issuer': forge(HS256, { ...claims, iss: 'https://issuer.example.evil' }),
    'aud missing': forge(HS256, without('aud')),
    'another audience': forge(HS256, { ...claims, aud: ['other'] }),
    'organizations that is empty text': forge(HS256, { ...claims, organizations: '' }),
    'organizations of numbers': forge(HS256, { ...claims, organizations: [1] }),
    'scope that is an object': forge(HS256, { ...claims, scope: { 'audit:read': true } }),
    'a payload that is a list': forge(HS256, []),
    'a payload that is no JSON': forge(HS256, 'claims'),
    'a signature cut off': `${header}.${payload}.`,
    'two segments': `${header}.${payload}`,
    'five segments': `${good}.a.b`,
    'a space inside': `${good} x`,
    'a padded signature': `${good}=`,
    garbage: 'garbage',
    'a long one': 'A'.repeat(12_000),
    'a changed payload': `${header}.${encode({ ...claims, organizations: ['*'] })}.${signature}`,
  };
}

const LOGS = '/v1/logs';
/** By the codes of problems. */
const RPC_CODES: Record<string, number> = { UNAUTHENTICATED: 16, FORBIDDEN: 7 };

/** A problem, or what OTLP has in its place. */
function expectRefusal({ path }: Route, answer: Answer, status: number, code: string): void {
  if (path !== LOGS) return expectProblem(answer, status, code);
  expect(answer.status).toBe(status);
  expect(answer.json).toEqual({ code: RPC_CODES[code], message: expect.any(String) });
}

describe('an unauthenticated request', () => {
  it('meets 401 with a challenge on every route, whatever the token is', async () => {
    expect(routes.length).toBeGreaterThanOrEqual(8);
    for (const route of routes) {
      for (const [attack, token] of Object.entries(attacks())) {
        const answer = await call(route, { authorization: `Bearer ${token}` });
        expect({ route, attack, status: answer.status }).toEqual({ route, attack, status: 401 });
        expectRefusal(route, answer, 401, 'UNAUTHENTICATED');
        expect(answer.headers.get('www-authenticate')).toMatch(
          /^Bearer realm="[^"]+", error="invalid_token", error_description="[^"\\]+"$/,
        );
        expect(answer.text).not.toContain(token.slice(-20));
      }
    }
  }, 60_000);

  it.each<[string, Record<string, string>]>([
    ['no header', {}],
    ['an empty one', { authorization: '' }],
    ['another scheme', { authorization: 'Basic YTpi' }],
    ['a token in the query only', {}],
  ])('meets 401 that asks for a token with %s', async (_, headers) => {
    const token = await tokenOf();
    for (const route of routes) {
      const answer = await call({ ...route, path: `${route.path}?access_token=${token}` }, headers);
      expectRefusal(route, answer, 401, 'UNAUTHENTICATED');
      expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer realm="[^"]+"$/);
    }
  });

  it('learns nothing about routes, bodies or ids before the token is good', async () => {
    const bad = await service.request('POST', EVENTS, {
      body: '{',
      headers: { 'content-type': 'text/plain' },
    });
    expectProblem(bad, 401, 'UNAUTHENTICATED');
    expectProblem(await service.get(`${EVENTS}/nonsense`), 401, 'UNAUTHENTICATED');
    expectProblem(await service.get(`${EVENTS}?limit=0`), 401, 'UNAUTHENTICATED');
  });

  it('is let in with the same token made good, in any case of the scheme', async () => {
    const token = forge({ alg: 'HS256' }, goodClaims());
    for (const scheme of ['Bearer', 'bearer', 'BEARER']) {
      const answer = await service.get(EVENTS, undefined, { authorization: `${scheme} ${token}` });
      expect(answer.status).toBe(200);
    }
  });

  it('is let in no more when a token that was good has expired', async () => {
    const token = await tokenOf({ exp: Math.floor(Date.now() / 1000) + 2 });
    expect((await service.get(EVENTS, token)).status).toBe(200);
    const deadlineMs = Date.now() + 5000;
    let answer = await service.get(EVENTS, token);
    while (answer.status === 200 && Date.now() < deadlineMs)
      answer = await service.get(EVENTS, token);
    expectProblem(answer, 401, 'UNAUTHENTICATED');
  });
});

/** Routes that ask for a scope. A ticket is good for what its token may do, so that each token can have one. */
function scoped(): Route[] {
  return routes.filter(({ path }) => path !== '/api/v1/auth/tickets');
}

/** The scope that a route asks for, as the contract has it. */
function scopeFor({ method, path }: Route): string {
  const isRead = method === 'GET';
  if (path === LOGS) return 'audit:write';
  if (path.includes('/audit/schemas')) return 'schemas:manage';
  if (!path.includes('/audit/')) return isRead ? 'performance:read' : 'performance:manage';
  if (path.endsWith('/stream')) return 'audit:export';
  return isRead ? 'audit:read' : 'audit:write';
}

async function expectLacking(route: Route, token: string, scope: string): Promise<void> {
  const answer = await call(route, { authorization: `Bearer ${token}` });
  expectRefusal(route, answer, 403, 'FORBIDDEN');
  expect(answer.headers.get('www-authenticate')).toMatch(
    new RegExp(`error="insufficient_scope", scope="${scope}"$`),
  );
}

describe('a token as identity providers issue it', () => {
  const organization = `org-${randomUUID()}`;
  const HS256 = { alg: 'HS256' };
  const claimsWith = (claims: object) => ({ ...goodClaims(), scope: undefined, ...claims });

  it.each<[string, object, object]>([
    ['scope as a list', {}, { scope: ['audit:read', 'audit:write'] }],
    ['scp as a list', {}, { scp: ['audit:read', 'audit:write'] }],
    ['scp as text', {}, { scp: 'audit:read audit:write' }],
    ['one organization as text', {}, { scp: 'audit:read audit:write' }],
    [
      'organizations by id',
      {},
      { scp: 'audit:read audit:write', organizations: { [organization]: { id: '1' } } },
    ],
    ['several audiences', {}, { scp: 'audit:read audit:write', aud: ['api', 'audit-server'] }],
    [
      'addresses of keys and certificates, which are not asked',
      { jku: 'http://127.0.0.1:1/keys', x5u: 'http://127.0.0.1:1/chain', x5c: ['MIIB'], x5t: 'AA' },
      { scp: 'audit:read audit:write' },
    ],
  ])('may have %s, in every protocol', async (_, header, claims) => {
    const named = { organizations: organization, ...claims };
    const token = forge({ ...HS256, ...header }, claimsWith(named));
    for (const [name, protocol] of Object.entries(protocolsOf(service))) {
      const events = JSON.stringify([eventWith({ organizationId: organization })]);
      const written = await protocol.write(events, token);
      const found = await protocol.find({ pagination: { limit: 1 } }, token);
      const outcome = [written.kind, written.created, found.kind, found.events?.length];
      expect([name, ...outcome]).toEqual([name, undefined, 1, undefined, 1]);
    }
  });

  it('is 403 with the reason when no claim names organizations, where nothing would look complete', async () => {
    const scope = 'audit:read audit:write audit:export performance:read performance:manage';
    const token = await tokenOf({ scope, organizations: undefined });
    const event = JSON.stringify(eventWith());
    const ndjson = { 'content-type': 'application/x-ndjson' };
    for (const answer of [
      await service.get(EVENTS, token),
      await service.get(`${EVENTS}/${randomUUID()}`, token),
      await service.get(`${EVENTS}/stream?format=csv`, token),
      await service.get(`${EVENTS}/tail`, token),
      await service.post(EVENTS, token, event),
      await service.post(`${EVENTS}/bulk`, token, event, ndjson),
      await service.post('/api/v1/performance/cache/warmup', token, {}),
    ]) {
      expectProblem(answer, 403, 'FORBIDDEN');
      expect(answer.json.detail).toMatch(/^The token has no claim that names organizations/);
    }
    for (const [name, protocol] of Object.entries(protocolsOf(service))) {
      const { kind: read } = await protocol.find({}, token);
      const { kind: written } = await protocol.write(`[${event}]`, token);
      expect([name, read, written]).toEqual([name, 'FORBIDDEN', 'FORBIDDEN']);
    }
    const stream = await service.get('/trpc/performance.streamAuditEvents?input={}', token);
    expect(stream.text).toContain('The token has no claim that names organizations');
    expect((await service.get('/api/v1/performance/metrics', token)).status).toBe(200);
  });
});

describe('scopes', () => {
  it.each(['', 'audit', 'audit:*', 'AUDIT:READ AUDIT:WRITE', 'audit:readaudit:write'])(
    '"%s" are 403 on every route',
    async (scope) => {
      const token = await tokenOf({ scope });
      for (const route of scoped()) await expectLacking(route, token, scopeFor(route));
    },
  );

  it.each([
    ['performance:read performance:manage', /^audit:/],
    ['audit:read audit:write audit:export', /^performance:/],
  ])('"%s" are 403 on routes of another kind', async (scope, others) => {
    const token = await tokenOf({ scope });
    const refused = scoped().filter((route) => others.test(scopeFor(route)));
    expect(refused.length).toBeGreaterThan(2);
    for (const route of refused) await expectLacking(route, token, scopeFor(route));
  });

  it('to read do not allow to write, nor the other way round', async () => {
    const [reader, writer] = [
      await tokenOf({ scope: 'audit:read' }),
      await tokenOf({ scope: 'audit:write' }),
    ];
    expectProblem(await service.post(EVENTS, reader, eventWith()), 403, 'FORBIDDEN');
    expectProblem(
      await service.post(`${EVENTS}/bulk`, reader, { events: [eventWith()] }),
      403,
      'FORBIDDEN',
    );
    expectProblem(await service.get(EVENTS, writer), 403, 'FORBIDDEN');
    const { status, json } = await service.post(EVENTS, writer, eventWith());
    expect(status).toBe(201);
    expectProblem(await service.get(`${EVENTS}/${json.id}`, writer), 403, 'FORBIDDEN');
    expect((await service.get(`${EVENTS}/${json.id}`, reader)).status).toBe(200);
  });
});
