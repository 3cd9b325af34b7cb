import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runImportCommand } from '../../src/import/import-command';
import { SYSTEM_CLOCK } from '../../src/import/chunk-sender';
import { fetchExport, linesOf } from '../support/export-client';
import { eventWith, TestService, tokenOf } from '../support/test-service';

let service: TestService;
let folder: string;
let token: string;

beforeAll(async () => {
  // Smaller than a chunk of the import, which then is several transactions.
  service = await TestService.start({ BULK_MAX_EVENTS: '7' });
  folder = await mkdtemp(join(tmpdir(), 'import-'));
  token = await tokenOf({ scope: 'audit:write audit:export' });
});

afterAll(async () => {
  await service?.stop();
  await rm(folder, { recursive: true });
});

async function run(file: string): Promise<{ exitCode: number; out: string }> {
  const out: string[] = [];
  const exitCode = await runImportCommand(['--format', 'event', '--url', service.url, file], {
    environment: { AUDIT_TOKEN: token },
    output: { write: (text) => out.push(text) },
    terminal: { write: () => true },
    clock: SYSTEM_CLOCK,
  });
  return { exitCode, out: out.join('') };
}

it('the import brings in all lines but the bad ones, once, however often it runs', async () => {
  const lines = Array.from({ length: 50 }, (_, index) =>
    JSON.stringify(eventWith({ action: `a${index}`, timestamp: '2026-02-03T04:05:06.000007Z' })),
  );
  lines[3] = JSON.stringify(eventWith({ status: 'unknown' }));
  lines[30] = JSON.stringify(eventWith({ organizationId: 'org-2' }));
  const file = join(folder, 'events.ndjson');
  await writeFile(file, lines.join('\n'));
  expect(await run(file)).toMatchObject({
    exitCode: 3,
    out: expect.stringMatching(/created +48\nduplicates +0\nrefused +2 /),
  });
  const refused = (await readFile(`${file}.refused.ndjson`, 'utf8')).trimEnd().split('\n');
  expect(refused.map((line) => JSON.parse(line))).toMatchObject([
    { line: 4, reason: [expect.stringContaining('status must be one of')] },
    { line: 31, reason: [expect.stringContaining('organizationId is not an organization')] },
  ]);
  expect((await run(file)).out).toMatch(/created +0\nduplicates +48\n/);
  const { text } = await fetchExport(service, token, 'format=ndjson');
  expect(new Set(linesOf(text).map((line) => JSON.parse(line).action)).size).toBe(48);
});
