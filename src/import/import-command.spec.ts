import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { FAKE_TOKEN, FakeBulkService } from '../../test/support/fake-bulk-service';
import { runImportCommand } from './import-command';
import type { RefusedLine } from './record-reader';

let service: FakeBulkService;
let url: string;
let folder: string;
let file: string;

/** The lines of an event file; a line number in `bad` has no action, which the service refuses. */
function eventLines(count: number, bad: number[] = []): string[] {
  return Array.from({ length: count }, (_, index) =>
    JSON.stringify({
      organizationId: 'org-1',
      action: bad.includes(index + 1) ? null : 'read',
      status: 'success',
      timestamp: '2024-01-01T00:00:00Z',
      metadata: { index },
    }),
  );
}

const parsed = (line: string) => JSON.parse(line) as object;
const pretty = (line: string) => JSON.stringify(parsed(line), null, 2);

/** Runs the command as a user would, with time that passes at once. */
async function run(...extra: string[]) {
  return runFiles([file], ...extra);
}

async function runFiles(files: string[], ...extra: string[]) {
  const out: string[] = [];
  const err: string[] = [];
  const waits: number[] = [];
  let nowMs = 0;
  const exitCode = await runImportCommand(['--format', 'event', '--url', url, ...extra, ...files], {
    environment: { AUDIT_TOKEN: FAKE_TOKEN },
    output: { write: (text) => out.push(text) },
    terminal: { write: (text) => err.push(text) },
    clock: {
      now: () => nowMs,
      sleep: (ms, signal) => {
        signal.throwIfAborted();
        waits.push(ms);
        nowMs += ms;
        return Promise.resolve();
      },
    },
  });
  const figures = Object.fromEntries(
    out
      .join('')
      .split('\n')
      .filter(Boolean)
      .map((row) => [row.slice(0, 12).trim(), row.slice(12)]),
  );
  return { exitCode, out: out.join(''), err: err.join(''), waits, figures };
}

async function refusedLines(path = `${file}.refused.ndjson`): Promise<RefusedLine[]> {
  const text = await readFile(path, 'utf8');
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as RefusedLine);
}

beforeEach(async () => {
  service = new FakeBulkService();
  url = await service.start();
  folder = await mkdtemp(join(tmpdir(), 'import-'));
  file = join(folder, 'events.ndjson');
});

afterEach(async () => {
  await service.stop();
  await rm(folder, { recursive: true });
});

describe('npm run import', () => {
  it('imports every line and says so', async () => {
    await writeFile(file, eventLines(25).join('\n'));
    const { exitCode, figures } = await run('--batch-size', '10');
    expect(exitCode).toBe(0);
    expect(figures).toMatchObject({
      'lines read': '25',
      created: '25',
      duplicates: '0',
      refused: '0',
    });
    expect(service.stored.size).toBe(25);
    expect(service.bodies).toHaveLength(3);
    expect(existsSync(`${file}.refused.ndjson`)).toBe(false);
  });

  it('counts everything as duplicates the second time, in chunks of any size', async () => {
    await writeFile(file, gzipSync(eventLines(25).join('\n')));
    await run('--batch-size', '10');
    const soon = await run('--batch-size', '10');
    const other = await run('--batch-size', '7');
    for (const { exitCode, figures } of [soon, other]) {
      expect(exitCode).toBe(0);
      expect(figures).toMatchObject({ created: '0', duplicates: '25', refused: '0' });
    }
    expect(service.stored.size).toBe(25);
  });

  it('takes out the lines the service names, sends the rest and writes them down in order', async () => {
    const lines = eventLines(30, [3, 4, 17]);
    lines.splice(20, 0, 'not json', '[1]', '');
    await writeFile(file, lines.join('\r\n'));
    const { exitCode, figures } = await run('--batch-size', '10');
    expect(exitCode).toBe(3);
    expect(figures).toMatchObject({
      'lines read': '32',
      created: '27',
      refused: `5  (see ${file}.refused.ndjson)`,
    });
    const refused = await refusedLines();
    expect(refused.map(({ line }) => line)).toEqual([3, 4, 17, 21, 22]);
    expect(refused[0]).toEqual({
      line: 3,
      reason: ['action must be a string of 1 to 255'],
      record: lines[2],
    });
    expect(refused[3]?.reason[0]).toMatch(/not valid JSON/);
    expect(refused[4]?.reason[0]).toMatch(/not a JSON object/);
  });

  it('takes out a line whose id exists with other content', async () => {
    const id = '0198c1f2-0000-7000-8000-000000000001';
    const [first = '', second = ''] = eventLines(2);
    await writeFile(file, `{"id":"${id}",${first.slice(1)}`);
    await run();
    await writeFile(file, [second, `{"id":"${id}",${second.slice(1)}`].join('\n'));
    const { exitCode, figures } = await run('--refused', join(folder, 'other'));
    expect(exitCode).toBe(3);
    expect(figures).toMatchObject({ created: '1', duplicates: '0' });
    expect(await refusedLines(join(folder, 'other'))).toMatchObject([
      { line: 2, reason: ['id exists with other content'] },
    ]);
  });

  it('halves what is too large until it passes', async () => {
    const lines = eventLines(16);
    service.maxBodyBytes = 700;
    lines[5] = JSON.stringify({ ...JSON.parse(lines[5] ?? ''), metadata: 'x'.repeat(700) });
    await writeFile(file, lines.join('\n'));
    const { exitCode, figures } = await run();
    expect(exitCode).toBe(3);
    expect(figures).toMatchObject({ created: '15' });
    expect(await refusedLines()).toMatchObject([
      { line: 6, reason: [expect.stringMatching(/413/)] },
    ]);
  });

  it('finds the bad line of a refusal that names none', async () => {
    service.hidesIndexes = true;
    await writeFile(file, eventLines(16, [11]).join('\n'));
    const { exitCode, figures } = await run();
    expect(exitCode).toBe(3);
    expect(figures).toMatchObject({ created: '15' });
    expect((await refusedLines()).map(({ line }) => line)).toEqual([11]);
  });

  it('stops when every line is refused without a reason of its own', async () => {
    service.maxBodyBytes = 10;
    await writeFile(file, eventLines(40).join('\n'));
    const { exitCode, err } = await run('--batch-size', '20');
    expect(exitCode).toBe(1);
    expect(err).toMatch(/none of the 20 lines .* is taken: .*413/);
  });

  it('waits for a service that is away, no shorter than it asks, and stores nothing twice', async () => {
    service.faults.push(
      { status: 503, headers: { 'retry-after': '7' } },
      { status: 429, headers: { 'retry-after': new Date(Date.now() + 60_000).toUTCString() } },
      { status: 504 },
      { hangUp: true },
    );
    await writeFile(file, eventLines(3).join('\n'));
    const { exitCode, figures, waits, err } = await run();
    expect(exitCode).toBe(0);
    // The response with their receipts was lost.
    expect(figures).toMatchObject({ created: '0', duplicates: '3' });
    expect(service.stored.size).toBe(3);
    expect(waits).toHaveLength(4);
    expect(waits[0]).toBe(7_000);
    expect(waits[1]).toBeGreaterThan(50_000);
    expect(err).toMatch(/503; trying again in 7\.0 s/);
  });

  it('gives up after minutes and says how to resume', async () => {
    service.faults.push(...Array.from({ length: 100 }, () => ({ status: 503 })));
    await writeFile(file, eventLines(3).join('\n'));
    const { exitCode, figures, err, waits } = await run();
    expect(exitCode).toBe(1);
    expect(err).toMatch(/503.*Gave up after \d+ attempts[^]*run the same command again/);
    expect(waits.reduce((sum, ms) => sum + ms, 0)).toBeGreaterThan(200_000);
    expect(figures).toMatchObject({ created: '0', 'no answer': '3' });
  });

  it.each([
    [401, /Get a valid token with: npm run token/],
    [403, /scope audit:write and every organization.*npm run token/],
    [404, /is this the URL of the audit service/],
    [308, /is this the URL of the audit service/],
    [200, /without accounting for all 3 events/],
  ])('stops at once on %i', async (status, message) => {
    service.faults.push({ status, body: { detail: 'Says why.' } });
    await writeFile(file, eventLines(3).join('\n'));
    const { exitCode, err, waits } = await run();
    expect(exitCode).toBe(1);
    expect(err).toMatch(message);
    expect(err).not.toContain('..');
    expect(err).not.toContain(FAKE_TOKEN);
    expect(waits).toEqual([]);
  });

  it('writes refused lines in the order of the file, whether reader or service refused them', async () => {
    await writeFile(file, [...eventLines(1, [1]), 'not json', ...eventLines(1, [1])].join('\n'));
    await run();
    expect((await refusedLines()).map(({ line }) => line)).toEqual([1, 2, 3]);
  });

  it('takes no part in a redirect, which would hand the token on', async () => {
    const location = `${url}/api/v1/audit/events/bulk`;
    service.faults.push({ status: 307, headers: { location } });
    await writeFile(file, eventLines(3).join('\n'));
    expect((await run()).exitCode).toBe(1);
    expect(service.bodies).toHaveLength(1);
  });

  it('halves when it is refused as a whole', async () => {
    const errors = [{ path: 'events[4].action' }, { path: 'events' }, null];
    service.faults.push({ status: 400, body: { errors } });
    await writeFile(file, eventLines(4).join('\n'));
    expect((await run()).figures).toMatchObject({ created: '4' });
    expect(service.bodies.map((body) => body.trimEnd().split('\n').length)).toEqual([4, 2, 2]);
  });

  it('keeps a body within 4 MiB unless one event alone is larger', async () => {
    const sizesMb = [1.5, 1.5, 1.5, 5, 1];
    const lines = eventLines(5).map((line, index) =>
      JSON.stringify({
        ...JSON.parse(line),
        metadata: { x: 'é'.repeat(((sizesMb[index] ?? 0) * 1024 * 1024) / 2) },
      }),
    );
    await writeFile(file, lines.join('\n'));
    await run('--concurrency', '1');
    expect(service.bodies.map((body) => body.trimEnd().split('\n').length)).toEqual([2, 1, 1, 1]);
  });

  it('stops in good order on SIGINT and resumes with the same command', async () => {
    await writeFile(file, eventLines(50).join('\n'));
    service.onRequest = () => process.emit('SIGINT');
    const first = await run('--batch-size', '5', '--concurrency', '3');
    expect(first.exitCode).toBe(130);
    expect(first.figures).toMatchObject({ created: `${service.stored.size}` });
    // The three chunks that were under way, and none of those already read.
    expect(service.stored.size).toBeLessThanOrEqual(15);
    service.onRequest = () => undefined;
    const stored = service.stored.size;
    const second = await run('--batch-size', '5', '--concurrency', '3');
    expect(second.exitCode).toBe(0);
    expect(second.figures).toMatchObject({ created: `${50 - stored}`, duplicates: `${stored}` });
    expect(process.listenerCount('SIGINT')).toBe(0);
  });

  it.each([
    ['an array on several lines', (lines: string[]) => JSON.stringify(lines.map(parsed), null, 2)],
    ['an array on one line', (lines: string[]) => `[${lines.join(',')}]`],
    ['a JSON export', (lines: string[]) => `[\n${lines.join(',\n')}\n]\n`],
    ['a page', (lines: string[]) => `{"data":[${lines.join(',')}],"pagination":{"limit":50}}`],
    ['objects on several lines', (lines: string[]) => lines.map(pretty).join('\n')],
    ['an array behind a byte-order mark', (lines: string[]) => `\ufeff[${lines.join(',')}]`],
  ])('takes %s, plain and packed, in pieces of any size', async (_, write) => {
    const text = write(eventLines(25));
    await writeFile(file, text);
    expect((await run('--batch-size', '10')).figures).toMatchObject({ created: '25' });
    await writeFile(file, gzipSync(text));
    expect((await run('--batch-size', '7')).figures).toMatchObject({
      created: '0',
      duplicates: '25',
    });
  });

  it('names the file and the element that is refused', async () => {
    const other = join(folder, 'array.json');
    await writeFile(file, [...eventLines(1), 'not json'].join('\n'));
    const elements = eventLines(3, [2]).map((line) => JSON.parse(line) as object);
    await writeFile(other, JSON.stringify([...elements, 5], null, 2));
    const path = join(folder, 'refused');
    const { exitCode, figures } = await runFiles([file, other], '--refused', path);
    expect(exitCode).toBe(3);
    expect(figures).toMatchObject({ created: '3' });
    const refused = await refusedLines(path);
    expect(refused).toMatchObject([
      { file, line: 2, reason: [expect.stringMatching(/^the line is not valid JSON/)] },
      { file: other, line: 11, element: 2, reason: ['action must be a string of 1 to 255'] },
      { file: other, element: 4, reason: ['the element is not a JSON object'] },
    ]);
  });

  it('stops at an array without its end, with the elements before it', async () => {
    await writeFile(file, `[${eventLines(3).join(',')}`);
    const { exitCode, err, figures } = await run();
    expect(exitCode).toBe(1);
    expect(err).toContain(`${file}: the content ends inside its list, after 3 elements`);
    expect(figures).toMatchObject({ 'lines read': '0' });
  });

  it('fails on an incomplete gzip file', async () => {
    const whole = gzipSync(eventLines(5000).join('\n'));
    await writeFile(file, whole.subarray(0, whole.length - 20));
    const { exitCode, err } = await run('--batch-size', '100');
    expect(exitCode).toBe(1);
    expect(err).toMatch(/unexpected end of file/);
  });
});
