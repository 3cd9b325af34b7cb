import { randomBytes } from 'node:crypto';
import { chown, mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Account } from './account';
import type { PostgresBinaries } from './binaries';
import { runCommand } from './command';
import type { DataDirectory } from './data-directory';

export const USER = 'audit';

const PASSWORD_FILE = 'audit-server.password';
const DRAFT_PREFIX = 'data.new-';

/** Keeps fsync and synchronous_commit on: acknowledged is durable. */
const SETTINGS: Record<string, string> = {
  listen_addresses: '127.0.0.1',
  // A socket's path is limited to 107 bytes; loopback with a password needs none.
  unix_socket_directories: '',
  password_encryption: 'scram-sha-256',
  max_connections: '100',
  shared_buffers: '128MB',
  // A statement over seven years of monthly partitions locks each of them with its indexes.
  max_locks_per_transaction: '1024',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_checkpoints: 'off',
};

/**
 * Creates a missing cluster under another name, so that an interrupted one is never taken for data.
 * @throws Error for data of another major version.
 */
export async function ensureCluster(
  directory: DataDirectory,
  binaries: PostgresBinaries,
  isDurable: boolean,
): Promise<string> {
  const folder = join(directory.home, 'data');
  for (const name of await readdir(directory.home)) {
    if (name.startsWith(DRAFT_PREFIX)) await removeDraft(join(directory.home, name));
  }
  const major = binaries.version.split('.')[0] ?? '';
  const found = await readFile(join(folder, 'PG_VERSION'), 'utf8').catch(notFound);
  if (found === undefined) await createCluster(directory, binaries, folder, isDurable);
  else if (found.trim() !== major) {
    throw new Error(
      `${folder} holds data of PostgreSQL ${found.trim()}, but the embedded one is ${major}. Move the folder away ` +
        `to start empty, or run a PostgreSQL ${found.trim()} on it and set DATABASE_URL.`,
    );
  }
  return folder;
}

export async function readPassword(folder: string): Promise<string> {
  return (await readFile(join(folder, PASSWORD_FILE), 'utf8')).trim();
}

/** Writes the whole configuration: a start is independent of earlier versions. */
export async function configure(
  directory: DataDirectory,
  folder: string,
  port: number,
  settings: Record<string, string>,
): Promise<void> {
  const lines = Object.entries({ ...SETTINGS, ...settings, port: String(port) }).map(
    ([name, value]) => `${name} = '${value.replaceAll("'", "''")}'\n`,
  );
  const text = `# Written at each start; ALTER SYSTEM changes survive.\n${lines.join('')}`;
  await replaceFile(join(folder, 'postgresql.conf'), text, directory.account);
}

/** Replaces a file atomically, with mode 0600 and the account's ownership, following no link. */
export async function replaceFile(
  path: string,
  text: string,
  account: Account | undefined,
): Promise<void> {
  const draft = `${path}.${randomBytes(6).toString('hex')}`;
  await writeFile(draft, text, { mode: 0o600, flag: 'wx' });
  if (account) await chown(draft, account.uid, account.gid);
  await rename(draft, path);
}

async function createCluster(
  directory: DataDirectory,
  binaries: PostgresBinaries,
  folder: string,
  isDurable: boolean,
): Promise<void> {
  // A new folder per attempt: the initdb of a killed process may still write to the last one.
  const draft = join(directory.home, `${DRAFT_PREFIX}${randomBytes(6).toString('hex')}`);
  const passwordFile = `${draft}.password`;
  await replaceFile(passwordFile, `${randomBytes(24).toString('base64url')}\n`, directory.account);
  await mkdir(draft, { mode: 0o700 });
  if (directory.account) await chown(draft, directory.account.uid, directory.account.gid);
  const { succeeded, output } = await runCommand(directory, binaries.initdb, [
    ...['--pgdata', draft, '--username', USER, '--pwfile', passwordFile],
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    // Code point order and PostgreSQL's own Unicode case mapping are the same on every system.
    ...['--no-locale', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'],
    '--no-instructions',
    ...(isDurable ? [] : ['--no-sync']),
  ]);
  if (!succeeded) {
    await removeDraft(draft);
    await rm(passwordFile, { force: true });
    throw new Error(
      `PostgreSQL could not create its data in ${directory.home}:\n${output}${advice(output)}`,
    );
  }
  await rename(passwordFile, join(draft, PASSWORD_FILE));
  await rename(draft, folder);
  if (isDurable) await syncFolder(directory.home);
}

function advice(output: string): string {
  if (!output.includes('could not look up effective user ID')) return '';
  return '\nThe user that runs the service needs an entry in /etc/passwd; or set DATABASE_URL.';
}

/** Retries, as an initdb that still runs adds files until it misses one. */
async function removeDraft(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
}

/** Prevents a power cut from undoing the renaming: the next start would delete the draft. */
async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return; // cannot open folders
  const handle = await open(path, 'r');
  await handle.sync().finally(() => handle.close());
}

function notFound(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}
