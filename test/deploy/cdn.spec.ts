import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from '../integration/until.fixture';
import { ticketFor } from '../support/tickets';
import { TailClient } from '../support/tail-client';
import {
  type Answer,
  EVENTS,
  eventWith,
  requestOf,
  type RequestOptions,
  TestService,
  tokenOf,
} from '../support/test-service';
import { buildWeb } from '../support/web-build';
import { hasNginx, startNginx } from './nginx.fixture';

const YEAR_SECONDS = 31_536_000;
const CONSOLE = 'https://console.example';
const BROWSER = 'text/html,application/xhtml+xml,*/*;q=0.8';
const ALL_SCOPES = 'audit:read audit:write audit:export performance:read performance:manage';

/** Responses without freshness are kept for an hour, which heuristics of caches allow; conditions of clients are passed on. */
const CONFIGURATION = `
worker_processes 1;
pid /tmp/nginx.pid;
error_log /dev/stderr warn;
events { worker_connections 512; }
http {
  client_body_temp_path /tmp/client_body;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi;
  scgi_temp_path /tmp/scgi;
  access_log off;
  proxy_cache_path /tmp/kept levels=1:2 keys_zone=kept:1m inactive=1d use_temp_path=off;
  server {
    listen 8080;
    proxy_cache kept;
    proxy_cache_valid any 1h;
    CACHE_SETTINGS
    proxy_http_version 1.1;
    proxy_set_header Connection '';
    proxy_set_header If-None-Match $http_if_none_match;
    add_header X-Cache-Status $upstream_cache_status always;
    location / { proxy_pass SERVICE_URL; }
  }
}`;

/** Caches in front of the service: settings of nginx by name. */
const CACHES: [string, string][] = [
  ['the whole URL as its key', 'proxy_cache_key $request_uri;'],
  [
    'the path as its key, and no regard for Vary',
    'proxy_cache_key $uri; proxy_ignore_headers Vary;',
  ],
];

/** Headers that requests differ in. */
const VARIED: Record<string, string>[] = [
  {},
  { range: 'bytes=0-99' },
  { accept: BROWSER },
  { accept: 'text/csv' },
  { accept: 'image/*' },
  { 'accept-encoding': 'br' },
  { 'accept-encoding': 'identity' },
  { origin: CONSOLE },
  { origin: 'https://other.example' },
  { 'if-none-match': '*' },
  { 'cache-control': 'no-cache' },
];

interface KeptFile {
  key: string;
  freshSeconds: number;
}

/** What nginx keeps: its files begin with version, end of freshness and, at byte 40, date in seconds, then the key. */
function filesIn(folder: string): KeptFile[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => {
      const bytes = readFileSync(join(parentPath, name));
      const [, key = ''] = /\nKEY: (.*)\n/.exec(bytes.toString('latin1')) ?? [];
      const freshUntil = Number(bytes.readBigInt64LE(8));
      return { key, freshSeconds: freshUntil - Number(bytes.readBigInt64LE(40)) };
    });
}

const actionsIn = ({ events }: TailClient) => events.map(({ action }) => action);
const cacheStatusOf = ({ headers }: Pick<Answer, 'headers'>) => headers.get('x-cache-status');

(hasNginx() ? describe : describe.skip).each(CACHES)(
  'a shared cache with %s',
  (_name, cacheSettings) => {
    let home: string;
    let service: TestService;
    let nginx: Awaited<ReturnType<typeof startNginx>>;
    let alice: string;
    let bob: string;
    let eventId: string;

    const ask = (path: string, options: RequestOptions = {}, method = 'GET') =>
      requestOf(nginx.url, method, path, options);
    const kept = () => filesIn(join(home, 'kept'));

    beforeAll(async () => {
      buildWeb();
      home = mkdtempSync(join(tmpdir(), 'audit-cdn-'));
      mkdirSync(join(home, 'kept'), { mode: 0o777 });
      service = await TestService.start({
        NODE_ENV: 'development',
        CORS_ORIGINS: CONSOLE,
        CONSOLE_ENABLED: 'true',
        LOG_LEVEL: 'silent',
        RATE_LIMIT_ENABLED: 'false',
      });
      const text = CONFIGURATION.replace('SERVICE_URL', service.url);
      nginx = await startNginx(home, text.replace('CACHE_SETTINGS', cacheSettings));
      const person = (sub: string) =>
        tokenOf({ sub, scope: ALL_SCOPES, organizations: [`org-${sub}`] });
      [alice, bob] = [await person('alice'), await person('bob')];
      const event = eventWith({ organizationId: 'org-alice', action: 'secret.of.alice' });
      eventId = ((await service.post(EVENTS, alice, event)).json as { id: string }).id;
    });

    afterAll(async () => {
      await nginx?.stop();
      await service?.stop();
      for (const name of ['CORS_ORIGINS', 'CONSOLE_ENABLED', 'RATE_LIMIT_ENABLED'])
        delete process.env[name];
      rmSync(home, { recursive: true, force: true });
    });

    /** Paths of what the pages load. */
    async function assets(): Promise<string[]> {
      const pages = [
        await service.get('/docs'),
        await service.get('/graphql', undefined, { accept: BROWSER }),
        await service.get('/', undefined, { accept: BROWSER }),
      ];
      return pages.flatMap(({ text }) =>
        [...text.matchAll(/(?:src|href)="\/?(assets\/[^"]+)"/g)].map(([, path]) => `/${path}`),
      );
    }

    /** Every route that is read, listed in the OpenAPI document or not, and refused requests. */
    async function paths(): Promise<string[]> {
      const { json } = await service.get('/docs-json');
      const listed = Object.entries(json.paths as Record<string, { get?: unknown }>)
        .filter(([path, { get }]) => get && !path.endsWith('/tail'))
        .map(([path]) => path.replace(/\{\w+\}/g, eventId));
      expect(listed.length).toBeGreaterThan(10);
      const query = encodeURIComponent('{ optimizedAuditEvents { edges { node { action } } } }');
      return [
        ...listed,
        ...[
          '/',
          '/console',
          '/docs',
          '/docs/',
          '/docs-json',
          '/docs-yaml',
          '/development-token',
          '/graphql',
        ],
        `/graphql?query=${query}`,
        '/graphql?query=%7B',
        '/trpc/performance.getMetrics',
        '/trpc/performance.getOptimizedAuditEvents',
        `/trpc/performance.getOptimizedAuditEvents?batch=1&input=${encodeURIComponent('{"0":{}}')}`,
        '/trpc/performance.streamAuditEvents',
        '/trpc/performance.noSuchProcedure',
        `${EVENTS}?limit=1`,
        `${EVENTS}?limit=0`,
        `${EVENTS}?organization_ids=org-bob`,
        `${EVENTS}/00000000-0000-4000-8000-000000000000`,
        `${EVENTS}?ticket=x`,
        `${EVENTS}/tail?ticket=x`,
        `${EVENTS}/stream?format=csv`,
        `${EVENTS}/stream?format=ndjson`,
        ...['/no/such/route', '/assets/page.js', '/assets/', '/assets/page.0123456789abcdef.js'],
        ...['/api/v1/audit/events/bulk', '/api/v1/auth/tickets'],
      ];
    }

    it('keeps each asset for a year, for every client', async () => {
      const names = await assets();
      expect(names.length).toBeGreaterThan(12);
      for (const path of names) {
        const direct = await service.get(path);
        const headers = { 'x-request-id': 'request-of-alice' };
        const first = await ask(path, { token: alice, headers });
        expect([first.status, cacheStatusOf(first)]).toEqual([200, 'MISS']);
        for (const options of [{ token: alice }, { token: bob }, {}]) {
          const again = await ask(path, options);
          expect([path, again.status, cacheStatusOf(again)]).toEqual([path, 200, 'HIT']);
          expect(again.headers.get('cache-control')).toBe(
            `public, max-age=${YEAR_SECONDS}, immutable`,
          );
          expect(again.text).toBe(direct.text);
          const names = [...again.headers.keys()];
          for (const name of ['x-request-id', 'x-response-time', 'server-timing'])
            expect(names).not.toContain(name);
        }
        const head = await ask(path, {}, 'HEAD');
        expect([head.status, cacheStatusOf(head), head.text]).toEqual([200, 'HIT', '']);
        const etag = first.headers.get('etag') ?? '';
        const same = await ask(path, { headers: { 'if-none-match': etag } });
        expect([same.status, cacheStatusOf(same)]).toEqual([304, 'HIT']);
      }
      const files = kept();
      expect(new Set(files.map(({ key }) => key))).toEqual(new Set(names));
      for (const { freshSeconds } of files) expect(freshSeconds).toBe(YEAR_SECONDS);
    });

    it('sends each client an asset in a coding that it accepts', async () => {
      const isVaryIgnored = cacheSettings.includes('ignore');
      const [path = ''] = (await assets()).filter((name) => name.includes('swagger-ui-bundle'));
      const { text } = await service.get(path);
      for (const coding of ['br', 'gzip', 'identity']) {
        const headers = { 'accept-encoding': coding };
        await ask(path, { headers });
        const again = await ask(path, { headers });
        expect([cacheStatusOf(again), again.text === text]).toEqual(['HIT', true]);
        if (isVaryIgnored) continue;
        expect(again.headers.get('content-encoding')).toBe(coding === 'identity' ? null : coding);
      }
    });

    it('sends the right part of an asset, or all of it', async () => {
      for (const path of await assets()) {
        const headers = { range: 'bytes=0-99', 'accept-encoding': 'identity' };
        const whole = (await service.get(path, undefined, { 'accept-encoding': 'identity' })).text;
        const part = await ask(path, { headers });
        expect([200, 206]).toContain(part.status);
        if (!cacheSettings.includes('ignore')) {
          expect(part.text).toBe(part.status === 206 ? whole.slice(0, 100) : whole);
        }
      }
    });

    it('keeps nothing else: no response to any client, of any route', async () => {
      const seen = new Set<number>();
      const compare = async (path: string, method: string, headers: Record<string, string>) => {
        const where = `${method} ${path} ${JSON.stringify(headers)}`;
        const own = { ...headers, 'x-request-id': 'request-of-alice' };
        const first = await ask(path, { token: alice, headers: own }, method);
        seen.add(first.status);
        expect([where, cacheStatusOf(first)]).toEqual([where, 'MISS']);
        for (const who of [{ token: bob }, {}]) {
          const { text, ...answer } = await ask(path, { headers, ...who }, method);
          seen.add(answer.status);
          expect([where, cacheStatusOf(answer)]).toEqual([where, 'MISS']);
          expect([where, text.includes('secret.of.alice')]).toEqual([where, false]);
          expect(answer.headers.get('x-request-id')).not.toBe('request-of-alice');
        }
      };
      const all = await paths();
      for (const headers of VARIED)
        await Promise.all(all.map((path) => compare(path, 'GET', headers)));
      await Promise.all(all.map((path) => compare(path, 'HEAD', {})));
      expect([...seen].sort()).toEqual(
        expect.arrayContaining([200, 304, 400, 401, 403, 404, 405, 406]),
      );
      expect(kept().filter(({ key }) => !key.startsWith('/assets/'))).toEqual([]);
    });

    it('keeps no feed that a ticket opens', async () => {
      const url = `${nginx.url}${EVENTS}/tail?after_sequence=0&ticket=`;
      const ticket = await ticketFor(service.url, alice);
      const feed = await TailClient.open(`${url}${ticket}`, {});
      await until(() => actionsIn(feed).includes('secret.of.alice'));
      const again = await ask(`${EVENTS}/tail?after_sequence=0&ticket=${ticket}`);
      expect([again.status, cacheStatusOf(again)]).toEqual([401, 'MISS']);
      const other = await TailClient.open(`${url}${await ticketFor(service.url, bob)}`, {});
      await service.post(EVENTS, bob, eventWith({ organizationId: 'org-bob', action: 'of.bob' }));
      await until(() => actionsIn(other).includes('of.bob'));
      expect(actionsIn(other)).not.toContain('secret.of.alice');
      await feed.close();
      await other.close();
      const afterwards = await ask(`${EVENTS}/tail?after_sequence=0&ticket=${ticket}`);
      expect(cacheStatusOf(afterwards)).toBe('MISS');
      expect(kept().filter(({ key }) => !key.startsWith('/assets/'))).toEqual([]);
    });
  },
);
