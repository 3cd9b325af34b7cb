import { transformFileSync } from '@swc/core';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { Client } from 'pg';
import {
  EmbeddedPostgresServer,
  findFreePort,
} from '../../src/platform/database/embedded/embedded-postgres';

const SOURCES = resolve(__dirname, '../../src/platform/database/embedded');
const isRoot = process.geteuid?.() === 0;
const itAsRoot = isRoot ? it : it.skip;
const itOnLinux = process.platform === 'linux' ? it : it.skip;

let base: string;
let dataDir: string;
let lines: string[];
const children = new Set<ChildProcess>();

const log = (line: string): number => lines.push(line);
const clusterFile = (name: string): string => join(dataDir, 'postgres', 'data', name);
const start = (settings?: Record<string, string>): Promise<EmbeddedPostgresServer> =>
  EmbeddedPostgresServer.start({ dataDir, log, ...(settings ? { settings } : {}) });

async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

/** A Node.js process of its own that starts the server, then runs `then`; it is there to be killed. */
function startElsewhere(then: string): ChildProcess {
  const script = `process.on("SIGTERM", () => process.exit(0)); require(${JSON.stringify(join(base, 'compiled/embedded-postgres.js'))}).EmbeddedPostgresServer
    .start({ dataDir: ${JSON.stringify(dataDir)}, log: () => undefined })
    .then(async (server) => { ${then} }, (error) => { console.log('FAILED ' + error.message); });`;
  const child = spawn(process.execPath, ['-e', script], {
    env: { ...process.env, NODE_PATH: resolve(__dirname, '../../node_modules') },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.add(child);
  return child;
}

async function firstLine(child: ChildProcess): Promise<string> {
  if (!child.stdout) throw new Error('no output');
  for await (const line of createInterface(child.stdout)) return line;
  return '';
}

async function kill(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((next) => setTimeout(next, 10));
}

const serverPid = async (): Promise<number> =>
  Number.parseInt(await readFile(clusterFile('postmaster.pid'), 'utf8'), 10);

/** A number without a process; one that waits to be reaped counts as gone. */
async function hasEnded(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return status === '' || / Z /.test(status);
}

const HANG = `console.log(server.url); setInterval(() => undefined, 1000);`;

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'audit-server-embedded-'));
  await chmod(base, 0o755); // as root, PostgreSQL runs as somebody else, who has to get in
  await mkdir(join(base, 'compiled'));
  for (const name of await readdir(SOURCES)) {
    if (!/^[a-z-]+\.ts$/.test(name)) continue;
    const { code } = transformFileSync(join(SOURCES, name), {
      swcrc: false,
      module: { type: 'commonjs' },
      jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
    });
    await writeFile(join(base, 'compiled', name.replace(/ts$/, 'js')), code);
  }
});

beforeEach(() => {
  lines = [];
});

afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  await rm(base, { recursive: true, force: true, maxRetries: 10 });
});

describe('an embedded server', () => {
  // One folder for all, in order: making a cluster takes a second.
  beforeAll(() => {
    dataDir = join(base, "data with space and 'quote'");
  });

  const restarts = { firstPauseMs: 1, longestPauseMs: 10 };
  const countOf = (text: string): number => lines.filter((line) => line.includes(text)).length;

  it('is started again on its port when it is killed, as often as that happens', async () => {
    const server = await EmbeddedPostgresServer.start({ dataDir, log, restarts });
    for (let time = 1; time <= 6; time += 1) {
      process.kill(await serverPid(), 'SIGKILL');
      await until(() => Promise.resolve(countOf('runs again') === time));
      expect(countOf(`starting it again (attempt ${time} in ten minutes)`)).toBe(1);
      expect(await query(server.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    }
    await server.stop();
  });

  it('comes back when what prevents its start has passed, and the log of the one that ended is kept', async () => {
    const server = await EmbeddedPostgresServer.start({ dataDir, log, restarts });
    await query(server.url, 'CREATE TABLE acknowledged ()');
    const pid = await serverPid();
    await rename(clusterFile('pg_wal'), clusterFile('pg_wal.away'));
    process.kill(pid, 'SIGKILL');
    await until(() => Promise.resolve(countOf('could not be started again') === 6));
    await rename(clusterFile('pg_wal.away'), clusterFile('pg_wal'));
    await until(() => Promise.resolve(countOf('runs again') === 1));
    expect(await query(server.url, `SELECT to_regclass('acknowledged') AS found`)).toEqual([
      { found: 'acknowledged' },
    ]);
    expect(countOf('has ended without being told to')).toBe(1);
    const former = await readFile(join(dataDir, 'postgres', 'server.log.1'), 'utf8');
    expect(former).toContain(`[${pid}] LOG:  starting PostgreSQL`);
    await server.stop();
  });

  it('waits longer after each restart that fails', async () => {
    const pauses = { firstPauseMs: 2000, longestPauseMs: 3000 };
    const server = await EmbeddedPostgresServer.start({ dataDir, log, restarts: pauses });
    await rename(clusterFile('pg_wal'), clusterFile('pg_wal.away'));
    process.kill(await serverPid(), 'SIGKILL');
    await until(() => Promise.resolve(countOf('could not be started again') === 2));
    const seconds = lines.flatMap((line) => /tried again in (\d) s/.exec(line)?.[1] ?? []);
    expect(seconds).toEqual(['2', '3']);
    await rename(clusterFile('pg_wal.away'), clusterFile('pg_wal'));
    await server.stop();
  });

  it('is durable, speaks UTF-8 and UTC, and rejects connections without the password', async () => {
    const server = await start();
    expect(server.url).toMatch(/^postgres:\/\/audit:[\w-]{32}@127\.0\.0\.1:\d+\/audit$/);
    const [settings] = await query(
      server.url,
      `SELECT current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS commit,
        current_setting('server_encoding') AS encoding, current_setting('timezone') AS timezone,
        current_setting('listen_addresses') AS addresses,
        current_setting('unix_socket_directories') AS sockets, lower('ÄÉ') AS lower`,
    );
    expect(settings).toEqual({
      fsync: 'on',
      commit: 'on',
      encoding: 'UTF8',
      timezone: 'UTC',
      addresses: '127.0.0.1',
      sockets: '',
      lower: 'äé',
    });
    const stranger = new URL(server.url);
    stranger.password = 'guess';
    await expect(query(stranger.href, 'SELECT 1')).rejects.toMatchObject({ code: '28P01' });
    const { mode } = await stat(clusterFile('audit-server.password'));
    expect(mode & 0o777).toBe(0o600);
    await query(server.url, 'CREATE TABLE kept (number integer)');
    await server.stop();
  });

  it('keeps its data over a restart, and stops once however often it is asked', async () => {
    const first = await start();
    await query(first.url, 'INSERT INTO kept VALUES (1)');
    const pid = await serverPid();
    await Promise.all([first.stop(), first.stop()]);
    await first.stop();
    expect(await hasEnded(pid)).toBe(true);
    const second = await start();
    expect(await query(second.url, 'SELECT number FROM kept')).toEqual([{ number: 1 }]);
    await second.stop();
  });

  it('refuses a second process on the same folder and leaves the first alone', async () => {
    const server = await start();
    expect(await firstLine(startElsewhere(HANG))).toMatch(
      new RegExp(`^FAILED The data in .* in use by process ${process.pid}\\b.*DATA_DIR`),
    );
    await expect(start()).rejects.toThrow('is in use by process');
    expect(await query(server.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    await server.stop();
  });

  itOnLinux('ends with a process that exits without stopping it', async () => {
    const child = startElsewhere(`console.log('up'); setTimeout(() => process.exit(0), 10);`);
    const exited = once(child, 'exit');
    await firstLine(child);
    await exited;
    await until(async () => (await stat(clusterFile('postmaster.pid')).catch(() => 0)) === 0);
  });

  itOnLinux('ends with a process that exits while it starts', async () => {
    const child = startElsewhere(HANG);
    const exited = once(child, 'exit');
    await until(async () => (await stat(clusterFile('postmaster.pid')).catch(() => 0)) !== 0);
    child.kill('SIGTERM');
    await exited;
    await until(async () => (await stat(clusterFile('postmaster.pid')).catch(() => 0)) === 0);
  });

  itOnLinux(
    'takes over after kill -9 of Node.js alone, without losing a committed row',
    async () => {
      const child = startElsewhere(HANG);
      await query(await firstLine(child), 'INSERT INTO kept VALUES (2)');
      const orphan = await serverPid();
      await kill(child);
      expect(await hasEnded(orphan)).toBe(false);
      const server = await start();
      expect(lines).toContainEqual(expect.stringContaining('still runs'));
      expect(await hasEnded(orphan)).toBe(true);
      expect(await query(server.url, 'SELECT number FROM kept WHERE number = 2')).toHaveLength(1);
      await server.stop();
    },
  );

  itOnLinux('starts after kill -9 of both, also when another process got the number', async () => {
    const child = startElsewhere(HANG);
    await query(await firstLine(child), 'INSERT INTO kept VALUES (3)');
    await kill(child);
    const killed = await serverPid();
    process.kill(killed, 'SIGKILL');
    await until(() => hasEnded(killed));
    const { uid, gid } = await stat(clusterFile('.'));
    const bystander = spawn('sleep', ['600'], isRoot ? { uid, gid } : {});
    children.add(bystander);
    await once(bystander, 'spawn');
    const lockFile = await readFile(clusterFile('postmaster.pid'), 'utf8');
    await writeFile(clusterFile('postmaster.pid'), lockFile.replace(/^\d+/, String(bystander.pid)));
    const server = await start();
    expect(await query(server.url, 'SELECT number FROM kept WHERE number = 3')).toHaveLength(1);
    expect(bystander.exitCode ?? bystander.signalCode).toBeNull();
    await server.stop();
    bystander.kill();
  });

  it('shows the end of the log when it does not start, and can be started after that', async () => {
    await expect(start({ shared_buffers: 'plenty' })).rejects.toThrow(/did not start:[^]*plenty/);
    await (await start()).stop();
  });

  it('fails on a given port that is taken, and serves on one that is free', async () => {
    const busy = createServer().listen(0, '127.0.0.1');
    await once(busy, 'listening');
    const address = busy.address();
    const port = typeof address === 'object' && address ? address.port : 0;
    const startOn = (chosen: number): Promise<EmbeddedPostgresServer> =>
      EmbeddedPostgresServer.start({ dataDir, log, port: chosen });
    await expect(startOn(port)).rejects.toThrow(/Address already in use/);
    busy.close();
    const free = await findFreePort();
    const server = await startOn(free);
    expect(new URL(server.url).port).toBe(String(free));
    await server.stop();
  });

  it('says so when the data are of another major version', async () => {
    const version = await readFile(clusterFile('PG_VERSION'), 'utf8');
    await writeFile(clusterFile('PG_VERSION'), '12\n');
    await expect(start()).rejects.toThrow(
      /holds data of PostgreSQL 12, but the embedded one is 18/,
    );
    await writeFile(clusterFile('PG_VERSION'), version);
    await (await start()).stop();
  });
});

describe('a folder that is being made', () => {
  it('is made anew when the process was killed in the middle', async () => {
    dataDir = join(base, 'killed');
    const child = startElsewhere(HANG);
    const home = join(dataDir, 'postgres');
    const drafts = async (): Promise<string[]> =>
      (await readdir(home).catch(() => [])).filter((name) => name.startsWith('data.new-'));
    // The draft's own PG_VERSION is among the first things that initdb writes.
    await until(async () => {
      const [draft = ''] = await drafts();
      const made: string[] = await readdir(join(home, draft)).catch(() => []);
      return made.includes('PG_VERSION');
    });
    await kill(child);
    expect(await readdir(home)).not.toContain('data');
    const server = await start({ fsync: 'off' });
    expect(await drafts()).toEqual([]);
    expect(await query(server.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    await server.stop();
  });

  itAsRoot('is elsewhere when the user of PostgreSQL cannot reach it', async () => {
    const closed = join(base, 'closed');
    await mkdir(closed, { mode: 0o700 });
    dataDir = join(closed, 'data');
    const first = await start({ fsync: 'off' });
    await query(first.url, 'CREATE TABLE kept ()');
    await first.stop();
    const home = (await readFile(join(dataDir, 'postgres.location'), 'utf8')).trim();
    expect(lines).toContainEqual(expect.stringContaining(`the data of PostgreSQL are in ${home}`));
    const second = await start({ fsync: 'off' });
    expect(await query(second.url, `SELECT to_regclass('kept') AS kept`)).toEqual([
      { kept: 'kept' },
    ]);
    await second.stop();
    await rm(home, { recursive: true });
    await expect(start()).rejects.toThrow('nothing is there any more');
  });
});
