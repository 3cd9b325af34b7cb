import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { until } from '../integration/until.fixture';
import { findChromium, launchChromium, watchPage } from '../support/browser';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

const ROOT = join(__dirname, '..', '..');
const TIMEOUT_MS = 30_000;

/** The code of the README for pages of other origins. */
function sampleOfReadme(): string {
  const blocks = readFileSync(join(ROOT, 'README.md'), 'utf8').matchAll(/```js\n(.*?)```/gs);
  const sample = [...blocks]
    .map(([, code = '']) => code)
    .find((code) => code.includes('EventSource'));
  if (sample === undefined) throw new Error('README.md has no sample with EventSource');
  return sample;
}

/** A page without anything, at an origin of its own. */
async function servePage(): Promise<{ server: Server; origin: string }> {
  const server = createServer((_request, response) => {
    response.setHeader('Content-Type', 'text/html');
    response.end('<!doctype html><title>Console</title><link rel="icon" href="data:,">');
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return { server, origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

const executable = findChromium();

(executable === undefined ? describe.skip : describe)('in Chromium', () => {
  let browser: Browser;
  let service: TestService;
  let allowed: Awaited<ReturnType<typeof servePage>>;
  let other: Awaited<ReturnType<typeof servePage>>;
  let page: Page;

  beforeAll(async () => {
    [allowed, other] = [await servePage(), await servePage()];
    service = await TestService.start({
      NODE_ENV: 'development',
      LOG_LEVEL: 'silent',
      CORS_ORIGINS: allowed.origin,
    });
    browser = await launchChromium(executable ?? '');
  });

  afterAll(async () => {
    await browser?.close();
    await service?.stop();
    for (const { server } of [allowed, other]) {
      server.closeAllConnections();
      server.close();
    }
    delete process.env.CORS_ORIGINS;
  });

  beforeEach(async () => {
    page = await browser.newPage();
    page.setDefaultTimeout(TIMEOUT_MS);
  });
  afterEach(() => page.close());

  const record = async (action: string) => {
    const { status } = await service.post(EVENTS, await tokenOf(), eventWith({ action }));
    expect(status).toBe(201);
  };

  describe('pages of the service', () => {
    it('GraphiQL executes a query under its policy, from this service alone', async () => {
      await record('seen.in.graphiql');
      const faults = watchPage(page, service.url);
      await page.goto(`${service.url}/graphql`);
      await page.locator('.graphiql-execute-button').click();
      await page.locator('.result-window', { hasText: 'seen.in.graphiql' }).waitFor();
      expect(faults).toEqual([]);
    });

    it('the API reference executes a request under its policy, from this service alone', async () => {
      await record('seen.in.docs');
      const faults = watchPage(page, service.url);
      for (const path of ['/docs', '/docs/']) {
        await page.goto(`${service.url}${path}`);
        const operation = page.locator('[id$="-listEvents"]');
        await operation.locator('.opblock-summary-control').click();
        await operation.locator('.try-out__btn').click();
        await operation.locator('.execute').click();
        const response = operation.locator('.live-responses-table .response');
        await response.locator('.response-col_status', { hasText: '200' }).waitFor();
        expect(await response.first().innerText()).toContain('seen.in.docs');
      }
      expect(faults).toEqual([]);
    });
  });

  describe('a page of an origin in CORS_ORIGINS', () => {
    /** Loads the sample of the README: `follow` and `newTicket`, and notes what the feed brings. */
    async function openConsole(token: string): Promise<void> {
      await page.goto(allowed.origin);
      await page.addScriptTag({
        content: `var api = ${JSON.stringify(service.url)}, token = ${JSON.stringify(token)};
          ${sampleOfReadme()}
          var seen = [];`,
      });
    }

    const seenActions = () => page.evaluate<string>('seen.map(({ action }) => action).join()');
    const untilSeen = (count: number) => page.waitForFunction(`seen.length >= ${count}`);

    it('reads a list and writes', async () => {
      const token = await tokenOf();
      await openConsole(token);
      const result = await page.evaluate(
        async ([url = '', bearer = '']) => {
          const headers = { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' };
          const event = { organizationId: 'org-1', action: 'from.a.page', status: 'success' };
          const body = JSON.stringify(event);
          const sent = { method: 'POST', headers: { ...headers, 'idempotency-key': 'page' }, body };
          const created = await fetch(url, sent);
          const list = await fetch(`${url}?limit=1`, { headers });
          const refused = await fetch(url);
          return {
            statuses: [created.status, list.status, refused.status],
            location: created.headers.get('location'),
            etag: list.headers.get('etag'),
            actions: ((await list.json()) as { data: { action: string }[] }).data.map(
              ({ action }) => action,
            ),
            code: ((await refused.json()) as { code: string }).code,
          };
        },
        [`${service.url}${EVENTS}`, token],
      );
      expect(result).toEqual({
        statuses: [201, 200, 401],
        location: expect.stringContaining(EVENTS),
        etag: expect.any(String),
        actions: ['from.a.page'],
        code: 'UNAUTHENTICATED',
      });
    });

    it('follows a feed with tickets, and resumes after a cut without a gap', async () => {
      const organization = 'org-of-a-page';
      const token = await tokenOf({ organizations: [organization] });
      const write = (action: string) => {
        const event = eventWith({ organizationId: organization, action });
        return service.post(EVENTS, token, event, { 'idempotency-key': action });
      };
      await openConsole(token);
      const opened = page.waitForResponse((response) => response.url().includes('/tail'));
      await page.evaluate('void follow((event) => seen.push(event))');
      expect((await opened).status()).toBe(200);
      await write('first');
      await untilSeen(1);
      const again = page.waitForResponse((response) => response.url().includes('/tail'));
      service.httpServer.server.closeAllConnections();
      // The connections of this process are cut as well.
      await until(() =>
        write('while.away').then(
          ({ status }) => status === 201,
          () => false,
        ),
      );
      expect((await again).status()).toBe(200);
      await untilSeen(2);
      await write('last');
      await untilSeen(3);
      expect(await seenActions()).toBe('first,while.away,last');
    });

    it('follows a subscription of GraphQL over WebSocket with a ticket', async () => {
      const organization = 'org-of-a-socket';
      const token = await tokenOf({ organizations: [organization] });
      await openConsole(token);
      const bundle = join(ROOT, 'node_modules', 'graphql-ws', 'umd', 'graphql-ws.min.js');
      await page.addScriptTag({ path: bundle });
      await page.evaluate(`
        var connected = false;
        graphqlWs.createClient({
          url: api.replace('http', 'ws') + '/graphql',
          connectionParams: async () => ({ ticket: await newTicket() }),
          on: { connected: () => (connected = true) },
        }).subscribe(
          { query: 'subscription { auditEventRecorded(afterSequence: "0") { action } }' },
          { next: ({ data }) => seen.push(data.auditEventRecorded), error() {}, complete() {} },
        );
      `);
      await page.waitForFunction('connected');
      await service.post(EVENTS, token, eventWith({ organizationId: organization, action: 'a' }));
      await untilSeen(1);
      expect(await seenActions()).toBe('a');
    });
  });

  it('a page of another origin reads nothing, opens no feed and writes nothing', async () => {
    const token = await tokenOf({ organizations: ['org-kept'] });
    await page.goto(other.origin);
    const attempts = await page.evaluate(
      async ([url = '', bearer = '']) => {
        const outcome = (response: Promise<Response>) =>
          response.then(
            () => 'read',
            (error: Error) => error.name,
          );
        const authorization = `Bearer ${bearer}`;
        const event = { organizationId: 'org-kept', action: 'x', status: 'success' };
        const source = new EventSource(`${url}/tail?ticket=x`);
        const refused = new Promise((resolve) => {
          source.onerror = () => resolve(source.readyState);
        });
        return [
          await outcome(fetch(url, { headers: { authorization } })),
          await outcome(
            fetch(url, {
              method: 'POST',
              headers: { authorization, 'content-type': 'application/json' },
              body: JSON.stringify(event),
            }),
          ),
          await outcome(fetch(`${new URL(url).origin}/health`)),
          await refused,
        ];
      },
      [`${service.url}${EVENTS}`, token],
    );
    expect(attempts).toEqual(['TypeError', 'TypeError', 'TypeError', 2]);
    expect((await service.get(EVENTS, token)).json.data).toEqual([]);
  });
});
