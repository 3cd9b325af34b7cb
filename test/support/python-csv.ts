import { spawnSync } from 'node:child_process';

const SCRIPT =
  'import csv, io, json, sys; csv.field_size_limit(10**9); ' +
  'text = sys.stdin.buffer.read().decode("utf-8"); ' +
  'print(json.dumps(list(csv.reader(io.StringIO(text, newline=""), strict=True))[1:]))';

const isThere = spawnSync('python3', ['-c', 'import csv']).status === 0;
// eslint-disable-next-line no-console -- that it is skipped must be seen
if (!isThere) console.warn('SKIPPED: there is no python3 to read CSV with.');

/** The rows of a CSV file behind its header, as Python's csv module reads them; undefined without Python. */
export const pythonCsv = Object.assign(
  (csv: Buffer): string[][] | undefined => {
    if (!isThere) return undefined;
    const { status, stdout, stderr } = spawnSync('python3', ['-c', SCRIPT], {
      input: csv,
      maxBuffer: 1e9,
    });
    if (status !== 0) throw new Error(stderr.toString());
    return JSON.parse(stdout.toString()) as string[][];
  },
  { isThere },
);
