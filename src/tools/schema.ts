import 'reflect-metadata';
import { printSchema } from 'graphql';
import { readFile, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { PACKAGE_ROOT } from '../config/load-environment';
import { DATABASE_SHAPES } from '../database-door';
import { graphqlSchema } from '../graphql/schema';
import { firstDifference } from './openapi';

const FILE = join(PACKAGE_ROOT, 'docs', 'schema.graphql');
const USAGE = `Usage: npm run schema [-- --check]

Writes the GraphQL schema to docs/schema.graphql. Needs no database and no settings.

  --check   write nothing; exit with 1 when the file is not what would be written`;

async function main(options: string[]): Promise<number> {
  const [option, ...rest] = options;
  if (rest.length > 0 || (option !== undefined && option !== '--check')) {
    console.error(USAGE);
    return 2;
  }
  const name = relative(process.cwd(), FILE);
  const text = `${printSchema(graphqlSchema(DATABASE_SHAPES))}\n`;
  if (option === undefined) {
    await writeFile(FILE, text);
    console.log(`Wrote ${name}.`);
    return 0;
  }
  const difference = firstDifference(await readFile(FILE, 'utf8').catch(() => ''), text);
  if (difference === undefined) {
    console.log(`${name} is current.`);
    return 0;
  }
  console.error(
    `${name} is stale; run \`npm run schema\` and commit it. It differs from ${difference}`,
  );
  return 1;
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
