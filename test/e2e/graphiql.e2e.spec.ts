import { auditServer } from 'graphql-http';
import agent from 'supertest';
import { TestService, tokenOf } from '../support/test-service';

/** As browsers ask for a page. */
const OF_BROWSERS =
  'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8';
const TYPES: Record<string, string> = { js: 'text/javascript', css: 'text/css' };

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
    const paths = [...text.matchAll(/(?:src|href)="(?!data:)([^"]+)"/g)].map(([, path]) => path);
    expect(paths).toHaveLength(6);
    for (const path of paths) {
      const { href } = new URL(path ?? '', `${service.url}/graphql`);
      const asset = await agent(href).get('');
      const type = `${TYPES[href.split('.').at(-1) ?? '']}; charset=utf-8`;
      expect([path, asset.status, asset.headers['content-type']]).toEqual([path, 200, type]);
      expect(asset.text.length).toBeGreaterThan(1000);
      const { etag, 'cache-control': caching } = asset.headers as Record<string, string>;
      expect(caching).toBe('no-cache');
      const again = await agent(href)
        .get('')
        .set('If-None-Match', etag ?? '');
      expect([path, again.status]).toEqual([path, 304]);
    }
    expect((await service.get('/graphiql/..%2fpackage.json')).status).toBe(404);
    expect((await service.get('/graphiql/page.html')).status).toBe(404);
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
      expect((await service.get('/graphiql/page.js')).status).toBe(404);
    } finally {
      await service.stop();
    }
  });
});
