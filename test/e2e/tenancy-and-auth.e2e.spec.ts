import { createHmac, generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { expectProblem } from '../support/problem';
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
      publicKey.export({ type: 'spki', format: 'pem' }) as string,
    ),
    'an empty secret': forge(HS256, claims, ''),
    'another secret': forge(HS256, claims, 'another secret that is long enough for all'),
    'an embedded jwk': forge({ ...HS256, jwk: { kty: 'oct', k: encode('mine') } }, claims, 'mine'),
    'an embedded jwk though signed well': forge(
      { ...HS256, jwk: publicKey.export({ format: 'jwk' }) },
      claims,
    ),
    'a jku': forge({ ...HS256, jku: 'https://evil.example/jwks' }, claims),
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
    'organizations that is text': forge(HS256, { ...claims, organizations: '*' }),
    'organizations of numbers': forge(HS256, { ...claims, organizations: [1] }),
    'scope that is a list': forge(HS256, { ...claims, scope: ['audit:read'] }),
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

describe('who is not authenticated', () => {
  it('meets 401 with a challenge on every route, whatever the token is', async () => {
    expect(routes.length).toBeGreaterThanOrEqual(8);
    for (const route of routes) {
      for (const [attack, token] of Object.entries(attacks())) {
        const answer = await call(route, { authorization: `Bearer ${token}` });
        expect({ route, attack, status: answer.status }).toEqual({ route, attack, status: 401 });
        expectProblem(answer, 401, 'UNAUTHENTICATED');
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
      expectProblem(answer, 401, 'UNAUTHENTICATED');
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

describe('scopes', () => {
  it.each([
    '',
    'audit',
    'audit:*',
    'AUDIT:READ AUDIT:WRITE',
    'performance:read performance:manage',
    'audit:readaudit:write',
  ])('"%s" are 403 on every route', async (scope) => {
    const token = await tokenOf({ scope });
    for (const route of routes) {
      const answer = await call(route, { authorization: `Bearer ${token}` });
      expectProblem(answer, 403, 'FORBIDDEN');
      expect(answer.headers.get('www-authenticate')).toMatch(
        /error="insufficient_scope", scope="audit:(read|write)"$/,
      );
    }
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

describe('a token of one organization', () => {
  const mine = `org-${randomUUID()}`;
  const foreign = `org-${randomUUID()}`;
  let token: string;
  let foreignToken: string;
  let foreignId: string;
  const chosenId = randomUUID();

  beforeAll(async () => {
    token = await tokenOf({ organizations: [mine] });
    foreignToken = await tokenOf({ sub: 'bob', organizations: [foreign] });
    await service.post(EVENTS, token, eventWith({ organizationId: mine }));
    const { json } = await service.post(
      EVENTS,
      foreignToken,
      eventWith({ organizationId: foreign, action: 'secret' }),
    );
    foreignId = json.id;
    await service.post(
      EVENTS,
      foreignToken,
      eventWith({ organizationId: foreign, id: chosenId, metadata: { secret: 1 } }),
    );
  });

  it('sees and counts its own events only', async () => {
    const { json, text } = await service.get(`${EVENTS}?include_total=true`, token);
    expect(json.pagination.total).toBe(1);
    expect(
      json.data.map(({ organizationId }: { organizationId: string }) => organizationId),
    ).toEqual([mine]);
    expect(text).not.toContain(foreign);
    for (const filter of ['actions=secret', `resource_ids=${foreignId}`]) {
      const found = await service.get(`${EVENTS}?include_total=true&${filter}`, token);
      expect(found.json).toMatchObject({ data: [], pagination: { total: 0, hasNext: false } });
    }
  });

  it('is told the same of a foreign event as of one that does not exist', async () => {
    const absent = await service.get(`${EVENTS}/${randomUUID()}`, token);
    const wordsOf = ({ json }: Answer) => ({ ...json, instance: '', requestId: '' });
    for (const id of [foreignId, chosenId, chosenId.toUpperCase()]) {
      const answer = await service.get(`${EVENTS}/${id}`, token);
      expectProblem(answer, 404, 'NOT_FOUND');
      expect(wordsOf(answer)).toEqual(wordsOf(absent));
    }
  });

  it('is told the same when it asks for a foreign organization as for one that does not exist', async () => {
    const words = new Set<string>();
    for (const asked of [foreign, 'org-nobody-has', `${mine},${foreign}`, '*', `${mine},*`]) {
      for (const path of [
        `${EVENTS}?organization_ids=${asked}`,
        `${EVENTS}/${foreignId}?organization_ids=${asked}`,
      ]) {
        const answer = await service.get(path, token);
        expectProblem(answer, 403, 'FORBIDDEN');
        words.add(`${answer.json.detail}`);
      }
    }
    expect(words.size).toBe(1);
  });

  it.each([
    ['one that exists', foreign],
    ['one that does not', 'org-nobody-has'],
  ])('cannot write to %s', async (_, organizationId) => {
    const single = await service.post(EVENTS, token, eventWith({ organizationId }));
    expectProblem(single, 403, 'FORBIDDEN');
    const bulk = await service.post(`${EVENTS}/bulk`, token, {
      events: [eventWith({ organizationId })],
    });
    expectProblem(bulk, 403, 'FORBIDDEN');
    expect(single.json.detail).toBe(bulk.json.detail);
    const operator = await tokenOf({ organizations: ['*'] });
    const { json } = await service.get(
      `${EVENTS}?organization_ids=${organizationId}&actions=test.run&include_total=true`,
      operator,
    );
    expect(json.pagination.total).toBe(organizationId === foreign ? 1 : 0);
  });

  it('does not learn from an id whether a foreign organization has it', async () => {
    const answer = await service.post(
      EVENTS,
      token,
      eventWith({ organizationId: mine, id: foreignId, action: 'taken' }),
    );
    expect(answer.status).toBe(201);
    expect((await service.get(`${EVENTS}/${foreignId}`, token)).json.action).toBe('taken');
    expect((await service.get(`${EVENTS}/${foreignId}`, foreignToken)).json.action).toBe('secret');
  });

  it('does not learn from the sequence what others write', async () => {
    const before = (await service.post(EVENTS, token, eventWith({ organizationId: mine }))).json
      .sequence;
    await service.post(EVENTS, foreignToken, eventWith({ organizationId: foreign }));
    const after = (await service.post(EVENTS, token, eventWith({ organizationId: mine }))).json
      .sequence;
    expect(Number(after)).toBe(Number(before) + 1);
  });

  it('cannot use a cursor or an answer of another', async () => {
    await service.post(EVENTS, foreignToken, eventWith({ organizationId: foreign }), {
      'idempotency-key': 'shared',
    });
    const replay = await service.post(EVENTS, token, eventWith({ organizationId: mine }), {
      'idempotency-key': 'shared',
    });
    expect(replay.json.organizationId).toBe(mine);
    const { json } = await service.get(`${EVENTS}?limit=1`, foreignToken);
    expectProblem(
      await service.get(`${EVENTS}?limit=1&cursor=${json.pagination.nextCursor}`, token),
      400,
      'INVALID_CURSOR',
    );
  });

  it('that is the operator’s * sees all, and narrows it as it likes', async () => {
    const operator = await tokenOf({ organizations: ['*'] });
    const both = await service.get(
      `${EVENTS}?organization_ids=${mine},${foreign}&limit=1000`,
      operator,
    );
    const seen = new Set(
      both.json.data.map(({ organizationId }: { organizationId: string }) => organizationId),
    );
    expect(seen).toEqual(new Set([mine, foreign]));
    const all = await service.get(`${EVENTS}?limit=1000`, operator);
    for (const organization of [mine, foreign]) expect(all.text).toContain(organization);
    expect((await service.get(`${EVENTS}/${chosenId}`, operator)).json.organizationId).toBe(
      foreign,
    );
  });

  it.each([[[]], [undefined]])(
    'with organizations %p sees an empty page and writes nothing',
    async (organizations) => {
      const nobody = await tokenOf({ organizations });
      for (const sort of ['timestamp', 'sequence']) {
        const { json } = await service.get(
          `${EVENTS}?include_total=true&sort_field=${sort}`,
          nobody,
        );
        expect(json).toEqual({
          data: [],
          pagination: {
            limit: 50,
            offset: 0,
            total: 0,
            totalIsExact: true,
            hasNext: false,
            hasPrevious: false,
          },
        });
      }
      expectProblem(await service.get(`${EVENTS}/${foreignId}`, nobody), 404, 'NOT_FOUND');
      expectProblem(await service.post(EVENTS, nobody, eventWith()), 403, 'FORBIDDEN');
    },
  );

  it('is not fooled by ids that look alike', async () => {
    for (const organizationId of [
      mine.toUpperCase(),
      `${mine} `,
      ` ${mine}`,
      `${mine}\t`,
      mine.normalize('NFD') + '\u0301',
    ]) {
      expectProblem(
        await service.post(EVENTS, token, eventWith({ organizationId })),
        403,
        'FORBIDDEN',
      );
    }
  });
});
