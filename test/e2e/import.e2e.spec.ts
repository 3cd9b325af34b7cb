import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import * as fc from 'fast-check';
import { runImportCommand } from '../../src/import/import-command';
import { SYSTEM_CLOCK } from '../../src/import/chunk-sender';
import { instant, objectJson, sparseJson, storableText } from '../support/event-arbitraries';
import { fetchExport, linesOf } from '../support/export-client';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

const ROOT = resolve(__dirname, '../..');

let service: TestService;
let folder: string;
let token: string;
let operator: string;

beforeAll(async () => {
  // Smaller than a chunk of the import, which then is several transactions.
  service = await TestService.start({ BULK_MAX_EVENTS: '7' });
  folder = await mkdtemp(join(tmpdir(), 'import-'));
  token = await tokenOf({ scope: 'audit:write audit:export' });
  operator = await tokenOf({ organizations: ['*'], scope: 'audit:write audit:read audit:export' });
});

afterAll(async () => {
  await service?.stop();
  await rm(folder, { recursive: true });
});

async function run(
  files: string[],
  format = 'event',
  more: string[] = [],
  as = token,
): Promise<{ exitCode: number; out: string; err: string }> {
  const out: string[] = [];
  const err: string[] = [];
  const argv = ['--format', format, '--url', service.url, ...more, ...files];
  const exitCode = await runImportCommand(argv, {
    environment: { AUDIT_TOKEN: as },
    output: { write: (text) => out.push(text) },
    terminal: { write: (text) => err.push(text) },
    clock: SYSTEM_CLOCK,
  });
  return { exitCode, out: out.join(''), err: err.join('') };
}

it('the import brings in all lines but the bad ones, once, however often it runs', async () => {
  const lines = Array.from({ length: 50 }, (_, index) =>
    JSON.stringify(eventWith({ action: `a${index}`, timestamp: '2026-02-03T04:05:06.000007Z' })),
  );
  lines[3] = JSON.stringify(eventWith({ status: 'unknown' }));
  lines[30] = JSON.stringify(eventWith({ organizationId: 'org-2' }));
  const file = join(folder, 'events.ndjson');
  await writeFile(file, lines.join('\n'));
  expect(await run([file])).toMatchObject({
    exitCode: 3,
    out: expect.stringMatching(/created +48\nduplicates +0\nrefused +2 /),
  });
  const refused = (await readFile(`${file}.refused.ndjson`, 'utf8')).trimEnd().split('\n');
  expect(refused.map((line) => JSON.parse(line))).toMatchObject([
    { line: 4, reason: [expect.stringContaining('status must be one of')] },
    { line: 31, reason: [expect.stringContaining('organizationId is not an organization')] },
  ]);
  expect((await run([file])).out).toMatch(/created +0\nduplicates +48\n/);
  const { text } = await fetchExport(service, token, 'format=ndjson');
  expect(new Set(linesOf(text).map((line) => JSON.parse(line).action)).size).toBe(48);
});

describe('a CSV export', () => {
  const cell = fc.oneof(
    storableText(40),
    fc.string({ unit: fc.constantFrom(...`'"=+-@＝,;\t\r\na é`), maxLength: 8 }),
  );
  const name = fc.option(cell, { nil: undefined });
  const event = fc.tuple(
    fc.record(
      {
        id: fc.uuid(),
        action: cell.map((text) => text || 'x'),
        status: fc.constantFrom('attempt', 'success', 'failure'),
        principalId: name,
        targetResourceType: name,
        targetResourceId: name,
        outcomeDescription: name,
        correlationId: name,
        dataClassification: fc.constantFrom('PUBLIC', 'INTERNAL', 'CONFIDENTIAL', 'PHI'),
        sessionContext: fc.option(fc.record({ userAgent: name, sessionId: name })),
      },
      { requiredKeys: ['id', 'action', 'status'] },
    ),
    instant(1.79e12, 1.795e12),
    fc.option(objectJson),
    sparseJson,
  );
  const SENT = 'id,timestamp,action,status,dataClassification,metadata';
  const OTHERS = [
    'organizationId',
    'principalId',
    'targetResourceType',
    'targetResourceId',
    'outcomeDescription',
    'correlationId',
    'sessionContext',
    'principalType',
    'principalName',
    'targets',
    'changes',
    'source',
    'schemaVersion',
    'recordedAt',
    'sequence',
  ];
  const options = fc.record({
    delimiter: fc.constantFrom('comma', 'semicolon', 'tab'),
    bom: fc.boolean(),
    isRaw: fc.boolean(),
    others: fc.option(fc.shuffledSubarray(OTHERS)),
    isPacked: fc.boolean(),
    format: fc.constantFrom('csv', 'event'),
  });
  let count = 0;

  it('comes back as it was: exported, imported and exported again', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(event, { selector: ([{ id }]) => id, minLength: 1, maxLength: 12 }),
        options,
        async (events, { delimiter, bom, isRaw, others, isPacked, format }) => {
          const [from, to] = [`from-${(count += 1)}`, `to-${count}`];
          const lines = events.map(
            ([{ targetResourceType, targetResourceId, ...members }, at, metadata, sparse]) =>
              [
                JSON.stringify({
                  ...{ organizationId: from, timestamp: at.sent, ...members },
                  // Those of the first target are filled.
                  ...(sparse.targets === undefined ? { targetResourceType, targetResourceId } : {}),
                }).slice(0, -1),
                ...Object.entries(sparse).map(([member, text]) => `"${member}":${text}`),
                `"metadata":${metadata ?? 'null'}}`,
              ].join(','),
          );
          for (let at = 0; at < lines.length; at += 7) {
            const body = `{"events":[${lines.slice(at, at + 7).join(',')}]}`;
            const { status, text } = await service.post(`${EVENTS}/bulk`, operator, body);
            expect({ status, text }).toMatchObject({ status: 201 });
          }
          const columns = others === null ? null : [...others, ...SENT.split(',')];
          const query = (organization: string) => ({
            ...{ organization_ids: organization, format: 'csv', delimiter, bom: String(bom) },
            csv_raw: String(isRaw),
            ...(columns ? { columns: columns.join(',') } : {}),
          });
          const first = await fetchExport(service, operator, query(from));
          const file = join(folder, `export-${count}`);
          await writeFile(file, isPacked ? gzipSync(first.text) : first.text);
          const more = ['--organization', to, ...(isRaw ? ['--csv-raw'] : [])];
          const created = new RegExp(`created +${events.length}\nduplicates +0\nrefused +0\n`);
          expect(await run([file], format, more, operator)).toMatchObject({
            exitCode: 0,
            out: expect.stringMatching(created),
          });
          const again = new RegExp(`created +0\nduplicates +${events.length}\nrefused +0\n`);
          expect((await run([file], format, more, operator)).out).toMatch(again);

          // All but what the service makes, and the organization, which was given.
          const own = new Set(['organizationId', 'recordedAt', 'sequence']);
          const compared = (organization: string) => {
            const all = columns ?? [...OTHERS, ...SENT.split(',')];
            const kept = all.filter((column) => !own.has(column)).join(',');
            return { ...query(organization), columns: kept };
          };
          const one = await fetchExport(service, operator, compared(from));
          const other = await fetchExport(service, operator, compared(to));
          expect(one.text.split('\r\n').length).toBeGreaterThan(events.length);
          expect(other.text).toBe(one.text);
          if (columns && OTHERS.some((column) => !columns.includes(column))) return;
          const values = async (organization: string) => {
            const { text } = await fetchExport(service, operator, {
              organization_ids: organization,
              format: 'ndjson',
            });
            return linesOf(text).map((line) =>
              line
                .replace(/"recordedAt":"[^"]*","sequence":"[^"]*",/, '')
                .replace(`"organizationId":"${organization}"`, ''),
            );
          };
          expect(await values(to)).toEqual(await values(from));
        },
      ),
      { numRuns: 40 },
    );
  }, 240_000);

  it('names the rows that a spreadsheet has spoilt, and takes the others', async () => {
    const file = join(folder, 'spoilt.csv');
    const cut = `{"a":"${'x'.repeat(40_000)}`.slice(0, 32_767).replaceAll('"', '""');
    const header = 'organizationId,action,status,timestamp,metadata';
    const rows = [
      'org-1,spoilt,success,2026-02-03T04:05:06Z,',
      `org-1,spoilt,success,2026-02-03T04:05:06Z,"${cut}"`,
      'org-1,spoilt,success,03.02.2026 04:05,',
    ];
    await writeFile(file, [header, ...rows, ''].join('\r\n'));
    const { exitCode, out } = await run([file], 'csv');
    expect(exitCode).toBe(3);
    expect(out).toMatch(/lines read +3\ncreated +1\nduplicates +0\nrefused +2 /);
    const refused = (await readFile(`${file}.refused.ndjson`, 'utf8')).trimEnd().split('\n');
    expect(refused.map((line) => JSON.parse(line))).toMatchObject([
      { line: 3, reason: [expect.stringContaining('metadata was cut by a spreadsheet')] },
      { line: 4, reason: [expect.stringContaining('timestamp must be an ISO 8601 instant')] },
    ]);
  });
});

describe('records of other systems', () => {
  const folderOfSamples = resolve(__dirname, '../import/samples');

  it.each([
    ['kubernetes', ['kubernetes.ndjson', 'kubernetes-list.json'], 5, 0],
    ['vault', ['vault.ndjson'], 3, 2],
    ['okta', ['okta.json'], 3, 0],
    ['github', ['github.ndjson'], 4, 0],
    ['azure', ['azure-diagnostics.json', 'azure-rest.json'], 4, 0],
    ['auditd', ['auditd.log'], 4, 9],
  ])('of %s are stored once, whole', async (format, names, events, joined) => {
    const files = names.map((one) => join(folderOfSamples, one));
    const organizationId = `from-${format}`;
    const more = ['--organization', organizationId, '--refused', join(folder, 'refused')];
    const first = await run(files, format, more, operator);
    expect(first).toMatchObject({ exitCode: 0 });
    expect(first.out).toMatch(new RegExp(`created +${events}\nduplicates +0\nrefused +0\n`));
    expect(/joined +(\d+)/.exec(first.out)?.[1] ?? '0').toBe(String(joined));
    expect(first.out).not.toContain('no answer');
    const again = await run(files.toReversed(), format, more, operator);
    expect(again.out).toMatch(new RegExp(`created +0\nduplicates +${events}\nrefused +0\n`));
    const query = { organization_ids: organizationId, format: 'ndjson' };
    const { text } = await fetchExport(service, operator, query);
    expect(linesOf(text)).toHaveLength(events);
  });
});

describe('npm run import', () => {
  /** As a user calls it; the program is built first where it is older than its sources. */
  async function npm(argv: string[]): Promise<{ exitCode: number; out: string }> {
    const command = ['--prefix', ROOT, 'run', '-s', 'import', '--', ...argv];
    const child = spawn('npm', [...command, '--url', service.url], {
      // Names of files are those of the caller's folder.
      cwd: folder,
      env: { ...process.env, AUDIT_TOKEN: operator },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const out: string[] = [];
    child.stdout.setEncoding('utf8').on('data', (part: string) => out.push(part));
    const [exitCode] = (await once(child, 'close')) as [number];
    return { exitCode, out: out.join('') };
  }

  const record = (eventID: string) => ({
    ...{ eventVersion: '1.11', eventTime: '2026-11-03T08:00:00Z', eventID },
    ...{ eventSource: 's3.amazonaws.com', eventName: 'GetObject', recipientAccountId: 'acct-npm' },
    requestParameters: { bucketName: 'b' },
  });
  const id = (n: number) => `5d1c1b0a-0000-4000-8000-00000000000${n}`;

  it('takes a .json.gz as AWS delivers it, several files and a folder', async () => {
    const delivered = (...ids: number[]) =>
      gzipSync(JSON.stringify({ Records: ids.map((n) => record(id(n))) }));
    await mkdir(join(folder, 'AWSLogs/2026/11'), { recursive: true });
    await writeFile(join(folder, 'one.json.gz'), delivered(1, 2));
    await writeFile(join(folder, 'two.json.gz'), delivered(2, 3));
    await writeFile(join(folder, 'AWSLogs/2026/11/a.json.gz'), delivered(4));
    await writeFile(join(folder, 'AWSLogs/2026/11/b.json'), JSON.stringify([record(id(5))]));
    const one = await npm(['--format', 'cloudtrail', 'one.json.gz']);
    expect(one).toMatchObject({ exitCode: 0, out: expect.stringMatching(/created +2\n/) });
    const all = await npm(['--format', 'cloudtrail', 'one.json.gz', 'two.json.gz', 'AWSLogs']);
    expect(all.exitCode).toBe(0);
    expect(all.out).toMatch(/lines read +6\ncreated +3\nduplicates +3\nrefused +0\n/);
    const query = { organization_ids: 'acct-npm', format: 'ndjson' };
    const { text } = await fetchExport(service, operator, query);
    expect(linesOf(text).map((line) => JSON.parse(line).id as string)).toEqual(
      [5, 4, 3, 2, 1].map(id),
    );
  }, 600_000);

  it('takes an array on several lines', async () => {
    const events = [{ organizationId: 'pretty', action: 'x', status: 'success' }];
    await writeFile(join(folder, 'pretty-array.json'), JSON.stringify(events, null, 2));
    expect(await npm(['--format', 'event', 'pretty-array.json'])).toMatchObject({
      exitCode: 0,
      out: expect.stringMatching(/lines read +1\ncreated +1\n/),
    });
    const query = { organization_ids: 'pretty', format: 'ndjson' };
    const { text } = await fetchExport(service, operator, query);
    expect(linesOf(text).map((line) => JSON.parse(line))).toMatchObject([
      { organizationId: 'pretty', action: 'x', status: 'success' },
    ]);
  }, 600_000);
});
