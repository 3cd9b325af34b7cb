// Performs the steps of the Dockerfile without Docker, in temporary folders, and tests the result: a build without optional
// dependencies, an install of production dependencies only, a clean `npm ls`, a start as an unprivileged user with write
// access to the temporary folder only, the HEALTHCHECK command, a write and a read, SIGTERM. PostgreSQL is that of
// TEST_DATABASE_URL (a database is created there and dropped), else the embedded one of this checkout.
// Usage: node scripts/check-production.mjs [path of another node to run the service with]
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(fileURLToPath(import.meta.url), '../..');
const home = mkdtempSync(join(tmpdir(), 'audit-production-'));
/** Another one is copied: its folder may be closed to the user that runs the service. */
const node = process.argv[2] === undefined ? process.execPath : join(home, 'node');
const secret = randomBytes(32).toString('hex');
/** The user `nobody`, with write access to world-writable paths only. Only root can change the user. */
const nobody = process.geteuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};

function run(cwd, command, ...parameters) {
  console.log(`$ ${command} ${parameters.join(' ')}`);
  execFileSync(command, parameters, { cwd, stdio: ['ignore', 'ignore', 'inherit'] });
}

/** A folder with these paths of the checkout, as COPY would create it. */
function stage(name, ...paths) {
  const folder = join(home, name);
  mkdirSync(folder);
  for (const path of paths) {
    cpSync(join(root, path), join(folder, path), {
      recursive: true,
      filter: (source) => !/\.(spec|fixture)\.ts$/.test(source),
    });
  }
  return folder;
}

async function openDatabase() {
  const require = createRequire(join(root, 'package.json'));
  const { Client } = require('pg');
  const given = process.env.TEST_DATABASE_URL;
  if (!given) {
    const { EmbeddedPostgresServer } = await import(
      `${root}/dist/platform/database/embedded/embedded-postgres.js`
    );
    const server = await EmbeddedPostgresServer.start({
      dataDir: join(home, 'data'),
      log: () => {},
    });
    return { url: server.url, close: () => server.stop() };
  }
  const name = `audit_production_${randomBytes(6).toString('hex')}`;
  const admin = new Client({ connectionString: given });
  await admin.connect();
  await admin.query(`CREATE DATABASE ${name}`);
  const url = new URL(given);
  url.pathname = `/${name}`;
  return {
    url: url.href,
    close: async () => {
      await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
      await admin.end();
    },
  };
}

function environment(databaseUrl) {
  const temporary = join(home, 'tmp');
  mkdirSync(temporary, { recursive: true });
  chmodSync(temporary, 0o1777);
  return {
    PATH: process.env.PATH,
    NODE_ENV: 'production',
    TMPDIR: temporary,
    HOST: '127.0.0.1',
    PORT: String(20_000 + Math.floor(Math.random() * 10_000)),
    DATABASE_URL: databaseUrl,
    AUTH_JWT_SECRET: secret,
  };
}

/** Installed packages that the lock file marks as development or optional. */
function superfluousIn(folder) {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  const installed = readFileSync(join(folder, 'node_modules', '.package-lock.json'), 'utf8');
  return Object.keys(JSON.parse(installed).packages).filter((path) => {
    const { dev, optional, devOptional } = packages[path] ?? { dev: true };
    return dev || optional || devOptional;
  });
}

/** Ends with an error unless `isSo`. */
function expect(what, isSo) {
  console.log(`${isSo ? 'ok    ' : 'FAILED'} ${what}`);
  if (!isSo) throw new Error(what);
}

async function becomesReady(url, child) {
  for (let attempt = 0; attempt < 300 && child.exitCode === null; attempt += 1) {
    const response = await fetch(`${url}/health/ready`).catch(() => undefined);
    if (response?.ok) return true;
    await new Promise((done) => setTimeout(done, 100));
  }
  return false;
}

async function tryIt(runtime, env) {
  const url = `http://127.0.0.1:${env.PORT}`;
  const options = { cwd: runtime, env, ...nobody };
  const child = spawn(node, ['dist/main.js'], {
    ...options,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const exited = once(child, 'exit');
  try {
    expect('starts and becomes ready', await becomesReady(url, child));
    const dockerfile = readFileSync(join(root, 'Dockerfile'), 'utf8');
    const [, command] = /HEALTHCHECK[^[]*(\[.*\])\n/.exec(dockerfile.replaceAll('\\\n', '')) ?? [];
    const [, ...parameters] = JSON.parse(command);
    execFileSync(node, parameters, options);
    console.log('ok     HEALTHCHECK succeeds while it runs');
    const claims = ['--scope', 'audit:read audit:write', '--organizations', 'org-1'];
    const token = execFileSync(node, ['dist/cli/token.js', ...claims], options)
      .toString()
      .trim();
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const events = `${url}/api/v1/audit/events`;
    const body = JSON.stringify({ organizationId: 'org-1', action: 'try', status: 'success' });
    const created = await fetch(events, { method: 'POST', headers, body });
    expect('records an event', created.status === 201);
    const page = await (await fetch(events, { headers })).json();
    expect('shows it', page.data.length === 1 && page.data[0].action === 'try');
    child.kill('SIGTERM');
    const [code] = await exited;
    expect('ends with 0 on SIGTERM', code === 0);
    let failed = false;
    try {
      execFileSync(node, parameters, options);
    } catch {
      failed = true;
    }
    expect('HEALTHCHECK fails once it is gone', failed);
  } finally {
    child.kill('SIGKILL');
  }
}

let database;
try {
  chmodSync(home, 0o755);
  if (process.argv[2] !== undefined) cpSync(process.argv[2], node);
  const manifests = ['package.json', 'package-lock.json'];
  const build = stage(
    'build',
    ...manifests,
    'nest-cli.json',
    'tsconfig.json',
    'tsconfig.build.json',
    'src',
    'packages',
    'scripts/build-web.mjs',
  );
  run(build, 'npm', 'ci', '--omit=optional', '--no-fund', '--no-audit', '--loglevel=error');
  run(build, 'npm', 'run', '-s', 'build');
  const runtime = stage('app', ...manifests, 'config');
  run(
    runtime,
    'npm',
    'ci',
    '--omit=dev',
    '--omit=optional',
    '--no-fund',
    '--no-audit',
    '--loglevel=error',
  );
  run(runtime, 'npm', 'ls', '--all', '--omit=dev', '--omit=optional');
  const superfluous = superfluousIn(runtime);
  expect(`installs nothing for development or optional ${superfluous}`, superfluous.length === 0);
  for (const path of ['typescript', '.bin']) {
    rmSync(join(runtime, 'node_modules', path), { recursive: true });
  }
  cpSync(join(build, 'dist'), join(runtime, 'dist'), { recursive: true });
  rmSync(build, { recursive: true });
  database = await openDatabase();
  const env = environment(database.url);
  const { status, error } = spawnSync(node, ['dist/cli/migrate.js', '--odd'], {
    cwd: runtime,
    env,
    ...nobody,
  });
  expect(`migrate takes no arguments (it ended with ${error?.message ?? status})`, status === 2);
  execFileSync(node, ['dist/cli/migrate.js'], { cwd: runtime, env, ...nobody, stdio: 'inherit' });
  await tryIt(runtime, env);
  console.log(`The production install works with Node.js ${execFileSync(node, ['--version'])}`);
} finally {
  await database?.close();
  rmSync(home, { recursive: true, force: true });
}
