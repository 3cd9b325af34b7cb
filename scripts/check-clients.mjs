// Compiles clients as their authors do: each in a folder of its own where only the packages that it names are installed,
// with `strict` and without `skipLibCheck`. Sources are in test/clients and docs/trpc-client.ts.
// Usage: node scripts/check-clients.mjs [part of the name of a source]
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';

const root = join(import.meta.dirname, '..');
const DOCUMENT = './docs/openapi.json';
const SERVICE = ['package.json', 'docs/trpc-types.d.ts'];

const CLIENTS = [
  {
    source: 'test/clients/openapi-fetch.ts',
    packages: ['openapi-fetch', 'openapi-typescript-helpers'],
    generate: (folder) =>
      run('openapi-typescript', DOCUMENT, '-o', join(folder, 'generated/api.ts')),
  },
  {
    source: 'test/clients/hey-api.ts',
    packages: [],
    generate: (folder) =>
      run('openapi-ts', '-i', DOCUMENT, '-o', join(folder, 'generated'), '--no-log-file', '-s'),
  },
  { source: 'test/clients/trpc.ts', packages: ['@trpc/client', '@trpc/server'], usesService: true },
  {
    source: 'docs/trpc-client.ts',
    packages: [
      '@trpc/client',
      '@trpc/server',
      'eventsource',
      'eventsource-parser',
      '@types/node',
      'undici-types',
    ],
    types: ['node'],
    usesService: true,
  },
];

const home = mkdtempSync(join(tmpdir(), 'audit-clients-'));
try {
  const [part = ''] = process.argv.slice(2);
  const chosen = CLIENTS.filter(({ source }) => source.includes(part));
  const failed = chosen.filter((client) => !compiles(client));
  process.exitCode = failed.length > 0 ? 1 : 0;
} finally {
  rmSync(home, { recursive: true, force: true });
}

/** Runs a program of node_modules/.bin; its output is shown when it fails. */
function run(name, ...parameters) {
  execFileSync(join(root, 'node_modules/.bin', name), parameters, { cwd: root, stdio: 'pipe' });
}

function compiles({ source, packages, types = [], generate, usesService = false }) {
  const folder = mkdtempSync(join(home, 'client-'));
  for (const name of packages) install(folder, name, join(root, 'node_modules', name));
  if (usesService) {
    for (const file of SERVICE) install(folder, join('audit-server', file), join(root, file));
  }
  generate?.(folder);
  cpSync(join(root, source), join(folder, basename(source)));
  const compilerOptions = {
    target: 'ES2022',
    // @trpc/server names Disposable.
    lib: ['ES2022', 'ESNext.Disposable', 'DOM', 'DOM.Iterable', 'DOM.AsyncIterable'],
    module: 'ESNext',
    moduleResolution: 'bundler',
    types,
    strict: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: false,
    noEmit: true,
  };
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({ compilerOptions, files: [basename(source)] }),
  );
  const compiler = join(dirname(createRequire(import.meta.url).resolve('typescript')), 'tsc.js');
  const { status } = spawnSync(process.execPath, [compiler, '-p', folder], { stdio: 'inherit' });
  console.log(`${status === 0 ? 'ok    ' : 'FAILED'} ${source}`);
  return status === 0;
}

function install(folder, name, from) {
  const to = join(folder, 'node_modules', name);
  mkdirSync(dirname(to), { recursive: true });
  cpSync(from, to, { recursive: true });
}
