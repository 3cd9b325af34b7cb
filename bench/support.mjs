// What the benchmarks share: databases, servers, tokens and events.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SignJWT } from 'jose';
import pg from 'pg';

export { load } from './load.mjs';
export { allResults, interleaved, report } from './report.mjs';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const require = createRequire(import.meta.url);
const SECRET = 'bench-secret-bench-secret-bench-secret';

/** A database of its own: on BENCH_DATABASE_URL's server, else on an embedded one (with fsync, as in production). */
export async function openDatabase() {
  if (process.env.BENCH_DATABASE_URL) {
    const name = `bench_${process.pid}`;
    const admin = new pg.Client({ connectionString: process.env.BENCH_DATABASE_URL });
    await admin.connect();
    await admin.query(`CREATE DATABASE ${name}`);
    const url = new URL(process.env.BENCH_DATABASE_URL);
    url.pathname = `/${name}`;
    const close = async () => {
      await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
      await admin.end();
    };
    return { url: url.href, close };
  }
  const { EmbeddedPostgresServer } = require(
    join(root, 'dist/platform/database/embedded/embedded-postgres.js'),
  );
  const dataDir = mkdtempSync(join(tmpdir(), 'audit-bench-'));
  const server = await EmbeddedPostgresServer.start({ dataDir, log: () => undefined });
  const close = async () => {
    await server.stop();
    rmSync(dataDir, { recursive: true, force: true });
  };
  return { url: server.url, close };
}

export async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  return port;
}

/** Starts a server process and waits until it is up: until it prints `sign`, or responds 200 at that path. */
export async function startProcess(script, sign, env) {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const child = spawn(
    process.execPath,
    [...(process.env.BENCH_NODE_FLAGS?.split(' ') ?? []), script],
    {
      cwd: root,
      env: { ...process.env, ...env, PORT: String(port), HOST: '127.0.0.1' },
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    },
  );
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`${script} ended (${code})`);
  });
  ended.catch(() => undefined); // once it is up, it ends by `stop`
  await Promise.race([ended, sign.startsWith('/') ? isReady(url + sign) : printed(child, sign)]);
  child.stdout.resume(); // a line for each request: read and dropped
  const stop = async () => {
    if (child.exitCode !== null) return;
    child.kill('SIGTERM');
    await once(child, 'exit');
  };
  /** Asks the script that --require has loaded into the process (BENCH_NODE_FLAGS): one message, one reply. */
  const ask = async () => {
    child.send({});
    const [reply] = await once(child, 'message');
    return reply;
  };
  return { url, pid: child.pid, ask, stop };
}

async function printed(child, sign) {
  let text = '';
  for await (const chunk of child.stdout.iterator({ destroyOnReturn: false })) {
    text += chunk;
    if (text.includes(sign)) return;
  }
}

async function isReady(url) {
  for (;;) {
    const response = await fetch(url).catch(() => undefined);
    if (response?.ok) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Our service as it ships, in the staging profile: JSON logs, and a pool of the same size as the reference's. */
export function startService(databaseUrl, env = {}) {
  return startProcess(join(root, 'dist/main.js'), '/health/ready', {
    ...env,
    NODE_ENV: 'staging',
    DATABASE_URL: databaseUrl,
    DATABASE_POOL_MAX: '10',
    AUTH_JWT_SECRET: SECRET,
  });
}

export function startReference(databaseUrl) {
  return startProcess(join(root, 'bench/reference-server.mjs'), 'ready', {
    DATABASE_URL: databaseUrl,
  });
}

/** The bytes of `url`, from memory, by `node` (node:http) or `express`. */
export function startBytes({ url, token: jwt, by }) {
  return startProcess(join(root, 'bench/bytes-server.mjs'), 'ready', {
    BYTES_URL: url,
    BYTES_TOKEN: jwt,
    BYTES_BY: by,
  });
}

/** A Redis of its own that keeps nothing on disk. */
export async function startRedis() {
  const port = await freePort();
  const child = spawn(
    'redis-server',
    ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'],
    { stdio: ['ignore', 'pipe', 'inherit'], cwd: tmpdir() },
  );
  await new Promise((resolve, reject) => {
    child.stdout.on('data', (chunk) => /ready to accept/i.test(String(chunk)) && resolve());
    child.once('exit', (code) => reject(new Error(`redis-server ended (${code})`)));
  });
  const stop = async () => {
    child.kill('SIGTERM');
    await once(child, 'exit');
  };
  return { url: `redis://127.0.0.1:${port}`, stop };
}

export function token(organizations, scope = 'audit:read audit:write') {
  return new SignJWT({ organizations, scope })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject('bench')
    .setExpirationTime('2h')
    .sign(new TextEncoder().encode(SECRET));
}

/** What a process holds in memory, on Linux. */
export function residentMb(pid) {
  const [, kb] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kb) / 1024;
}

/** An event as the benchmarks write it: about 700 bytes, as large as a CloudTrail record's core. */
export function sampleEvent(organizationId, index = 0) {
  return {
    organizationId,
    principalId: `user-${index % 97}`,
    action: 'fhirPatientRead',
    targetResourceType: 'Patient',
    targetResourceId: `pat-${index}`,
    status: 'success',
    outcomeDescription: 'Opened the chart',
    dataClassification: 'PHI',
    correlationId: `req-${index}`,
    sessionContext: {
      sessionId: `s-${index % 31}`,
      ipAddress: '198.51.100.7',
      userAgent: 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0',
    },
    metadata: { ward: 'B2', durationMs: 12.5, tags: ['a', 'b'], note: 'x'.repeat(200) },
  };
}

export async function withClient(url, work) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
