import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readArguments, UsageError } from './arguments';
import { runImportCommand } from './import-command';
import { SYSTEM_CLOCK } from './chunk-sender';

const environment = { AUDIT_TOKEN: 'from-environment' };
let folder: string;
let file: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'import-arguments-'));
  file = join(folder, 'records');
  writeFileSync(file, '{}');
});

afterAll(() => rmSync(folder, { recursive: true }));

describe('readArguments', () => {
  it('fills in the defaults', () => {
    expect(readArguments(['--format', 'event', file], environment)).toEqual({
      format: 'event',
      files: [file],
      organizationId: undefined,
      isRawCsv: false,
      isBasic: false,
      url: 'http://localhost:3000/',
      token: 'from-environment',
      batchSize: 1000,
      concurrency: 2,
      refusedPath: `${file}.refused.ndjson`,
      isQuiet: false,
    });
  });

  it('takes - for standard input, and a token from the command line first', () => {
    expect(
      readArguments(['--token', 'mine', '--format', 'cloudtrail', '-', '--quiet'], environment),
    ).toMatchObject({ files: ['-'], token: 'mine', isQuiet: true });
  });

  it.each([
    [['--format', 'event'], /no FILE/],
    [['FILE'], /no --format/],
    [['--format', 'xml', 'FILE'], /--format xml is not known: give cloudtrail, wikipedia, event/],
    [['--format', 'okta', 'FILE'], /of --format okta name no organization: give --organization/],
    [['--format', 'auditd', 'FILE'], /of --format auditd name no organization/],
    [['--format', 'kubernetes', 'FILE'], /of --format kubernetes name no organization/],
    [['--format', 'vault', '--csv-raw', 'FILE'], /--csv-raw goes with --format csv or event/],
    [['--format', 'csv', '--basic', 'FILE'], /--basic goes with records of other systems/],
    [['--format', 'event', '-', 'FILE'], /- goes with no other FILE/],
    [['--format', 'event', '/no/such/file'], /there is no file \/no\/such\/file/],
    [['--format', 'event', '--frobnicate', 'FILE'], /Unknown option '--frobnicate'/],
    [['--format', 'event', '--batch-size', '0', 'FILE'], /--batch-size 0 is not a whole number/],
    [['--format', 'event', '--batch-size', '1e3', 'FILE'], /--batch-size 1e3/],
    [['--format', 'event', '--concurrency', '17', 'FILE'], /--concurrency 17/],
    [['--format', 'event', '--url', 'localhost:3000', 'FILE'], /--url localhost:3000 is not/],
    [['--format', 'event', '--organization', '', 'FILE'], /--organization is empty/],
    [['--format', 'event', '--token', 'a b', 'FILE'], /not a JWT/],
    [['--format', 'event', '--refused', '/no/such/f', 'FILE'], /there is no folder \/no\/such/],
    [['--format', 'event', '--refused', 'FILE', 'FILE'], /is FILE itself/],
  ])('refuses %j', (argv, message) => {
    const given = argv.map((argument) => (argument === 'FILE' ? file : argument));
    expect(() => readArguments(given, environment)).toThrow(UsageError);
    expect(() => readArguments(given, environment)).toThrow(message);
  });

  it('takes several files and the files of folders, by name and each once', () => {
    const inner = join(folder, 'inner');
    mkdirSync(join(inner, 'b'), { recursive: true });
    for (const name of ['c.json', 'a.json.gz', 'b/x.json', 'c.json.refused.ndjson', '.hidden']) {
      writeFileSync(join(inner, name), '{}');
    }
    const given = readArguments(['--format', 'event', file, inner, file], environment);
    const names = ['a.json.gz', 'b/x.json', 'c.json'].map((name) => join(inner, name));
    expect(given?.files).toEqual([file, ...names]);
    expect(given?.refusedPath).toMatch(/import\.refused\.ndjson$/);
    const empty = join(folder, 'empty');
    mkdirSync(empty);
    expect(() => readArguments(['--format', 'event', empty], environment)).toThrow(
      /there is no file in the folder/,
    );
  });

  it('reads rotated files of one log in the order they were written, and no other files', () => {
    const logs = join(folder, 'logs');
    mkdirSync(logs);
    const names = [
      'a.log',
      'a.log-20261102',
      'a.log-20261103.gz',
      'b.log',
      'b.log.1',
      'b.log.10.gz',
    ];
    names.push('b.log.2', 'part.1', 'part.10', 'part.2');
    for (const name of names) writeFileSync(join(logs, name), '{}');
    const given = readArguments(['--format', 'event', logs], environment);
    expect(given?.files.map((path) => path.slice(logs.length + 1))).toEqual([
      ...['a.log-20261102', 'a.log-20261103.gz', 'a.log'],
      ...['b.log.10.gz', 'b.log.2', 'b.log.1', 'b.log'],
      ...['part.1', 'part.10', 'part.2'],
    ]);
  });

  it('says how to get a token when there is none', () => {
    expect(() => readArguments(['--format', 'event', file], {})).toThrow(
      /AUDIT_TOKEN.*npm run token/,
    );
  });
});

describe('the command line', () => {
  async function run(argv: string[]) {
    const out: string[] = [];
    const err: string[] = [];
    const exitCode = await runImportCommand(argv, {
      environment,
      output: { write: (text) => out.push(text) },
      terminal: { write: (text) => err.push(text) },
      clock: SYSTEM_CLOCK,
    });
    return { exitCode, out: out.join(''), err: err.join('') };
  }

  it('refuses a mistake with one line, the usage and status 2', async () => {
    const { exitCode, out, err } = await run(['--format', 'xml', file]);
    expect(exitCode).toBe(2);
    expect(err).toMatch(/^--format xml is not known[^\n]*\n\nUsage: npm run import/);
    expect(out).toBe('');
  });

  it('shows the usage when asked', async () => {
    expect(await run(['--help'])).toMatchObject({ exitCode: 0, err: '' });
  });

  it('expects the service on the PORT of the environment, unless there is a --url', () => {
    const given = (more: string[], PORT?: string) =>
      readArguments(['--format', 'event', '-', ...more], { AUDIT_TOKEN: 'a', PORT })?.url;
    expect(given([])).toBe('http://localhost:3000/');
    expect(given([], '4000')).toBe('http://localhost:4000/');
    expect(given([], '')).toBe('http://localhost:3000/');
    expect(given(['--url', 'https://audit.example/'], '4000')).toBe('https://audit.example/');
    expect(() => given([], 'x y')).toThrow(UsageError);
  });
});
