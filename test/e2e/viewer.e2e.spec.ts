import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Browser, BrowserContextOptions, Locator, Page } from 'playwright-core';
import { until } from '../integration/until.fixture';
import { findChromium, launchChromium, watchPage } from '../support/browser';
import { NAUGHTY_STRINGS } from '../support/naughty-strings';
import { serveStrictPage, watchPolicy } from '../support/strict-page';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';
import { buildWeb, bundleReactPage, CONSOLE_BUNDLE, VIEWER_BUNDLE } from '../support/web-build';

/** As much of the DOM as functions of this file use, which run in the browser. */
interface PageNode {
  id: string;
  textContent: string | null;
  scrollTop: number;
  scrollWidth: number;
  clientHeight: number;
  clientWidth: number;
  shadowRoot: PageNode | null;
  activeElement: PageNode | null;
  documentElement: PageNode;
  getAttribute: (name: string) => string | null;
  setAttribute: (name: string, value: string) => void;
  querySelector: (selector: string) => PageNode | null;
  querySelectorAll: (selector: string) => PageNode[];
}
declare const document: PageNode;
declare const sessionStorage: { setItem: (name: string, text: string) => void };
declare function requestAnimationFrame(callback: (time: unknown) => void): void;

/** Characters that the viewer names. */
// eslint-disable-next-line no-control-regex -- these are named
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/gu; // prettier-ignore

/** The limit of the element with its styles. */
const MAX_GZIPPED_BYTES = 60_000;
const TIMEOUT_MS = 30_000;
const SCOPE = 'audit:read audit:write audit:export';
const AXE = join(__dirname, '..', '..', 'node_modules', 'axe-core', 'axe.min.js');

/** Renders the component; its properties come from the spec. */
const REACT_PAGE = `
  globalThis.seen = [];
  const onEventOpen = ({ id }) => seen.push(id);
  const onTokenNeeded = () => seen.push('token needed');
  const root = createRoot(document.querySelector('#root'));
  globalThis.render = ({ token, renewed, ...properties }) => {
    const renewToken = renewed && (async () => renewed);
    root.render(createElement(AuditLog, { ...properties, token, renewToken, onEventOpen, onTokenNeeded }));
  };
`;

const executable = findChromium();
const inBrowser = executable === undefined ? describe.skip : describe;

beforeAll(() => buildWeb());

describe('the bundle', () => {
  it.each([VIEWER_BUNDLE, CONSOLE_BUNDLE])('%s is small', (file) => {
    expect(gzipSync(readFileSync(file), { level: 9 }).length).toBeLessThan(MAX_GZIPPED_BYTES);
  });

  it('makes no markup of a text, and needs no eval', () => {
    const text = readFileSync(VIEWER_BUNDLE, 'utf8');
    expect(text).not.toMatch(
      /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function/,
    );
  });
});

inBrowser('the viewer in Chromium', () => {
  let browser: Browser;
  let service: TestService;
  let host: Awaited<ReturnType<typeof serveStrictPage>>;
  let reactHost: Awaited<ReturnType<typeof serveStrictPage>>;
  let page: Page;
  let violations: string[];
  let organizations = 0;
  let organization: string;

  beforeAll(async () => {
    host = await serveStrictPage(
      { '/viewer.mjs': () => readFileSync(VIEWER_BUNDLE, 'utf8') },
      '<script type="module" src="/viewer.mjs"></script><audit-log-viewer></audit-log-viewer>',
    );
    const script = bundleReactPage(REACT_PAGE);
    reactHost = await serveStrictPage(
      { '/page.mjs': () => script },
      '<div id="root"></div><script type="module" src="/page.mjs"></script>',
    );
    service = await TestService.start({
      NODE_ENV: 'development',
      LOG_LEVEL: 'silent',
      CONSOLE_ENABLED: 'true',
      CORS_ORIGINS: `${host.origin},${reactHost.origin}`,
      TRUSTED_PROXIES: '127.0.0.1',
    });
    for (const one of [host, reactHost]) one.serviceUrl(service.url);
    browser = await launchChromium(executable ?? '');
  });

  afterAll(async () => {
    await browser?.close();
    await service?.stop();
    for (const one of [host, reactHost]) {
      one?.server.closeAllConnections();
      one?.server.close();
    }
    for (const name of ['CORS_ORIGINS', 'TRUSTED_PROXIES', 'CONSOLE_ENABLED']) {
      delete process.env[name];
    }
  });

  /** A new page, in a browser that knows nothing. */
  async function newPage(options: BrowserContextOptions = {}): Promise<Page> {
    const context = await browser.newContext({
      locale: 'en-GB',
      timezoneId: 'Europe/Zurich',
      viewport: { width: 1280, height: 800 },
      ...options,
    });
    page = await context.newPage();
    page.setDefaultTimeout(TIMEOUT_MS);
    // A choice of the file would wait for a person.
    await page.addInitScript('delete globalThis.showSaveFilePicker');
    violations = await watchPolicy(page);
    return page;
  }

  beforeEach(() => {
    organizations += 1;
    organization = `org-${organizations}`;
  });

  afterEach(async () => {
    expect(violations).toEqual([]);
    await page.context().close();
  });

  const token = (claims: Record<string, unknown> = {}) =>
    tokenOf({ organizations: [organization], scope: SCOPE, ...claims });

  async function record(...events: Record<string, unknown>[]): Promise<void> {
    const all = events.map((event) => eventWith({ organizationId: organization, ...event }));
    const { status } = await service.post(`${EVENTS}/bulk`, await token(), { events: all });
    expect(status).toBe(201);
  }

  /** The console, signed in with `bearer`. */
  async function openConsole(bearer: string, query = ''): Promise<void> {
    await page.addInitScript((text) => sessionStorage.setItem('audit-console-token', text), bearer);
    await page.goto(`${service.url}/${query}`);
  }

  const rows = () => page.locator('.rows .row:not([hidden]):not(.pending)');
  const actions = () => page.locator('.rows .row:not([hidden]) .cell.action').allInnerTexts();
  const untilActions = (...expected: string[]) =>
    until(async () => (await sortedActions()).join() === expected.join());
  /** Rows are used again: on screen they are in the order of their numbers. */
  async function sortedActions(): Promise<string[]> {
    return page.locator('.rows .row:not([hidden])').evaluateAll((found: PageNode[]) =>
      found
        .map((row) => [Number(row.getAttribute('aria-rowindex')), row] as const)
        .sort(([one], [other]) => one - other)
        .map(([, row]) => row.querySelector('.action')?.textContent ?? ''),
    );
  }
  const search = async (text: string) => {
    await page.locator('#query').fill(text);
    await page.locator('#query').press('Enter');
  };
  const detail = () => page.locator('.detail');
  const state = () => page.locator('.state');

  describe('the console', () => {
    it('opens signed in in development, under its policy, with what this service serves alone', async () => {
      organization = 'org-1';
      await record({ action: 'seen.in.console' });
      await newPage();
      const faults = watchPage(page, service.url);
      for (const path of ['/', '/console']) {
        await page.goto(`${service.url}${path}`);
        await rows().filter({ hasText: 'seen.in.console' }).first().waitFor();
      }
      expect(await page.locator('header').innerText()).toContain('developer');
      expect(faults).toEqual([]);
    });

    it('asks for a token, and takes none that is no token', async () => {
      await newPage();
      await page.route('**/development-token', (route) => route.fulfill({ status: 404 }));
      await record({ action: 'behind.sign.in' });
      await page.goto(service.url);
      await page.getByLabel('Access token').fill('nonsense');
      await page.getByRole('button', { name: 'Sign in' }).click();
      await page.getByText('This is not a JWT').waitFor();
      await page.getByLabel('Access token').fill(`Bearer ${await token()}`);
      await page.getByRole('button', { name: 'Sign in' }).click();
      await rows().filter({ hasText: 'behind.sign.in' }).waitFor();
      await page.reload();
      await rows().filter({ hasText: 'behind.sign.in' }).waitFor();
      await page.getByRole('button', { name: 'Sign out' }).click();
      await page.getByLabel('Access token').waitFor();
      expect(await page.evaluate('sessionStorage.length')).toBe(0);
    });

    it('asks again when the service refuses the token, in whose place no other comes', async () => {
      await newPage();
      await openConsole(await token({ exp: 1 }));
      await page.getByText('The token has expired').waitFor();
      expect(await page.getByLabel('Access token').isVisible()).toBe(true);
    });

    it('is kept by browsers alone, its assets by every cache, behind the prefix of a proxy', async () => {
      await newPage();
      const headers = { accept: 'text/html', 'x-forwarded-prefix': '/audit' };
      const { status, headers: own, text } = await service.get('/console', undefined, headers);
      expect([status, own.get('cache-control')]).toEqual([200, 'private, no-cache']);
      expect(own.get('content-security-policy')).not.toContain('unsafe');
      const [, asset = ''] = /src="\/audit\/(assets\/console\.\w+\.js)"/.exec(text) ?? [];
      const script = await service.get(`/${asset}`);
      expect(script.headers.get('cache-control')).toBe('public, max-age=31536000, immutable');
    });
  });

  describe('searching', () => {
    it('completes qualifiers and values with the keyboard, and finds', async () => {
      await record(
        { action: 'invoice.approve', status: 'failure', principalId: 'alice' },
        { action: 'invoice.create', principalId: 'alice' },
        { action: 'user.login', principalId: 'bob' },
      );
      await newPage();
      await openConsole(await token());
      await rows().nth(2).waitFor();
      const query = page.locator('#query');
      await query.pressSequentially('sta');
      await page.getByRole('option', { name: 'status:' }).waitFor();
      await query.press('ArrowDown');
      expect(await query.getAttribute('aria-activedescendant')).toBe('suggestion-0');
      await query.press('Enter');
      await page.getByRole('option', { name: 'failure' }).waitFor();
      await query.pressSequentially('fail');
      await query.press('ArrowDown');
      await query.press('Enter');
      expect(await query.inputValue()).toBe('status:failure ');
      await query.pressSequentially('actor:');
      await page.getByRole('option', { name: 'alice' }).click();
      expect(await query.inputValue()).toBe('status:failure actor:alice ');
      await query.press('Enter');
      await untilActions('invoice.approve');
      expect(new URL(page.url()).searchParams.get('q')).toBe('status:failure actor:alice');
      await page.getByRole('button', { name: 'Remove status:failure' }).click();
      await until(async () => (await actions()).length === 2);
      await page.goBack();
      await untilActions('invoice.approve');
      expect(await query.inputValue()).toBe('status:failure actor:alice');
    });

    it('shows the fault that the service finds, at its place', async () => {
      await record({});
      await newPage();
      await openConsole(await token());
      await rows().first().waitFor();
      await search('👍🏽👍🏽 status:broken "open');
      await page.getByRole('alert').getByText('at character 6:').waitFor();
      expect(await page.locator('mark').innerText()).toBe('status:broken');
      expect(await page.locator('#query').getAttribute('aria-invalid')).toBe('true');
      await search('');
      await rows().first().waitFor();
      expect(await page.locator('mark').count()).toBe(0);
    });

    it('filters by the menus', async () => {
      const old = new Date(Date.now() - 3 * 86_400_000).toISOString();
      await record(
        { action: 'old.failed', status: 'failure', timestamp: old },
        { action: 'new.failed', status: 'failure', principalId: 'a "b", c*' },
        { action: 'new.done' },
      );
      await newPage();
      await openConsole(await token());
      await rows().nth(2).waitFor();
      await page.getByRole('button', { name: 'Any time' }).click();
      await page.getByRole('button', { name: 'Last 24 hours' }).click();
      await until(async () => (await actions()).length === 2);
      await page.getByRole('button', { name: 'Status' }).click();
      await page.getByLabel('Failure').check();
      await untilActions('new.failed');
      await page.keyboard.press('Escape');
      await page.getByRole('button', { name: 'Principal' }).click();
      await page.getByRole('group', { name: 'Principal' }).getByText('a "b", c*').click();
      await until(() => Promise.resolve(page.url().includes('actor')));
      await untilActions('new.failed');
      await page.getByRole('button', { name: 'Principal' }).click();
      await page.getByLabel('Value of Principal').fill('other*');
      await page.getByRole('button', { name: 'Exclude' }).click();
      await untilActions('new.failed');
      expect(await page.locator('#query').inputValue()).toBe(
        'status:failure actor:"a \\"b\\", c*" -actor:other*',
      );
    });

    it('shows times in the zone that one chooses, and keeps it in the URL', async () => {
      await record({ timestamp: '2026-07-01T12:00:00.123456789Z' });
      await newPage();
      await openConsole(await token());
      await rows().filter({ hasText: '14:00:00' }).waitFor();
      await page.getByRole('button', { name: 'Europe/Zurich' }).click();
      await page.getByRole('listbox', { name: 'Time zone' }).selectOption('Asia/Tokyo');
      await page.getByRole('listbox', { name: 'Time zone' }).press('Enter');
      await rows().filter({ hasText: '21:00:00' }).waitFor();
      expect(new URL(page.url()).searchParams.get('tz')).toBe('Asia/Tokyo');
      await page.reload();
      await rows().filter({ hasText: '21:00:00' }).click();
      await detail().getByText('2026-07-01T12:00:00.123456789Z').first().waitFor();
    });
  });

  describe('the chart of days', () => {
    const at = (day: string, time: string) => ({ timestamp: `${day}T${time}Z` });
    const QUERY = '?from=2026-06-30T22:00:00.000Z&to=2026-07-10T22:00:00.000Z';
    const bar = (name: string) => page.getByRole('option', { name });

    async function openDays(query = QUERY): Promise<void> {
      await record(
        { action: 'first', ...at('2026-07-01', '21:59:59') },
        // It is the next day in Zurich.
        { action: 'second', ...at('2026-07-01', '22:00:00') },
        { action: 'third', ...at('2026-07-02', '21:00:00') },
        { action: 'fourth', ...at('2026-07-09', '12:00:00') },
      );
      await newPage();
      await openConsole(await token(), query);
      await bar('Jul 2026: 1').first().waitFor();
    }

    it('has each day of the search in the zone of the viewer, and days are chosen by dragging', async () => {
      await openDays();
      const labels = await page
        .getByRole('listbox', { name: 'Events per day' })
        .getByRole('option')
        .evaluateAll((found: PageNode[]) => found.map((one) => one.getAttribute('aria-label')));
      expect(labels.map((label) => label?.replace(/^0?(\d+).*: (\d+)$/, '$1:$2'))).toEqual([
        '1:1',
        '2:2',
        '3:0',
        '4:0',
        '5:0',
        '6:0',
        '7:0',
        '8:0',
        '9:1',
        '10:0',
      ]);
      await page.locator('.chart-said', { hasText: 'Events: 4' }).waitFor();
      const [from, to] = [
        await page.locator('#day-1').boundingBox(),
        await page.locator('#day-4').boundingBox(),
      ];
      if (!from || !to) throw new Error('there are no bars');
      await page.mouse.move(from.x + 3, from.y + 20);
      await page.mouse.down();
      await page.mouse.move(to.x + 3, to.y + 20, { steps: 3 });
      await page.mouse.up();
      await untilActions('third', 'second');
      const { searchParams } = new URL(page.url());
      expect([searchParams.get('from'), searchParams.get('to')]).toEqual([
        '2026-07-01T22:00:00.000Z',
        '2026-07-05T22:00:00.000Z',
      ]);
      await page.goBack();
      await untilActions('fourth', 'third', 'second', 'first');
    });

    it('is used with the keyboard', async () => {
      await openDays();
      const days = page.getByRole('listbox', { name: 'Events per day' });
      await days.focus();
      await days.press('Home');
      await days.press('Shift+ArrowRight');
      expect(await days.getAttribute('aria-activedescendant')).toBe('day-1');
      await days.press('Enter');
      await untilActions('third', 'second', 'first');
    });

    it('is not there where the service does not count, and the list is', async () => {
      await record({ action: 'listed' });
      await newPage();
      await page.route('**/events/counts?*', (route) => route.fulfill({ status: 404, body: '{}' }));
      const answered = page.waitForResponse('**/events/counts?*');
      await openConsole(await token());
      await untilActions('listed');
      await answered;
      expect(await page.locator('.chart').isVisible()).toBe(false);
    });
  });

  describe('an event', () => {
    const BODY = `{"events":[{"organizationId":"ORG","action":"invoice.update","status":"success","principalId":"u-1",
      "principalName":"Ada","correlationId":"req-7","targets":[{"type":"Invoice","id":"inv-1","name":"One"},{"type":"Ward","id":"w-2"}],
      "sessionContext":{"ipAddress":"198.51.100.7","sessionId":"s-1"},
      "changes":[{"path":"/amount","old":9223372036854775806,"new":9223372036854775807},{"path":"/note","new":1E400}],
      "metadata":{"big":9223372036854775807,"price":1.10,"tiny":1E-400}}]}`;

    async function recordExact(): Promise<void> {
      const body = BODY.replace('ORG', organization);
      const options = {
        token: await token(),
        body,
        headers: { 'content-type': 'application/json' },
      };
      expect((await service.request('POST', `${EVENTS}/bulk`, options)).status).toBe(201);
    }

    it('has every digit, its changes, targets and session; a link opens it in another browser', async () => {
      await recordExact();
      await newPage();
      const bearer = await token();
      await openConsole(bearer);
      await rows().first().click();
      const changes = detail().locator('.changes tbody tr');
      expect(await changes.allInnerTexts()).toEqual([
        '/amount\t9223372036854775806\t9223372036854775807',
        '/note\tnot there\t1E400',
      ]);
      expect(await changes.first().locator('del').innerText()).toBe('6');
      expect(await changes.first().locator('ins').innerText()).toBe('7');
      const text = await detail().innerText();
      for (const part of ['9223372036854775807,', '1.10', '1E-400', 'w-2', '198.51.100.7', 'Ada']) {
        expect(text).toContain(part);
      }
      await detail().getByText('JSON, every digit').click();
      const json = '"metadata":{"big":9223372036854775807,"price":1.10,"tiny":1E-400}';
      await until(async () => {
        const shown = await detail().locator('details').last().innerText();
        return shown.replace(/\s/g, '').includes(json);
      });
      const link = page.url();
      await page.context().close();
      await newPage();
      await openConsole(bearer, link.slice(link.indexOf('?')));
      await detail().getByText('req-7').first().waitFor();
    });

    it('leads to those that are like it', async () => {
      await recordExact();
      await record({ action: 'same.request', correlationId: 'req-7' }, { action: 'other' });
      await newPage();
      await openConsole(await token());
      await rows().filter({ hasText: 'invoice.update' }).click();
      await page.getByRole('button', { name: 'Same correlation' }).click();
      await until(async () => (await actions()).length === 2);
      expect(await page.locator('#query').inputValue()).toBe('correlation:req-7');
      expect(await detail().isVisible()).toBe(false);
    });

    it('is not shown to a token that may not read it', async () => {
      await recordExact();
      const { json } = await service.get(EVENTS, await token());
      const { id } = json.data[0] as { id: string };
      await newPage();
      await openConsole(await token({ organizations: ['org-elsewhere'] }), `?event=${id}`);
      await page.getByText('This event does not exist').waitFor();
    });
  });

  describe('a long list', () => {
    const LENGTH = 2500;

    async function recordMany(): Promise<void> {
      const start = Date.parse('2026-10-01T00:00:00Z');
      const all = Array.from({ length: LENGTH }, (_, index) => ({
        action: `event.${index}`,
        timestamp: new Date(start - index * 1000).toISOString(),
      }));
      await record(...all);
    }

    it('is scrolled to its end without a gap, a repetition or a jump, with few rows in the page', async () => {
      await recordMany();
      await newPage();
      await openConsole(await token());
      await rows().first().waitFor();
      const seen = await page.evaluate(async () => {
        const root = document.querySelector('audit-log-viewer')?.shadowRoot;
        const timeline = root?.querySelector('.timeline');
        if (!root || !timeline) throw new Error('there is no list');
        const found: Record<string, string> = {};
        let most = 0;
        for (let still = 0; still < 100; still += 1) {
          const before = timeline.scrollTop;
          for (const row of root.querySelectorAll('.rows .row:not([hidden]):not(.pending)')) {
            const index = Number(row.getAttribute('aria-rowindex')) - 2;
            const action = row.querySelector('.action')?.textContent ?? '';
            if (found[index] !== undefined && found[index] !== action) throw new Error('moved');
            found[index] = action;
          }
          most = Math.max(most, root.querySelectorAll('.rows .row').length);
          timeline.scrollTop += 400;
          await new Promise((resolve) => requestAnimationFrame(resolve));
          if (timeline.scrollTop !== before) still = 0;
          else await new Promise((resolve) => setTimeout(resolve, 20));
        }
        return { found, most, foot: root.querySelector('.foot')?.textContent };
      });
      expect(Object.keys(seen.found)).toHaveLength(LENGTH);
      for (const [index, action] of Object.entries(seen.found)) {
        expect(action).toBe(`event.${index}`);
      }
      expect(seen.most).toBeLessThan(100);
      expect(seen.foot).toContain('2,500');
      // Pages that have left memory come back at the same place.
      await page
        .locator('.timeline')
        .evaluate((timeline: PageNode) => (timeline.scrollTop = 40 * 300));
      await rows()
        .filter({ hasText: /\bevent\.305\b/ })
        .waitFor();
    });

    it('says when further events could not be loaded, and goes on', async () => {
      await recordMany();
      await newPage();
      await openConsole(await token());
      await rows().first().waitFor();
      await page.route('**/audit/events?*', (route) => route.abort());
      await page
        .locator('.timeline')
        .evaluate((timeline: PageNode) => (timeline.scrollTop = 1_000_000));
      const toEnd = () =>
        page
          .locator('.timeline')
          .evaluate((timeline: PageNode) => (timeline.scrollTop = 1_000_000));
      await until(async () => {
        await toEnd();
        return page.getByText('could not be loaded').isVisible();
      });
      await page.unroute('**/audit/events?*');
      await page.getByRole('button', { name: 'Try again' }).click();
      await until(async () => {
        await toEnd();
        return (await page.locator('.foot').innerText()).includes('2,500');
      });
    });
  });

  describe('live', () => {
    const follow = async () => {
      const opened = page.waitForResponse((response) => response.url().includes('/tail'));
      await page.getByRole('button', { name: 'Live' }).click();
      expect((await opened).status()).toBe(200);
    };

    it('shows events on top as they are recorded, and pauses while one reads', async () => {
      const old = Array.from({ length: 200 }, (_, index) => ({ action: `old.${index}` }));
      await record(...old);
      await newPage();
      await openConsole(await token());
      await rows().first().waitFor();
      await follow();
      await record({ action: 'first' });
      await until(async () => (await sortedActions())[0] === 'first');
      await page.locator('.timeline').evaluate((timeline: PageNode) => (timeline.scrollTop = 1000));
      await page.getByText('Paused while you read').waitFor();
      const before = await sortedActions();
      await record({ action: 'second' }, { action: 'third' });
      await page.getByRole('button', { name: 'Show 2 new' }).waitFor();
      expect(await sortedActions()).toEqual(before);
      await page.getByRole('button', { name: 'Show 2 new' }).click();
      await until(async () => (await sortedActions()).slice(0, 3).join() === 'third,second,first');
      await rows().filter({ hasText: 'second' }).click();
      await record({ action: 'fourth' });
      await page.getByRole('button', { name: 'Show 1 new' }).waitFor();
      await page.keyboard.press('Escape');
      await until(async () => (await sortedActions())[0] === 'fourth');
      expect(new URL(page.url()).searchParams.get('live')).toBe('1');
    });

    it('connects again without a gap, and takes what the filter takes', async () => {
      await record({ action: 'old' });
      await newPage();
      await openConsole(await token(), '?q=-action:noise');
      await rows().first().waitFor();
      await follow();
      await record({ action: 'first' });
      await until(async () => (await sortedActions())[0] === 'first');
      const again = page.waitForResponse((response) => response.url().includes('/tail'));
      service.httpServer.server.closeAllConnections();
      await until(() =>
        record({ action: 'noise' }, { action: 'while.away' }).then(
          () => true,
          () => false,
        ),
      );
      expect((await again).status()).toBe(200);
      await until(async () => (await sortedActions())[0] === 'while.away');
      expect(await sortedActions()).toEqual(['while.away', 'first', 'old']);
    });
  });

  describe('exporting', () => {
    it.each([
      ['csv', 'invoice.approve'],
      ['json', '"action":"invoice.approve"'],
      ['ndjson', '"action":"invoice.approve"'],
      ['cef', 'CEF:'],
    ])('saves the current search as %s', async (format, part) => {
      await record({ action: 'invoice.approve' }, { action: 'other' });
      await newPage();
      await openConsole(await token(), '?q=action:invoice.*');
      await rows().first().waitFor();
      await page.getByRole('button', { name: 'Export' }).click();
      const dialog = page.getByRole('dialog', { name: 'Export events' });
      await dialog.getByLabel('Format').selectOption(format);
      const downloading = page.waitForEvent('download');
      await dialog.getByRole('button', { name: 'Export' }).click();
      const download = await downloading;
      const text = readFileSync(await download.path(), 'utf8');
      expect(text).toContain(part);
      expect(text).not.toContain('other');
      await dialog.getByText('Complete:').waitFor();
      expect(download.suggestedFilename()).toContain('audit-events');
      await dialog.getByRole('button', { name: 'Close' }).click();
      expect(await dialog.isVisible()).toBe(false);
    });

    it('says what is missing, and saves nothing of an export that fails', async () => {
      await record({});
      await newPage();
      await openConsole(await token({ scope: 'audit:read' }));
      await rows().first().waitFor();
      let downloads = 0;
      page.on('download', () => (downloads += 1));
      const dialog = page.getByRole('dialog', { name: 'Export events' });
      const start = async () => {
        await page.getByRole('button', { name: 'Export' }).click();
        await dialog.getByRole('button', { name: 'Export' }).click();
      };
      await start();
      await dialog.getByText('audit:export').waitFor();
      await dialog.getByRole('button', { name: 'Close' }).click();
      await page.route('**/events/stream?*', (route) => route.abort());
      await start();
      await dialog.getByText('no file was saved').waitFor();
      expect(downloads).toBe(0);
    });
  });

  describe('what events hold', () => {
    const HOSTILE = [
      '<script>alert(1)</script>',
      '<img src=x onerror=alert(1)>',
      '"><svg/onload=alert(1)>',
      'javascript:alert(1)',
      '{{constructor.constructor("alert(1)")()}}',
      '\u202egnp.exe',
    ];

    it('is text in every field, whatever it is', async () => {
      const all = HOSTILE.map((text) => ({
        action: text,
        principalId: text,
        principalName: text,
        principalType: text.slice(0, 64),
        outcomeDescription: text,
        correlationId: text,
        targets: [{ type: text, id: text, name: text }],
        sessionContext: { sessionId: text, userAgent: text, geolocation: text },
        source: { service: text, host: text, version: text },
        schemaVersion: text.slice(0, 32),
        changes: [{ path: text, old: text, new: { [text]: text } }],
        metadata: { [text]: [text] },
      }));
      await record(...all);
      await newPage();
      await openConsole(await token());
      for (const [index, text] of HOSTILE.entries()) {
        const row = rows().nth(index);
        await row.click();
        await detail().locator('h2').waitFor();
        await detail().getByText('JSON, every digit').click();
        const shown = await detail().locator('h2').innerText();
        expect(HOSTILE.map((one) => one.replace('\u202e', 'U+202E'))).toContain(shown);
        expect(
          await page
            .locator('audit-log-viewer')
            .locator('script, img, iframe, object, svg[onload]')
            .count(),
        ).toBe(0);
        expect(text).not.toBe('');
      }
      await page.locator('#query').fill('actor:');
      await page.getByRole('option').first().waitFor();
      // Names of hidden characters stand for them.
      expect(await page.locator('.hidden-character').first().innerText()).toBe('U+202E');
    });

    it('is shown as it is: naughty strings', async () => {
      const strings = NAUGHTY_STRINGS.filter((one) => one.trim() !== '').slice(0, 200);
      await record(
        ...strings.map((text, index) => ({
          action: `a.${index}`,
          outcomeDescription: text,
          metadata: { text },
        })),
      );
      await newPage();
      await openConsole(await token());
      await rows().first().waitFor();
      await rows().first().click();
      for (let index = 0; index < strings.length; index += 1) {
        await page.keyboard.press('k');
      }
      const shown = new Map<string, string>();
      for (let step = 0; step < strings.length; step += 1) {
        const action = await detail().locator('h2').innerText();
        const json = await detail()
          .locator('details')
          .first()
          .locator('.string')
          .first()
          .textContent();
        shown.set(action, json ?? '');
        await page.keyboard.press('j');
      }
      expect(shown.size).toBe(strings.length);
      const named = (text: string) =>
        JSON.stringify(text).replace(HIDDEN, (character) => {
          const code = character.charCodeAt(0).toString(16).toUpperCase();
          return `U+${code.padStart(4, '0')}`;
        });
      for (const [index, text] of strings.entries()) {
        expect([text, shown.get(`a.${index}`)]).toEqual([text, named(text)]);
      }
    });

    it('may be 256 KiB of metadata', async () => {
      const metadata = { items: Array.from({ length: 11_000 }, (_, index) => `item ${index} <b>`) };
      await record({ action: 'large', metadata });
      await newPage();
      await openConsole(await token());
      await rows().first().click();
      const more = detail().getByRole('button', { name: 'Show all' }).first();
      await more.click();
      await until(
        async () =>
          (await detail().locator('details').first().textContent())?.includes('item 10999 <b>') ??
          false,
      );
    });
  });

  describe('states', () => {
    it('say that there is nothing, and remove the filters', async () => {
      await newPage();
      await openConsole(await token());
      await state().getByText('No events yet').waitFor();
      await record({ action: 'there' });
      await search('action:missing');
      await state().getByText('No event matches').waitFor();
      await page.getByRole('button', { name: 'Remove all filters' }).click();
      await untilActions('there');
    });

    it('say that there is no permission', async () => {
      await newPage();
      await openConsole(await token({ scope: 'audit:write' }));
      await state().getByText('audit:read').waitFor();
    });

    it('say that there is no connection, and load as soon as there is one', async () => {
      await record({ action: 'there' });
      await newPage();
      await openConsole(await token());
      await rows().first().waitFor();
      await page.context().setOffline(true);
      await search('there');
      await state().getByText('No connection').waitFor();
      await page.context().setOffline(false);
      await untilActions('there');
    });

    it('say that the service is busy, and when to try again', async () => {
      await newPage();
      await page.route('**/audit/events?*', (route) =>
        route.fulfill({ status: 503, headers: { 'retry-after': '7' }, body: '<html>' }),
      );
      await openConsole(await token());
      await state().getByText('in 7 seconds').waitFor();
    });

    it('name the request that failed', async () => {
      await newPage();
      const body = JSON.stringify({ status: 500, code: 'INTERNAL', requestId: 'request-77' });
      await page.route('**/audit/events?*', (route) => route.fulfill({ status: 500, body }));
      await openConsole(await token());
      await state().getByText('request-77').waitFor();
    });
  });

  describe('in a page of another origin, under the strictest policy', () => {
    async function embed(bearer: string | undefined, renewed?: string): Promise<string[]> {
      const faults = watchPage(page, host.origin);
      await page.goto(host.origin);
      await page.evaluate(
        ([src, given, other]) => {
          const viewer = document.querySelector('audit-log-viewer') as PageNode & {
            token?: string;
            renewToken?: () => Promise<string | undefined>;
          };
          viewer.renewToken = () => Promise.resolve(other);
          viewer.setAttribute('src', src ?? '');
          if (given !== undefined) viewer.token = given;
        },
        [service.url, bearer, renewed] as const,
      );
      return faults;
    }

    it('shows, follows and exports', async () => {
      await record({ action: 'embedded' });
      await newPage();
      await embed(await token());
      await rows().filter({ hasText: 'embedded' }).first().click();
      await detail().locator('h2', { hasText: 'embedded' }).waitFor();
      await page.keyboard.press('Escape');
      const opened = page.waitForResponse((response) => response.url().includes('/tail'));
      await page.getByRole('button', { name: 'Live' }).click();
      await opened;
      await record({ action: 'now' });
      await until(async () => (await sortedActions())[0] === 'now');
      await page.getByRole('button', { name: 'Export' }).click();
      const downloading = page.waitForEvent('download');
      await page.getByRole('dialog').getByRole('button', { name: 'Export' }).click();
      await downloading;
      expect(page.url()).toBe(`${host.origin}/`);
    });

    it('begins as soon as it can renew a token', async () => {
      await record({ action: 'later' });
      await newPage();
      await page.goto(host.origin);
      await page.evaluate((src) => {
        document.querySelector('audit-log-viewer')?.setAttribute('src', src);
      }, service.url);
      await state().getByText('No access token').waitFor();
      await page.evaluate(
        (bearer) => {
          const viewer = document.querySelector('audit-log-viewer') as PageNode & {
            renewToken?: () => Promise<string>;
          };
          viewer.renewToken = () => Promise.resolve(bearer);
        },
        await token(),
      );
      await rows().filter({ hasText: 'later' }).waitFor();
    });

    it('renews a token that is refused, and says so where it cannot', async () => {
      await record({ action: 'renewed' });
      await newPage();
      await embed(await token({ exp: 1 }), await token());
      await rows().filter({ hasText: 'renewed' }).first().waitFor();
      await page.context().close();
      await newPage();
      await embed(await token({ exp: 1 }));
      await state().getByText('The access has expired').waitFor();
    });
  });

  describe('as a component of React', () => {
    const render = (properties: Record<string, unknown>) =>
      page.evaluate(`render(${JSON.stringify(properties)})`);

    it('takes properties as they change, and tells what happens', async () => {
      await record({ action: 'in.react' });
      await newPage();
      await page.goto(reactHost.origin);
      await page.waitForFunction('globalThis.render');
      const properties = { src: service.url, lang: 'en', className: 'log', style: { height: 500 } };
      await render(properties);
      await state().getByText('No access token').waitFor();
      expect(await page.evaluate('seen')).toEqual(['token needed']);
      await render({ ...properties, token: await token() });
      await rows().filter({ hasText: 'in.react' }).click();
      await page.waitForFunction('seen.length === 2');
      await page.keyboard.press('Escape');
      await render({ ...properties, token: await token(), lang: 'de', theme: 'dark' });
      await page.getByRole('button', { name: 'Exportieren' }).waitFor();
      const viewer = page.locator('audit-log-viewer.log');
      expect(await viewer.evaluate((one: PageNode) => one.clientHeight)).toBe(500);
    });

    it('begins with a token that is renewed', async () => {
      await record({ action: 'in.react' });
      await newPage();
      await page.goto(reactHost.origin);
      await page.waitForFunction('globalThis.render');
      await render({ src: service.url, renewed: await token() });
      await rows().filter({ hasText: 'in.react' }).waitFor();
      expect(await page.evaluate('seen')).toEqual([]);
    });
  });

  describe('for everybody', () => {
    it('is German in a German browser', async () => {
      await newPage({ locale: 'de-CH' });
      await openConsole(await token());
      await state().getByText('Noch keine Ereignisse').waitFor();
      await page.getByRole('button', { name: 'Exportieren' }).waitFor();
      await page.getByRole('button', { name: 'Abmelden' }).waitFor();
    });

    it('is used with the keyboard alone', async () => {
      await record(...['one', 'two', 'three'].map((action) => ({ action })));
      await newPage();
      await openConsole(await token());
      await rows().nth(2).waitFor();
      const list = await sortedActions();
      // From the page to the list by Tab alone.
      const focused = () =>
        page.evaluate(() => document.activeElement?.shadowRoot?.activeElement?.id ?? '');
      for (let presses = 0; (await focused()) !== 'grid' && presses < 30; presses += 1) {
        await page.keyboard.press('Tab');
      }
      expect(await focused()).toBe('grid');
      await page.keyboard.press('ArrowDown');
      await page.keyboard.press('Enter');
      await detail()
        .locator('h2', { hasText: list[1] ?? '' })
        .waitFor();
      await page.keyboard.press('j');
      await detail()
        .locator('h2', { hasText: list[2] ?? '' })
        .waitFor();
      await page.keyboard.press('Escape');
      expect(await focused()).toBe('grid');
      await page.keyboard.press('/');
      expect(await focused()).toBe('query');
      await page.keyboard.type('action:one');
      await page.keyboard.press('Enter');
      await untilActions('one');
      for (let presses = 0; (await focused()) !== 'grid' && presses < 30; presses += 1) {
        await page.keyboard.press('Tab');
      }
      await page.keyboard.press('?');
      await page.getByRole('dialog', { name: 'Keyboard' }).waitFor();
      await page.keyboard.press('Escape');
      await page.keyboard.press('l');
      await page.getByText('Following').waitFor();
    });

    async function axeFindings(): Promise<string[]> {
      return page.evaluate(async () => {
        const { axe } = globalThis as unknown as {
          axe: {
            run: (
              context: unknown,
              options: object,
            ) => Promise<{ violations: { id: string; nodes: { html: string }[] }[] }>;
          };
        };
        const { violations: found } = await axe.run(document, { resultTypes: ['violations'] });
        return found.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' | ')}`);
      });
    }

    it.each(['light', 'dark'] as const)(
      'has no finding of axe in any state, %s',
      async (scheme) => {
        await record(
          { action: 'failed', status: 'failure', principalId: 'svc', principalType: 'service' },
          {
            action: 'changed',
            status: 'attempt',
            principalId: 'alice',
            targets: [{ type: 'Invoice', id: 'inv-1' }, { id: '2' }],
            changes: [{ path: '/a', old: 'x', new: 'y' }],
            metadata: { text: 'x', number: 1, word: true },
            outcomeDescription: 'why',
          },
          { action: 'done' },
        );
        await newPage({ colorScheme: scheme, bypassCSP: true, reducedMotion: 'reduce' });
        await page.route('**/development-token', (route) => route.fulfill({ status: 404 }));
        const bearer = await token();
        await page.goto(service.url);
        await page.addScriptTag({ path: AXE });
        const found: Record<string, string[]> = {};
        const look = async (name: string, isThere: Locator) => {
          await isThere.first().waitFor();
          const findings = await axeFindings();
          if (findings.length > 0) found[name] = findings;
        };
        await look('sign-in', page.getByLabel('Access token'));
        await page.getByLabel('Access token').fill(bearer);
        await page.getByRole('button', { name: 'Sign in' }).click();
        await look('list', rows());
        await page.locator('#query').fill('st');
        await look('suggestions', page.getByRole('option'));
        await page.keyboard.press('Escape');
        await page.getByRole('button', { name: 'Any time' }).click();
        await look('menu of times', page.getByRole('button', { name: 'Last hour' }));
        await page.keyboard.press('Escape');
        await page.getByRole('button', { name: 'Principal' }).click();
        await look('menu of values', page.getByLabel('Value of Principal'));
        await page.keyboard.press('Escape');
        await rows().filter({ hasText: 'changed' }).click();
        await detail().getByText('JSON, every digit').click();
        await look('detail', detail().locator('h2'));
        await page.keyboard.press('Escape');
        await page.getByRole('button', { name: 'Export' }).click();
        await look('export', page.getByRole('dialog', { name: 'Export events' }));
        await page.keyboard.press('Escape');
        await page.getByRole('button', { name: 'Live' }).click();
        await look('live', page.getByText('Following'));
        await search('status:broken');
        await look('fault', page.locator('mark'));
        await search('action:missing -status:failure');
        await look('empty', state().getByText('No event matches'));
        expect(found).toEqual({});
      },
    );

    it('has nothing beyond the edge at a width of 320 pixels', async () => {
      await record({ action: 'a.long.action.of.many.words.that.goes.on', principalId: 'alice' });
      await newPage({ viewport: { width: 320, height: 640 } });
      await openConsole(await token());
      await rows().first().click();
      await detail().locator('h2').waitFor();
      const beyond = () =>
        page.evaluate(
          () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
        );
      expect(await beyond()).toBe(0);
      await page.keyboard.press('Escape');
      expect(await beyond()).toBe(0);
      expect(await page.getByRole('button', { name: 'Export' }).isVisible()).toBe(true);
    });
  });
});
