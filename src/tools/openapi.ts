import 'reflect-metadata';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { createApplication } from '../app.setup';
import { PACKAGE_ROOT } from '../config/load-environment';
import { HttpFront } from '../front/http-front';
import { openApiDocument } from '../openapi';

const FILE = join(PACKAGE_ROOT, 'docs', 'openapi.json');
const USAGE = `Usage: npm run openapi [-- --check]

Writes the OpenAPI description of all routes to docs/openapi.json. Needs no database and no settings.

  --check   write nothing; exit with 1 when the file is not what would be written`;

/** The description as the file holds it. Nothing is connected to: the application is wired, not started. */
export async function openApiText(): Promise<string> {
  const app = await createApplication(new HttpFront(), { preview: true });
  return `${JSON.stringify(openApiDocument(app), null, 2)}\n`;
}

/** Where two texts part: the first line that differs, as both have it. Undefined when they are equal. */
export function firstDifference(committed: string, current: string): string | undefined {
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

async function check(current: string): Promise<number> {
  const name = relative(process.cwd(), FILE);
  const committed = await readFile(FILE, 'utf8').catch(() => '');
  const difference = firstDifference(committed, current);
  if (difference === undefined) {
    console.log(`${name} is current.`);
    return 0;
  }
  console.error(
    `${name} is stale; run \`npm run openapi\` and commit it. It differs from ${difference}`,
  );
  return 1;
}

async function main(options: string[]): Promise<number> {
  const [option, ...rest] = options;
  if (rest.length > 0 || (option !== undefined && option !== '--check')) {
    console.error(USAGE);
    return 2;
  }
  const text = await openApiText();
  if (option === '--check') return check(text);
  await mkdir(dirname(FILE), { recursive: true });
  await writeFile(FILE, text);
  console.log(`Wrote ${relative(process.cwd(), FILE)}.`);
  return 0;
}

if (require.main === module) {
  main(process.argv.slice(2)).then(
    (status) => process.exit(status),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
}
