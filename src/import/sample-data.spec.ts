import { existsSync, readFileSync } from 'node:fs';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { FAKE_TOKEN, FakeBulkService } from '../../test/support/fake-bulk-service';
import { runImportCommand } from './import-command';
import { SYSTEM_CLOCK } from './chunk-sender';

// Published records, too large and too differently licensed to be part of this repository.
const folder = process.env.AUDIT_SAMPLE_DATA ?? resolve(__dirname, '../../../shared/data');

const SAMPLES = [
  { format: 'cloudtrail', name: 'cloudtrail-invictus', failures: 300, organizations: 1 },
  { format: 'wikipedia', name: 'wikipedia-edits', failures: 0, organizations: 51 },
];

describe.each(SAMPLES)('the real records of $name', ({ format, name, failures, organizations }) => {
  const file = join(folder, name, 'records.ndjson.gz');
  if (!existsSync(file)) {
    console.warn(
      `SKIPPED: there is no ${file}; set AUDIT_SAMPLE_DATA to the folder that holds ${name}/`,
    );
    it.skip(`needs ${file}`, () => undefined);
    return;
  }

  const service = new FakeBulkService();
  const refused = mkdtempSync(join(tmpdir(), 'import-sample-'));
  let url: string;

  async function run(): Promise<string> {
    const written: string[] = [];
    const exitCode = await runImportCommand(
      [
        '--format',
        format,
        '--url',
        url,
        '--concurrency',
        '1',
        '--refused',
        join(refused, 'r'),
        file,
      ],
      {
        environment: { AUDIT_TOKEN: FAKE_TOKEN },
        output: { write: (text) => written.push(text) },
        terminal: { write: (text) => written.push(text) },
        clock: SYSTEM_CLOCK,
      },
    );
    return `${exitCode}\n${written.join('')}`;
  }

  beforeAll(async () => {
    url = await service.start();
  });

  afterAll(async () => {
    await service.stop();
    rmSync(refused, { recursive: true });
  });

  it('are all imported once, each with its exact text as metadata', async () => {
    const lines = gunzipSync(readFileSync(file)).toString().trimEnd().split('\n');
    expect(await run()).toMatch(new RegExp(`^0\n(.*\n)*created +${lines.length}\nduplicates +0\n`));
    const sent = service.bodies.join('');
    let at = 0;
    const missing = lines.filter((line) => {
      const found = sent.indexOf(`,"metadata":${line}}`, at);
      if (found !== -1) at = found;
      return found === -1;
    });
    expect(missing).toEqual([]);

    expect(await run()).toMatch(new RegExp(`^0\n(.*\n)*created +0\nduplicates +${lines.length}\n`));
    expect(service.stored.size).toBe(lines.length);
    const events = [...service.stored.values()].map((text) => JSON.parse(text));
    expect(events.filter(({ status }) => status === 'failure')).toHaveLength(failures);
    expect(new Set(events.map(({ organizationId }) => organizationId)).size).toBe(organizations);
  });
});
