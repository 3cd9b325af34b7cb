import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { findFreePort } from '../../src/platform/database/embedded/embedded-postgres';

/** A primary and its streaming standby, made with PostgreSQL's own programs. */
export interface StreamingPair {
  primaryUrl: string;
  standbyUrl: string;
  /** Stops the standby without a word (immediate); `startStandby` brings it back. */
  stopStandby(): void;
  startStandby(): void;
  /** Stops every process of the standby in its tracks (SIGSTOP): its connection stays open and answers nothing. */
  freezeStandby(): void;
  thawStandby(): void;
  /** Makes the standby a primary of its own, on a new timeline; returns once it takes writes. The old primary goes on. */
  promoteStandby(): void;
  /** Stops the primary without a word (immediate). */
  stopPrimary(): void;
  startPrimary(): void;
  stop(): void;
}

/** How a pair is set up. */
export interface StreamingPairOptions {
  /** The primary's commits wait until the standby has flushed them; off unless given. */
  synchronous?: boolean;
}

const WARNING = `
******************************************************************************
*  THE STREAMING REPLICA IS NOT TESTED: no pg_basebackup under               *
*  /usr/lib/postgresql (Debian: apt-get install postgresql).                 *
******************************************************************************
`;
const INSTALLED = '/usr/lib/postgresql';
/** The user nobody: PostgreSQL refuses to run as root. */
const UNPRIVILEGED_UID = 65534;

/** `describe` for specs that need PostgreSQL's programs; skipped loudly without them, a failure with CI=true. */
export function describeWithPostgresPrograms(): jest.Describe {
  if (programs()) return describe;
  if (process.env['CI'] === 'true') throw new Error('CI=true needs the package postgresql');
  process.stderr.write(WARNING);
  return describe.skip;
}

/** The folder of the newest installed version that has all of the programs. */
export function programs(): string | undefined {
  if (!existsSync(INSTALLED)) return undefined;
  const folders = readdirSync(INSTALLED)
    .sort((a, b) => Number(b) - Number(a))
    .map((version) => join(INSTALLED, version, 'bin'));
  return folders.find((folder) =>
    ['initdb', 'pg_ctl', 'pg_basebackup'].every((name) => existsSync(join(folder, name))),
  );
}

/** Some seconds. The two listen on 127.0.0.1 and let in everybody who asks there. */
export async function startStreamingPair({
  synchronous = false,
}: StreamingPairOptions = {}): Promise<StreamingPair> {
  const bin = programs() ?? '';
  const home = mkdtempSync(join(tmpdir(), 'audit-streaming-'));
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) chownSync(home, UNPRIVILEGED_UID, UNPRIVILEGED_UID);
  chmodSync(home, 0o700);
  const run = (name: string, ...parameters: string[]) =>
    execFileSync(join(bin, name), parameters, {
      ...(isRoot ? { uid: UNPRIVILEGED_UID, gid: UNPRIVILEGED_UID } : {}),
      cwd: home,
      env: { PATH: process.env.PATH, HOME: home, LC_ALL: 'C' },
      stdio: 'ignore',
    });
  const [primary, standby] = [join(home, 'primary'), join(home, 'standby')];
  const ports = { [primary]: await findFreePort(), [standby]: await findFreePort() };
  const start = (folder: string) => {
    const options = [
      `-p ${ports[folder]} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''`,
      '-c fsync=off -c max_wal_senders=4 -c hot_standby=on -c max_connections=60',
    ].join(' ');
    run('pg_ctl', 'start', '-w', '-s', '-D', folder, '-l', `${folder}.log`, '-o', options);
  };
  const stop = (folder: string) => run('pg_ctl', 'stop', '-s', '-D', folder, '-m', 'immediate');
  const url = (folder: string) => `postgres://audit@127.0.0.1:${ports[folder]}/postgres`;
  const quietly = (work: () => void) => {
    try {
      work();
    } catch {
      // It was stopped already.
    }
  };
  const signalStandby = (signal: NodeJS.Signals) => {
    for (const pid of processesOf(standby)) quietly(() => process.kill(pid, signal));
  };
  run('initdb', '-D', primary, '-U', 'audit', '-A', 'trust', '-E', 'UTF8', '--no-sync');
  start(primary);
  run('pg_basebackup', '-d', url(primary), '-D', standby, '-R', '-X', 'stream', '-c', 'fast');
  start(standby);
  // Set after the copy was made: the standby, once promoted, waits for nobody.
  if (synchronous) await makeSynchronous(url(primary));
  return {
    primaryUrl: url(primary),
    standbyUrl: url(standby),
    stopStandby: () => stop(standby),
    startStandby: () => start(standby),
    freezeStandby: () => signalStandby('SIGSTOP'),
    thawStandby: () => signalStandby('SIGCONT'),
    promoteStandby: () => run('pg_ctl', 'promote', '-w', '-s', '-D', standby),
    stopPrimary: () => stop(primary),
    startPrimary: () => start(primary),
    stop: () => {
      signalStandby('SIGCONT'); // a frozen process does not hear that it is to end
      quietly(() => stop(standby));
      quietly(() => stop(primary));
      rmSync(home, { recursive: true, force: true });
    },
  };
}

/** Makes commits on this primary wait for any standby, and waits until there is one that they can wait for. */
async function makeSynchronous(primaryUrl: string): Promise<void> {
  const client = new Client({ connectionString: primaryUrl });
  await client.connect();
  try {
    await client.query(`ALTER SYSTEM SET synchronous_standby_names = '*'`);
    await client.query('SELECT pg_reload_conf()');
    for (;;) {
      const { rowCount } = await client.query(
        `SELECT FROM pg_stat_replication WHERE sync_state = 'sync'`,
      );
      if (rowCount) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  } finally {
    await client.end();
  }
}

/** The process ids of the server that runs in this data folder: its postmaster, and what that has started. */
function processesOf(folder: string): number[] {
  const file = join(folder, 'postmaster.pid');
  if (!existsSync(file)) return [];
  const postmaster = Number.parseInt(readFileSync(file, 'utf8'), 10);
  const children = readFileSync(`/proc/${postmaster}/task/${postmaster}/children`, 'utf8');
  return [postmaster, ...children.trim().split(' ').filter(Boolean).map(Number)];
}
