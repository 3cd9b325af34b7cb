import { EVENTS, eventWith, TestService, tokenOf, type Answer } from '../support/test-service';

const FORWARDED = { 'x-forwarded-proto': 'https', 'x-forwarded-prefix': '/audit' };
const HSTS = 'strict-transport-security';

let service: TestService;
let token: string;

async function start(environment: Record<string, string>): Promise<void> {
  service = await TestService.start(environment);
  token = await tokenOf({ scope: 'audit:read audit:write performance:read' });
  await service.get(EVENTS, token); // the token is known from here on, so fast routes answer
}

async function stop(...names: string[]): Promise<void> {
  await service?.stop();
  for (const name of names) delete process.env[name];
}

/** Requests that each other part of the service answers. */
const PATHS: [string, string, string][] = [
  ['a page', 'GET', EVENTS],
  ['a write by the fast route', 'POST', EVENTS],
  ['a write by the ordinary path', 'POST', `${EVENTS}?way=ordinary`],
  ['a refusal', 'GET', `${EVENTS}?limit=0`],
  ['what is not there', 'GET', '/nowhere'],
  ['a probe', 'GET', '/health/live'],
  ['the documentation', 'GET', '/docs'],
  ['the root', 'GET', '/'],
  ['GraphQL', 'POST', '/graphql'],
  ['tRPC', 'GET', '/trpc/performance.getMetrics'],
];

function ask(method: string, path: string, headers: Record<string, string> = {}): Promise<Answer> {
  const body = method === 'POST' ? eventWith({ organizationId: 'org-1' }) : undefined;
  return service.request(method, path, { token, headers, body });
}

describe('without trusted proxies', () => {
  beforeAll(() => start({}));
  afterAll(() => stop());

  it.each(PATHS)('%s asks for no TLS, whatever a client says', async (_, method, path) => {
    expect((await ask(method, path, FORWARDED)).headers.has(HSTS)).toBe(false);
  });

  it('a client cannot move paths', async () => {
    const { headers } = await ask('POST', EVENTS, FORWARDED);
    expect(headers.get('location')).toMatch(/^\/api\/v1\/audit\/events\//);
  });
});

describe('behind a trusted proxy', () => {
  beforeAll(() => start({ TRUSTED_PROXIES: '127.0.0.0/8,::1' }));
  afterAll(() => stop('TRUSTED_PROXIES'));

  it.each(PATHS)('%s asks browsers for TLS over TLS alone', async (_, method, path) => {
    expect((await ask(method, path, FORWARDED)).headers.get(HSTS)).toBe(
      'max-age=31536000; includeSubDomains',
    );
    expect((await ask(method, path)).headers.has(HSTS)).toBe(false);
    const plain = { 'x-forwarded-proto': 'http' };
    expect((await ask(method, path, plain)).headers.has(HSTS)).toBe(false);
  });

  it.each([
    ['the fast route', EVENTS, {}],
    ['the ordinary path', `${EVENTS}?way=ordinary`, {}],
    ['a key, first', EVENTS, { 'idempotency-key': 'prefix' }],
    ['a key, again', EVENTS, { 'idempotency-key': 'prefix' }],
  ])('Location has the prefix: %s', async (_, path, more) => {
    const event = JSON.stringify(eventWith({ organizationId: 'org-1', action: 'prefix' }));
    const send = (headers: Record<string, string>) => service.post(path, token, event, headers);
    const { status, headers } = await send({ ...FORWARDED, ...more });
    expect(status).toBe(201);
    const location = headers.get('location') ?? '';
    expect(location).toMatch(/^\/audit\/api\/v1\/audit\/events\/[0-9a-f-]{36}$/);
    expect((await service.get(location.replace('/audit', ''), token)).status).toBe(200);
    if (Object.keys(more).length > 0) return;
    expect((await send({})).headers.get('location')).toMatch(/^\/api\/v1\//);
  });

  it('Link has it, for the client that came through the proxy alone, also from the cache', async () => {
    await ask('POST', EVENTS);
    await ask('POST', EVENTS);
    const path = `${EVENTS}?limit=1`;
    const caches: (string | null)[] = [];
    for (const headers of [FORWARDED, {}, FORWARDED]) {
      const answer = await ask('GET', path, headers);
      caches.push(answer.headers.get('x-cache'));
      const targets = [...(answer.headers.get('link') ?? '').matchAll(/<([^>]*)>; rel="(\w+)"/g)];
      expect(targets.map(([, , rel]) => rel)).toEqual(['first', 'next']);
      const prefix = headers === FORWARDED ? '/audit' : '';
      for (const [, target = ''] of targets)
        expect(target.startsWith(`${prefix}${path}`)).toBe(true);
    }
    expect(caches).toEqual(['MISS', 'HIT', 'HIT']);
  });

  it('the documentation works below it', async () => {
    const { json } = await service.get('/docs-json', undefined, FORWARDED);
    expect(json.servers[0].url).toBe('/audit');
    expect((await service.get('/docs-json')).json.servers[0].url).toBe('/');
    for (const page of ['/docs', '/docs/']) {
      const { text } = await service.get(page, undefined, FORWARDED);
      const assets = [...text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path = '']) => path);
      expect(assets.length).toBeGreaterThan(2);
      for (const asset of assets) {
        const { pathname } = new URL(asset, `http://proxy/audit${page}`);
        expect(pathname).toMatch(/^\/audit\/assets\//);
        expect((await service.get(pathname.replace('/audit', ''))).status).toBe(200);
      }
    }
  });

  it('the OpenAPI document with the prefix of one proxy is kept by no shared cache', async () => {
    for (const path of ['/docs-json', '/docs-yaml']) {
      const { headers } = await service.get(path, undefined, FORWARDED);
      expect([headers.get('cache-control'), headers.get('cdn-cache-control')]).toEqual([
        'private, no-cache',
        null,
      ]);
    }
  });

  it('the root names paths below it', async () => {
    const { json } = await service.get('/', undefined, FORWARDED);
    expect(json.links.health).toBe('/audit/health');
  });
});

describe.each([
  ['always', true],
  ['never', false],
])('with HSTS=%s', (hsts, isSent) => {
  beforeAll(() => start({ HSTS: hsts, TRUSTED_PROXIES: '127.0.0.1,::1' }));
  afterAll(() => stop('HSTS', 'TRUSTED_PROXIES'));

  it('responses do so whatever the proxy says', async () => {
    for (const headers of [FORWARDED, {}]) {
      for (const [, method, path] of PATHS) {
        expect((await ask(method, path, headers)).headers.has(HSTS)).toBe(isSent);
      }
    }
  });
});

describe('/', () => {
  beforeAll(() => start({}));
  afterAll(() => stop());

  it('is JSON for programs', async () => {
    const accepted: Record<string, string>[] = [
      {},
      { accept: '*/*' },
      { accept: 'application/json' },
    ];
    for (const headers of accepted) {
      const { status, json, headers: own } = await service.get('/', undefined, headers);
      expect({ status, json }).toEqual({
        status: 200,
        json: {
          name: 'audit-server',
          version: '0.1.0',
          links: { docs: '/docs', openapi: '/docs-json', health: '/health', metrics: '/metrics' },
        },
      });
      expect(own.get('vary')).toContain('Accept');
      for (const path of Object.values<string>(json.links)) {
        expect((await service.get(path)).status).toBe(200);
      }
    }
  });

  it('is a page for browsers, which runs and loads nothing', async () => {
    const accept = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8';
    const { status, text, headers } = await service.get('/', undefined, { accept });
    expect(status).toBe(200);
    expect(headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(headers.get('content-security-policy')).toBe(
      "default-src 'none'; frame-ancestors 'none'",
    );
    expect(text).toContain('<a href="/docs">docs</a>');
    expect(text).toContain('audit-server 0.1.0');
    expect(text).not.toMatch(/<script|<style|style=/);
  });

  it('has a HEAD, and no other method', async () => {
    const head = await service.request('HEAD', '/');
    expect([head.status, head.text]).toEqual([200, '']);
    for (const method of ['POST', 'PUT', 'DELETE']) {
      const { status, headers, json } = await service.request(method, '/');
      expect([status, json.code]).toEqual([405, 'METHOD_NOT_ALLOWED']);
      expect(headers.get('allow')).toBe('GET, HEAD');
    }
    const { status, json } = await service.get('/', undefined, { accept: 'image/png' });
    expect([status, json.code]).toEqual([406, 'NOT_ACCEPTABLE']);
  });
});

describe('as in production', () => {
  beforeAll(() =>
    start({ DOCS_ENABLED: 'false', HEALTH_DETAILS: 'false', METRICS_PORT: '0', HOST: '127.0.0.1' }),
  );
  afterAll(() => stop('DOCS_ENABLED', 'HEALTH_DETAILS', 'METRICS_PORT', 'HOST'));

  it.each(['/console', '/docs', '/docs/', '/docs-json', '/docs-yaml', '/assets/swagger-ui.css'])(
    '%s is not there',
    async (path) => {
      const { status, json } = await service.get(path, undefined, { accept: 'text/html, */*' });
      expect([status, json.code]).toEqual([404, 'NOT_FOUND']);
    },
  );

  it('/ names only what is served', async () => {
    const { json } = await service.get('/');
    expect(json.links).toEqual({ health: '/health' });
  });

  const PROBES = ['/health', '/health/live', '/health/ready', '/health/startup'];

  it.each(PROBES)('%s is open, without details', async (path) => {
    const expired = await tokenOf({ exp: 1, scope: 'performance:read' });
    const reader = await tokenOf({ scope: 'audit:read' });
    for (const bearer of [undefined, 'nonsense', expired, reader]) {
      const { status, json } = await service.get(path, bearer);
      expect(status).toBe(200);
      expect(json).toEqual({ status: expect.any(String), info: {}, error: {}, details: {} });
    }
    const { status, json } = await service.get(path, token);
    expect(status).toBe(200);
    if (path !== '/health/live') expect(Object.keys(json.details).length).toBeGreaterThan(0);
  });
});
