import { readFile, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { PACKAGE_ROOT } from '../platform/config/load-environment';
import { surviveClosedOutputs } from '../platform/logging/log-output';

export interface GeneratedFile {
  /** Under docs/. */
  name: string;
  /** Of package.json, as in `npm run schema`. */
  script: string;
  /** Its content in words, as in "the GraphQL schema". */
  content: string;
  text: () => string | Promise<string>;
}

/** Writes the file, or with `--check` compares it. Exit codes: 1 when it is stale, 2 for other options. */
async function writeOrCheck(
  { name, script, content, text }: GeneratedFile,
  options: string[],
): Promise<number> {
  const [option, ...rest] = options;
  if (rest.length > 0 || (option !== undefined && option !== '--check')) {
    console.error(`Usage: npm run ${script} [-- --check]

Writes ${content} to docs/${name}. Needs no database and no settings.

  --check   write nothing; exit with 1 when the file is not what would be written`);
    return 2;
  }
  const file = join(PACKAGE_ROOT, 'docs', name);
  const shown = relative(process.cwd(), file);
  const current = await text();
  if (option === undefined) {
    await writeFile(file, current);
    console.log(`Wrote ${shown}.`);
    return 0;
  }
  const difference = firstDifference(await readFile(file, 'utf8').catch(() => ''), current);
  if (difference === undefined) {
    console.log(`${shown} is current.`);
    return 0;
  }
  console.error(
    `${shown} is stale; run \`npm run ${script}\` and commit it. It differs from ${difference}`,
  );
  return 1;
}

export function runGenerator(file: GeneratedFile): void {
  surviveClosedOutputs();
  writeOrCheck(file, process.argv.slice(2)).then(
    (status) => process.exit(status),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
}

function firstDifference(committed: string, current: string): string | undefined {
  if (committed === current) return undefined;
  const [was, is] = [committed.split('\n'), current.split('\n')];
  const at = is.findIndex((line, index) => line !== was[index]);
  const line = at === -1 ? is.length : at;
  return [
    `line ${line + 1}:`,
    `- ${was[line]?.trim() ?? '(end of file)'}`,
    `+ ${is[line]?.trim() ?? '(end of file)'}`,
  ].join('\n');
}
