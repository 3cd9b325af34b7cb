import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { until } from '../integration/until.fixture';
import { TestService, tokenOf } from '../support/test-service';
import { LoadProgram, type LoadResult, type Patch, startPatched } from './load.fixture';

const MIXED = resolve(__dirname, '../../scripts/load/mixed.profile.json');
const ORGANIZATIONS = ['load-1', 'load-2'];
const SCOPE = 'audit:read audit:write audit:export';

interface EventJson {
  action: string;
  metadata: { note: string };
}
interface PageJson {
  data: EventJson[];
}

describe('npm run load', () => {
  let service: TestService;
  let token: string;
  let folder: string;
  let log = '';

  beforeAll(async () => {
    jest.spyOn(process.stdout, 'write').mockImplementation((text) => (log += String(text)) !== '');
    service = await TestService.start({ LOG_LEVEL: 'info', LOG_FORMAT: 'json' });
    token = await tokenOf({ organizations: ORGANIZATIONS, scope: SCOPE });
    folder = mkdtempSync(join(tmpdir(), 'audit-load-'));
  });

  afterAll(async () => {
    jest.restoreAllMocks();
    await service?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Runs it, with a token that it must not print. */
  const load = async (url: string, ...parameters: string[]): Promise<LoadResult> => {
    const result = await new LoadProgram(['--url', url, ...parameters], token).ended;
    expect(result.output).not.toContain(token);
    return result;
  };
  const fileOf = (name: string, content: string): string => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  const profileOf = (...operations: object[]): string =>
    fileOf(
      'profile.json',
      JSON.stringify({ operations: operations.map((one) => ({ weight: 1, ...one })) }),
    );

  it('finds every answer of the service right, in all operations, and the same mix in its log', async () => {
    const out = join(folder, 'summary.json');
    const first = await load(
      service.url,
      ...['--profile', MIXED, '--connections', '4', '--requests', '400', '--out', out],
    );
    expect(first).toMatchObject({
      code: 0,
      output: expect.stringMatching(/ acknowledged and read again/),
    });
    const summary = JSON.parse(readFileSync(out, 'utf8'));
    expect(summary.total).toMatchObject({ count: 400, refused: 0, failed: 0, wrong: 0 });
    expect(summary.compared).toBe(summary.written);
    expect(summary.compared).toBeGreaterThan(100);

    const recording = fileOf('access.log', log);
    const second = await load(
      service.url,
      ...['--access-log', recording, '--connections', '2', '--requests', '100', '--out', out],
    );
    expect(second.code).toBe(0);
    const { operations } = JSON.parse(readFileSync(out, 'utf8')) as {
      operations: { name: string }[];
    };
    expect(operations.map(({ name }) => name)).toEqual(expect.arrayContaining(['list', 'write']));
  });

  it.each([
    'list', 'page', 'conditional', 'read', 'write', 'duplicate', 'idempotent', 'bulk', 'ingest', 'export',
    'graphql-list', 'graphql-write', 'graphql-bulk', 'trpc-list', 'trpc-bulk',
  ])('finds %s right beside writes', async (operation) => {
    const profile = profileOf({ operation }, { operation: 'write' });
    const result = await load(service.url, '--profile', profile, '--requests', '40');
    expect(result).toMatchObject({ code: 0, output: expect.stringContaining('wrong') });
  }); // prettier-ignore

  const isPage = ({ method, url }: IncomingMessage) =>
    method === 'GET' && url?.startsWith('/api/v1/audit/events?') === true;
  const patchPage =
    (change: (page: PageJson) => void): Patch =>
    (request, answer) => {
      if (!isPage(request) || request.url?.includes('limit=1000')) return;
      // The numbers of events are not touched by this, as they are of another patch.
      const page = JSON.parse(answer.text.replace(/:(9223372036854775807|1\.10)/g, ':"#$1#"'));
      if (page.data.length > 3) change(page);
      answer.text = JSON.stringify(page).replace(/"#([\d.]+)#"/g, '$1');
    };
  const replacing =
    (path: string, from: string | RegExp, to: string): Patch =>
    (request, answer) => {
      if (request.url?.startsWith(path)) answer.text = answer.text.replace(from, to);
    };

  it.each<[string, string, Patch, RegExp]>([
    ['a changed value', 'list', patchPage(({ data }) => data[1] && (data[1].action = 'load.read')), /action is "load\.read", and "load\.write" was expected/],
    ['a changed value within metadata', 'list', patchPage(({ data }) => data[0] && (data[0].metadata.note = '')), /metadata\.note is ""/],
    ['a number spelled otherwise', 'read', replacing('/api/v1/audit/events/', '1.10', '1.1'), /metadata\.decimal is 1\.1, and 1\.10 was expected/],
    ['a member that not all events have', 'read', replacing('/api/v1/audit/events/', '"schemaVersion":"2"', '"schemaVersion":"3"'), /schemaVersion is "3", and "2" was expected/],
    ['an event left out of a page', 'page', patchPage(({ data }) => data.splice(1, 1)), /says that another one follows|events are missing between/],
    ['the newest event left out of a page', 'list', patchPage(({ data }) => data.splice(0, 1)), /acknowledged before, is missing|says that another one follows/],
    ['an event twice on a page', 'list', patchPage(({ data }) => data[1] && data.splice(0, 1, data[1])), /is there twice/],
    ['events out of order', 'list', patchPage(({ data }) => data.reverse()), /out of order/],
    ['more events than asked for', 'list', patchPage(({ data }) => data.push(...data.map((event, at) => ({ ...event, id: `x${at}` })))), /events, and 20 were asked for/],
    ['a body that is not JSON', 'list', replacing('/api/v1/audit/events?', /.$/, ''), /the body is not JSON/],
    ['a failure', 'list', (request, answer) => { if (request.url?.includes('limit=20')) answer.status = 500; }, /the status is 500 and not 200/],
    ['one ETag for different pages', 'list', (request, answer) => { if (isPage(request)) answer.headers.etag = '"same"'; }, /two bodies have the ETag "same"/],
    ['a 304 with another ETag', 'conditional', (request, answer) => { if (request.headers['if-none-match']) Object.assign(answer, { status: 304, text: '', headers: { etag: '"x"' } }); }, /304 to .* has the ETag "x"/],
    ['a wrong sequence in a receipt', 'write', (request, answer) => { if (request.url === '/api/v1/audit/events') answer.text = answer.text.replace(/"sequence":"(\d)/, '"sequence":"9$1'); }, /sequence is \d+, and 9\d+ was acknowledged/],
    ['a write that is not stored', 'write', (request, answer) => { if (request.url?.includes('limit=1000')) answer.text = answer.text.replace(/"correlationId":"load-[0-9a-f]+-3"/, '"correlationId":"none"'); }, /which was acknowledged, is not there/],
    ['a duplicate told as new', 'duplicate', (request, answer) => { if (request.method === 'POST') answer.status = 201; }, /the status is 201 and not 200/],
    ['an answer that is not replayed', 'idempotent', (_, answer) => { delete answer.headers['idempotency-replayed']; }, /Idempotency-Replayed is not true/],
    ['a receipt too few', 'bulk', replacing('/api/v1/audit/events/bulk', /\{"index":0[^}]+\},/, ''), /there are 4 receipts for 5 events/],
    ['a line of receipts that is cut', 'ingest', replacing('/api/v1/audit/events/bulk', /.\n/, '\n'), /line 1 of NDJSON/],
    ['an export without its last line', 'export', replacing('/api/v1/audit/events/stream', /[^\n]+\n$/, ''), /events, and X-Export-Rows is/],
    ['a changed value in GraphQL', 'graphql-list', replacing('/graphql', '"principalId":"load', '"principalId":"Load'), /principalId is "Load/],
    ['an error in GraphQL', 'graphql-write', replacing('/graphql', /^\{/, '{"errors":[{"message":"no"}],'), /GraphQL has errors/],
    ['a changed value in tRPC', 'trpc-list', replacing('/trpc', '"status":"success"', '"status":"failure"'), /status is "failure", and "success" was expected/],
    ['a receipt in tRPC that says duplicate', 'trpc-bulk', replacing('/trpc', '"status":"created"', '"status":"duplicate"'), /says duplicate of a new event/],
  ])('finds %s (%s)', async (_, operation, patch, message) => {
    const options = {
      list: { limit: 20 }, page: { limit: 20 }, bulk: { events: 5 }, ingest: { events: 5 }, 'trpc-bulk': { events: 5 },
    }[operation]; // prettier-ignore
    const patched = await startPatched(service.url, patch);
    try {
      const profile = profileOf({ operation, ...options, weight: 2 }, { operation: 'bulk', events: 10 });
      const { code, output } = await load(patched.url, '--profile', profile, '--requests', '60');
      expect(output).toMatch(message);
      expect(output).toMatch(/^WRONG \S/m);
      expect(code).toBe(1);
    } finally {
      await patched.stop();
    }
  }); // prettier-ignore

  it('sends at a rate whether or not the service answers', async () => {
    const waiting: (() => void)[] = [];
    const HELD = 20;
    const patched = await startPatched(service.url, async (request) => {
      // A client that waits for its answer before it asks again would wait for ever.
      if (!request.url?.includes('limit=20') || waiting.length >= HELD) return;
      const released = new Promise<void>((done) => waiting.push(done));
      if (waiting.length === HELD) for (const release of waiting) release();
      await released;
    });
    try {
      const profile = profileOf({ operation: 'list', limit: 20 });
      const parameters = ['--profile', profile, '--rate', '200', '--requests', '25'];
      const { code, output } = await load(patched.url, ...parameters);
      expect(output).toMatch(/Requests were sent late by p50/);
      expect(code).toBe(0);
    } finally {
      await patched.stop();
    }
  });

  it('ends at Ctrl-C with what it has checked', async () => {
    const program = new LoadProgram(
      ['--url', service.url, '--profile', profileOf({ operation: 'write' }), '--duration', '3600'],
      token,
    );
    await until(() => /^ +\d+ s +[1-9]\d*\/s /m.test(program.output));
    program.interrupt();
    const { code, output } = await program.ended;
    expect(output).toMatch(/Interrupted[\s\S]* events sent, \d+ acknowledged and read again/);
    expect(code).toBe(0);
  });

  it('stops when the service does not take the token any more', async () => {
    let count = 0;
    const patched = await startPatched(service.url, (_, answer) => {
      if ((count += 1) > 10) answer.status = 401;
    });
    try {
      const profile = profileOf({ operation: 'list' });
      const { code, output } = await load(patched.url, '--profile', profile, '--duration', '3600');
      expect(output).toMatch(/Stopped early: the service refused the token/);
      expect(code).toBe(1);
    } finally {
      await patched.stop();
    }
  });

  it('tells refusals from wrong answers, and fails if nothing is served', async () => {
    const patched = await startPatched(service.url, (request, answer) => {
      if (request.url?.includes('limit=20')) answer.status = 503;
    });
    try {
      const profile = profileOf({ operation: 'list', limit: 20 });
      const { code, output } = await load(patched.url, '--profile', profile, '--requests', '20');
      expect(output).toMatch(/20 of 503[\s\S]*No request was served/);
      expect(output).not.toMatch(/^WRONG/m);
      expect(code).toBe(1);
    } finally {
      await patched.stop();
    }
  });

  it.each<[string, string[], RegExp]>([
    ['neither mix', [], /^give one of --profile FILE and --access-log FILE/],
    ['both mixes', ['--profile', 'a', '--access-log', 'b'], /^give one of --profile/],
    ['both loops', ['--profile', MIXED, '--rate', '1', '--connections', '1'], /^give one of --rate/],
    ['an unknown option', ['--profil', 'a'], /^Unknown option '--profil'/],
    ['a stray word', ['word', '--profile', MIXED], /^unexpected argument word/],
    ['a rate of 0', ['--profile', MIXED, '--rate', '0'], /^--rate 0: it takes a number above 0/],
    ['half a client', ['--profile', MIXED, '--connections', '0.5'], /^--connections 0.5: it takes an integer/],
    ['no URL', ['--profile', MIXED, '--url', 'localhost:3000'], /^--url localhost:3000 is no http/],
    ['a file that is not there', ['--profile', '/nowhere.json'], /^\/nowhere.json cannot be read/],
    ['a profile that is a log', ['--profile', __filename], /load\.e2e\.spec\.ts is not JSON/],
    ['a log without lines', ['--access-log', MIXED], /mixed\.profile\.json has no line of an access log/],
    ['no service', ['--profile', MIXED, '--url', 'http://127.0.0.1:1'], /^No service answers at http:\/\/127\.0\.0\.1:1 \(ECONNREFUSED/],
  ])('refuses %s', async (_, parameters, message) => {
    const result = await new LoadProgram(parameters, token).ended;
    expect(result.output).toMatch(message);
    expect(result.code).toBe(2);
  }); // prettier-ignore

  it('refuses tokens: none, one of all organizations, one that is not valid, one that may not read', async () => {
    const run = async (given: string | undefined, ...parameters: string[]) =>
      new LoadProgram(['--url', service.url, '--profile', MIXED, ...parameters], given).ended;
    const bad = `${token.slice(0, -8)}AAAAAAAA`;
    const writer = await tokenOf({ organizations: ORGANIZATIONS, scope: 'audit:write' });
    const operator = await tokenOf({ organizations: ['*'], scope: SCOPE });
    expect(await run(undefined)).toMatchObject({
      code: 2,
      output: expect.stringMatching(/^there is no token/),
    });
    expect(await run(operator)).toMatchObject({
      code: 2,
      output: expect.stringMatching(/^the token names no org/),
    });
    expect(await run(bad)).toMatchObject({
      code: 2,
      output: expect.stringMatching(/refuses the token \(401\)/),
    });
    expect(await run(writer)).toMatchObject({
      code: 2,
      output: expect.stringMatching(/may not read .* \(403\)/),
    });
    const chosen = ['--organizations', 'load-9', '--requests', '20'];
    expect(await run(operator, ...chosen)).toMatchObject({
      code: 0,
      output: expect.stringContaining('load-9'),
    });
  });
});
