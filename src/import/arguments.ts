import { readdirSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { TOKEN_HINT } from './chunk-sender';
import { mapEvent } from './event.mapping';
import { FORMATS, type Format, recordFormat } from './record-formats';

export interface ImportArguments {
  format: Format;
  /** Absolute paths, or `-` for standard input alone. */
  files: string[];
  organizationId: string | undefined;
  /** CSV was exported with `csv_raw=true`. */
  isRawCsv: boolean;
  /** Without the members that earlier versions did not fill. */
  isBasic: boolean;
  url: string;
  token: string;
  batchSize: number;
  concurrency: number;
  refusedPath: string;
  isQuiet: boolean;
}

/** The message is one line. */
export class UsageError extends Error {}

export const USAGE = `Usage: npm run import -- --format ${FORMATS.join('|')} [options] FILE...

Sends every record of each FILE to the service as one audit event. A FILE holds a record a line, or is a JSON array or
document such as {"Records":[...]}; plain or gzip. A folder stands for the files in it, - for standard input. Safe to
repeat: events that are there already are counted as duplicates and nothing is stored twice.

  --format NAME        what a record is:
                         cloudtrail   AWS CloudTrail          kubernetes   Kubernetes audit (audit.k8s.io/v1)
                         vault        HashiCorp Vault audit   okta         Okta System Log
                         github       GitHub audit log        azure        Azure Activity Log
                         auditd       Linux audit.log         wikipedia    Wikipedia edits
                         event        pages and exports of this service (json, ndjson, csv)
                         csv          a CSV export of this service alone
                         ocsf         an export of this service with schema=ocsf
                         cloudevents  an export of this service with schema=cloudevents
  --organization ID    the organization of all events, instead of the one each record names; required for kubernetes,
                       okta and auditd, which name none
  --csv-raw            the CSV was exported with csv_raw=true
  --basic              without principalType, principalName, targets and source, as version 0.1 imported: to repeat
                       such an import
  --url URL            the service (http://localhost:PORT, with the PORT of the environment or 3000)
  --token JWT          a token that may write; better in the environment as AUDIT_TOKEN
  --batch-size N       events of one request, 1 to 10000 (1000)
  --concurrency N      requests at a time, 1 to 16 (2); with 1 the sequence follows the order of the file
  --refused FILE       where records go that are refused (FILE.refused.ndjson; import.refused.ndjson for several)
  --quiet              no progress
  --help               this text

Exit status: 0 all records are in, 3 some were refused, 1 the import stopped early (run it again to resume), 2 usage,
130 interrupted.
`;

const OPTIONS = {
  format: { type: 'string' },
  organization: { type: 'string' },
  'csv-raw': { type: 'boolean', default: false },
  basic: { type: 'boolean', default: false },
  url: { type: 'string' },
  token: { type: 'string' },
  'batch-size': { type: 'string', default: '1000' },
  concurrency: { type: 'string', default: '2' },
  refused: { type: 'string' },
  quiet: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

/** Undefined for `--help`. @throws UsageError */
export function readArguments(
  argv: string[],
  environment: NodeJS.ProcessEnv,
): ImportArguments | undefined {
  const { values, positionals } = parsed(argv);
  if (values.help) return undefined;
  const files = filesOf(positionals);
  const format = formatOf(values.format);
  return {
    format,
    files,
    organizationId: organizationOf(values.organization, format),
    isRawCsv: rawCsvOf(values['csv-raw'], format),
    isBasic: basicOf(values.basic, format),
    url: urlOf(values.url ?? `http://localhost:${environment.PORT?.trim() || '3000'}`),
    token: tokenOf(values.token ?? environment.AUDIT_TOKEN),
    batchSize: integerOf('batch-size', values['batch-size'], 10_000),
    concurrency: integerOf('concurrency', values.concurrency, 16),
    refusedPath: refusedPathOf(values.refused, files),
    isQuiet: values.quiet,
  };
}

function parsed(argv: string[]) {
  try {
    return parseArgs({ args: argv, options: OPTIONS, allowPositionals: true });
  } catch (error) {
    // Node adds advice for programmers in further sentences.
    const [first = ''] = (error instanceof Error ? error.message : String(error)).split(/\. |\n/);
    throw new UsageError(first);
  }
}

function formatOf(name: string | undefined): Format {
  const format = FORMATS.find((known) => known === name);
  if (format) return format;
  const given = name === undefined ? 'there is no --format' : `--format ${name} is not known`;
  throw new UsageError(`${given}: give ${FORMATS.join(', ')}`);
}

/** npm runs the command in the folder of package.json, and passes the original one. */
function callerFolder(): string {
  return process.env.INIT_CWD ?? process.cwd();
}

/** Folders stand for their files, in the order of their names; refused files of earlier imports are not among them. */
function filesOf(positionals: string[]): string[] {
  if (positionals.length === 0) throw new UsageError('there is no FILE');
  if (positionals.includes('-')) {
    if (positionals.length > 1) throw new UsageError('- goes with no other FILE');
    return ['-'];
  }
  const files = positionals.flatMap((name) => {
    const path = resolve(callerFolder(), name);
    const stats = statSync(path, { throwIfNoEntry: false });
    if (!stats) throw new UsageError(`there is no file ${path}`);
    if (!stats.isDirectory()) return [path];
    const found = filesIn(path);
    if (found.length === 0) throw new UsageError(`there is no file in the folder ${path}`);
    return found;
  });
  return oldestFirst([...new Set(files)]);
}

/** `audit.log.2.gz`, `audit.log-20261130` */
const ROTATED = /^(.+)[.-](\d+)(?:\.gz)?$/;
const DATE_DIGITS = 8;

/** Rotated files of one log (`a.log`, `a.log.1`, `a.log.2.gz`) in the order they were written; all others stay in place. */
function oldestFirst(files: readonly string[]): string[] {
  const all = new Set(files);
  const groups = new Map<string, [age: number, file: string][]>();
  for (const file of files) {
    const [, name = file, digits = ''] = ROTATED.exec(file) ?? [];
    const isRotated = digits !== '' && all.has(name);
    // Numbers grow with age, dates with time.
    const age = digits.length < DATE_DIGITS ? Number(digits) : 1 / Number(digits);
    const key = isRotated ? name : file;
    groups.set(key, [...(groups.get(key) ?? []), [isRotated ? age : 0, file]]);
  }
  return [...groups.values()].flatMap((group) =>
    group.sort(([one], [other]) => other - one).map(([, file]) => file),
  );
}

function filesIn(folder: string): string[] {
  const entries = readdirSync(folder, { withFileTypes: true });
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  return entries.flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.name.startsWith('.') || entry.name.endsWith('.refused.ndjson')) return [];
    return entry.isDirectory() ? filesIn(path) : [path];
  });
}

function organizationOf(id: string | undefined, format: Format): string | undefined {
  if (id === '') throw new UsageError('--organization is empty');
  if (id === undefined && !recordFormat(format).namesOrganization) {
    throw new UsageError(`records of --format ${format} name no organization: give --organization`);
  }
  return id;
}

function rawCsvOf(isRaw: boolean, format: Format): boolean {
  if (isRaw && !recordFormat(format).content.includes('csv')) {
    throw new UsageError(`--csv-raw goes with --format csv or event, not with ${format}`);
  }
  return isRaw;
}

function basicOf(isBasic: boolean, format: Format): boolean {
  if (isBasic && recordFormat(format).map === mapEvent) {
    throw new UsageError(`--basic goes with records of other systems, not with --format ${format}`);
  }
  return isBasic;
}

function urlOf(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^https?:$/.test(url.protocol) || url.username || url.search || url.hash) {
    throw new UsageError(`--url ${text} is not an http(s) URL such as http://localhost:3000`);
  }
  return url.href;
}

function tokenOf(token: string | undefined): string {
  const trimmed = token?.trim() ?? '';
  if (trimmed === '') {
    throw new UsageError(`there is no token: set AUDIT_TOKEN, with one from ${TOKEN_HINT}`);
  }
  if (!/^[\x21-\x7e]+$/.test(trimmed)) throw new UsageError('the token is not a JWT');
  return trimmed;
}

function integerOf(name: string, text: string, max: number): number {
  const value = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (value < 1 || value > max) {
    throw new UsageError(`--${name} ${text} is not a whole number from 1 to ${max}`);
  }
  return value;
}

function refusedPathOf(given: string | undefined, files: readonly string[]): string {
  const [first = '-', ...others] = files;
  const own = first === '-' ? 'stdin.refused.ndjson' : `${first}.refused.ndjson`;
  const path = resolve(
    callerFolder(),
    given ?? (others.length > 0 ? 'import.refused.ndjson' : own),
  );
  if (!statSync(dirname(path), { throwIfNoEntry: false })?.isDirectory()) {
    throw new UsageError(`there is no folder ${dirname(path)} for --refused`);
  }
  const same = statSync(path, { throwIfNoEntry: false });
  if (same?.isDirectory()) throw new UsageError(`--refused ${path} is a directory`);
  const isSource = files.some((file) => {
    const source = file === '-' ? undefined : statSync(file);
    return same !== undefined && same.ino === source?.ino && same.dev === source.dev;
  });
  if (isSource) throw new UsageError(`--refused ${path} is FILE itself`);
  return path;
}
