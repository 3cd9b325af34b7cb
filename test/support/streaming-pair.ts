import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findFreePort } from '../../src/database/embedded-port';

/** A primary and its streaming standby, made with PostgreSQL's own programs. */
export interface StreamingPair {
  primaryUrl: string;
  standbyUrl: string;
  /** Stops the standby without a word (immediate); `startStandby` brings it back. */
  stopStandby(): void;
  startStandby(): void;
  stop(): void;
}

const WARNING = `
******************************************************************************
*  THE STREAMING REPLICA IS NOT TESTED: no pg_basebackup under               *
*  /usr/lib/postgresql (Debian: apt-get install postgresql).                 *
******************************************************************************
`;
const INSTALLED = '/usr/lib/postgresql';
/** Nobody: PostgreSQL refuses to run as root. */
const NOBODY = 65534;

/** `describe` for specs that need PostgreSQL's programs; skipped loudly without them, a failure with CI=true. */
export function describeWithPostgresPrograms(): jest.Describe {
  if (programs()) return describe;
  if (process.env['CI'] === 'true') throw new Error('CI=true needs the package postgresql');
  process.stderr.write(WARNING);
  return describe.skip;
}

/** The folder of the newest installed version that has all of them. */
function programs(): string | undefined {
  if (!existsSync(INSTALLED)) return undefined;
  const folders = readdirSync(INSTALLED)
    .sort((a, b) => Number(b) - Number(a))
    .map((version) => join(INSTALLED, version, 'bin'));
  return folders.find((folder) =>
    ['initdb', 'pg_ctl', 'pg_basebackup'].every((name) => existsSync(join(folder, name))),
  );
}

/** Some seconds. The two listen on 127.0.0.1 and let in everybody who asks there. */
export async function startStreamingPair(): Promise<StreamingPair> {
  const bin = programs() ?? '';
  const home = mkdtempSync(join(tmpdir(), 'audit-streaming-'));
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) chownSync(home, NOBODY, NOBODY);
  chmodSync(home, 0o700);
  const run = (name: string, ...parameters: string[]) =>
    execFileSync(join(bin, name), parameters, {
      ...(isRoot ? { uid: NOBODY, gid: NOBODY } : {}),
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
  run('initdb', '-D', primary, '-U', 'audit', '-A', 'trust', '-E', 'UTF8', '--no-sync');
  start(primary);
  run('pg_basebackup', '-d', url(primary), '-D', standby, '-R', '-X', 'stream', '-c', 'fast');
  start(standby);
  return {
    primaryUrl: url(primary),
    standbyUrl: url(standby),
    stopStandby: () => stop(standby),
    startStandby: () => start(standby),
    stop: () => {
      quietly(() => stop(standby));
      quietly(() => stop(primary));
      rmSync(home, { recursive: true, force: true });
    },
  };
}
