import { type DocumentNode, parse } from 'graphql';
import { auditServer } from 'graphql-http';
import { runInNewContext } from 'node:vm';
import agent from 'supertest';
import { EVENTS, TestService, tokenOf } from '../support/test-service';

/** As browsers ask for a page. */
const OF_BROWSERS =
  'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8';
const TYPES: Record<string, string> = { js: 'text/javascript', css: 'text/css' };

/** What the page gives to GraphiQL. */
interface PageProperties {
  defaultTabs: { query: string; headers: string }[];
  fetcher: (
    operation: { query: string; operationName?: string | undefined },
    options: { headers: unknown; documentAST: DocumentNode },
  ) => Promise<unknown>;
}

/** Paths of what a page loads, from the root of the service. */
function assetsIn(html: string): string[] {
  const names = [...html.matchAll(/(?:src|href)="(?!data:)([^"]+)"/g)].map(([, path]) => path);
  return names.map((path) => new URL(path ?? '', 'http://service/page').pathname);
}

/** The asset of a page that was added under this name. */
async function assetOf(service: TestService, html: string, name: string) {
  const [before, after] = name.split('.');
  const path = assetsIn(html).find((each) => each.match(`/${before}\\.\\w+\\.${after}$`));
  return service.get(path ?? `/no-asset-${name}`);
}

/** Runs the script of the page as a browser does, up to GraphiQL. */
async function openPage(service: TestService): Promise<PageProperties> {
  const html = await service.get('/graphql', undefined, { accept: OF_BROWSERS });
  const { text } = await assetOf(service, html.text, 'page.js');
  return new Promise((resolve) => {
    const element = { style: {} };
    runInNewContext(text, {
      ...{ URL, JSON, fetch, setTimeout, clearTimeout, GraphiQL: {} },
      location: new URL(`${service.url}/graphql`),
      document: { body: element, getElementById: () => element },
      React: { createElement: (_component: unknown, properties: PageProperties) => properties },
      ReactDOM: { createRoot: () => ({ render: resolve }) },
    });
  });
}

const bodyless = ({ status, headers, json }: Awaited<ReturnType<TestService['get']>>) => ({
  status,
  type: headers.get('content-type'),
  code: (json as { errors: { extensions: { code: string } }[] }).errors[0]?.extensions.code,
});

describe('GraphiQL in development', () => {
  let service: TestService;

  beforeAll(async () => {
    service = await TestService.start({ NODE_ENV: 'development', LOG_LEVEL: 'silent' });
  });
  afterAll(() => service.stop());

  const page = (headers: Record<string, string> = {}) =>
    service.get('/graphql', undefined, { accept: OF_BROWSERS, ...headers });

  it('is a page for browsers, without a token, that runs no script written into it', async () => {
    const { status, headers, text } = await page();
    expect(status).toBe(200);
    expect(headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(headers.get('vary')).toContain('Accept');
    expect(headers.get('content-security-policy')).toContain("script-src 'self';");
    expect(text).not.toMatch(/<script(?![^>]* src=)|<style|\son\w+=|https?:/);
  });

  it('has everything it loads on this service, with its type and an ETag', async () => {
    const { text } = await page();
    const paths = assetsIn(text);
    expect(paths).toHaveLength(6);
    for (const path of paths) {
      const asset = await agent(service.url).get(path);
      const type = `${TYPES[path.split('.').at(-1) ?? '']}; charset=utf-8`;
      expect([path, asset.status, asset.headers['content-type']]).toEqual([path, 200, type]);
      expect(asset.text.length).toBeGreaterThan(1000);
      const { etag, 'cache-control': caching } = asset.headers as Record<string, string>;
      expect(caching).toBe('public, max-age=31536000, immutable');
      const again = await agent(service.url)
        .get(path)
        .set('If-None-Match', etag ?? '');
      expect([path, again.status]).toEqual([path, 304]);
    }
    expect((await service.get('/assets/..%2fpackage.json')).status).toBe(404);
    expect((await service.get('/assets/page.js')).status).toBe(404);
  });

  it('has documents of one operation each, and a token: the first click runs it', async () => {
    const { defaultTabs, fetcher } = await openPage(service);
    const run = ({ query, headers }: (typeof defaultTabs)[number]) => {
      const documentAST = parse(query);
      expect(documentAST.definitions).toHaveLength(1);
      return fetcher({ query }, { headers: JSON.parse(headers) as unknown, documentAST });
    };
    const [newest, recorded, ...others] = defaultTabs;
    if (!newest || !recorded || others.length > 0) throw new Error('There must be two tabs.');
    expect(await run(newest)).toMatchObject({ data: { optimizedAuditEvents: { totalCount: 0 } } });
    expect(parse(recorded.query).definitions).toMatchObject([{ operation: 'subscription' }]);
  });

  it('uses the token that its reader has written instead', async () => {
    const { defaultTabs, fetcher } = await openPage(service);
    const query = defaultTabs[0]?.query ?? '';
    const headers = { AUTHORIZATION: `Bearer ${await tokenOf({ scope: 'audit:write' })}` };
    const answer = await fetcher({ query }, { headers, documentAST: parse(query) });
    expect(answer).toMatchObject({ errors: [{ extensions: { code: 'FORBIDDEN' } }] });
  });

  it.each([
    ['another origin', { Origin: 'https://evil.example' }],
    ['another site', { 'Sec-Fetch-Site': 'cross-site' }],
    ['another name of this machine', { Host: 'evil.example' }],
    ['behind a proxy', { 'X-Forwarded-For': '192.0.2.1' }],
  ])('gives no token to a page of %s', async (_case, headers) => {
    const own = await agent(service.url).get('/development-token');
    expect([own.status, Object.keys(own.body as object)]).toEqual([200, ['token']]);
    const other = await agent(service.url).get('/development-token').set(headers);
    expect([other.status, (other.body as { code: string }).code]).toEqual([404, 'NOT_FOUND']);
  });

  it('is not the only page with a token: the API reference has one too', async () => {
    const page = await service.get('/docs');
    const script = await assetOf(service, page.text, 'development-token.js');
    expect(script.headers.get('content-type')).toContain('text/javascript');
    const preauthorizeApiKey = jest.fn();
    let loaded = (): Promise<void> => Promise.resolve();
    const addEventListener = (_type: string, listener: typeof loaded) => (loaded = listener);
    runInNewContext(script.text, {
      addEventListener,
      URL,
      document: { currentScript: { src: `${service.url}/assets/any.js` } },
      fetch,
      ui: { preauthorizeApiKey },
    });
    await loaded();
    const [scheme, token] = preauthorizeApiKey.mock.calls[0] as string[];
    const { json } = await service.get('/docs-json');
    expect(json.components.securitySchemes).toMatchObject({
      [String(scheme)]: { scheme: 'bearer' },
    });
    expect((await service.get(EVENTS, token)).status).toBe(200);
  });

  it.each([
    '*/*',
    'application/json',
    'application/graphql-response+json, application/json;q=0.9',
    'application/json, text/html;q=0.9',
    'application/json, text/html',
  ])('is not for programs that accept %s', async (accept) => {
    const { status, headers } = await service.get('/graphql', undefined, { accept });
    expect(status).toBe(401);
    expect(headers.get('content-type')).toContain('json');
    const query = encodeURIComponent('{ __typename }');
    const answer = await service.get(`/graphql?query=${query}`, await tokenOf(), { accept });
    expect(answer.json).toEqual({ data: { __typename: 'Query' } });
  });

  it('leaves POST to GraphQL, whatever it accepts', async () => {
    const answer = await service.post(
      '/graphql',
      await tokenOf(),
      { query: '{ __schema { queryType { name } } }' },
      { accept: OF_BROWSERS },
    );
    expect(answer.json).toEqual({ data: { __schema: { queryType: { name: 'Query' } } } });
  });

  it('leaves the endpoint as it is for the audits of graphql-http', async () => {
    const token = await tokenOf();
    const results = await auditServer({
      url: `${service.url}/graphql`,
      fetchFn: (url: string, init: RequestInit = {}) => {
        const headers = new Headers(init.headers);
        headers.set('authorization', `Bearer ${token}`);
        return fetch(url, { ...init, headers });
      },
    });
    expect(results.filter(({ status }) => status !== 'ok')).toEqual([]);
  });
});

describe.each(['staging', 'production', 'test'])('in the profile %s', (profile) => {
  it('there is no GraphiQL: browsers are answered as programs are', async () => {
    const service = await TestService.start({ NODE_ENV: profile, LOG_LEVEL: 'silent' });
    try {
      const asked = await service.get('/graphql', undefined, { accept: OF_BROWSERS });
      const plain = await service.get('/graphql', undefined, { accept: 'application/json' });
      expect(bodyless(asked)).toEqual(bodyless(plain));
      expect(bodyless(asked)).toMatchObject({ status: 401, code: 'UNAUTHENTICATED' });
      expect((await service.get('/development-token')).status).toBe(404);
      expect((await service.get('/docs')).text).not.toContain('development-token');
    } finally {
      await service.stop();
    }
  });
});
