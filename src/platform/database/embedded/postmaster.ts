import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { chown, mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import type { PostgresBinaries } from './binaries';
import type { Account, DataDirectory } from './data-directory';

export const USER = 'audit';

const PASSWORD_FILE = 'audit-server.password';
const DRAFT_PREFIX = 'data.new-';
/** Time of a stop, enough for a checkpoint of all memory on a slow disk. */
const STOP_TIMEOUT_SECONDS = '60';
/** Time of a start, without a practical limit: replaying the log after a crash may take long. */
const START_TIMEOUT_SECONDS = '86400';

/** Settings of the server; fsync and synchronous_commit stay on, so that acknowledged events are durable. */
const SETTINGS: Record<string, string> = {
  listen_addresses: '127.0.0.1',
  // No socket in the file system, whose path is limited to 107 bytes: loopback with a password suffices.
  unix_socket_directories: '',
  password_encryption: 'scram-sha-256',
  max_connections: '100',
  shared_buffers: '128MB',
  // A statement about seven years of monthly partitions locks all of them and their indexes.
  max_locks_per_transaction: '1024',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_checkpoints: 'off',
};

/** Variables that the programs get: no secrets, and no PG* variables, which change defaults. */
const PASSED_ON = [
  'PATH',
  'LD_LIBRARY_PATH',
  'SystemRoot',
  'ComSpec',
  'TEMP',
  'TMP',
  'USERPROFILE',
  'APPDATA',
];

interface CommandResult {
  succeeded: boolean;
  output: string;
}

/** PostgreSQL in a data directory: its cluster, configuration and process. The caller holds the folder's lock. */
export class Postmaster {
  readonly folder: string;
  private readonly logPath: string;
  private readonly pidPath: string;

  private constructor(
    private readonly directory: DataDirectory,
    private readonly binaries: PostgresBinaries,
  ) {
    this.folder = join(directory.home, 'data');
    this.logPath = join(directory.home, 'server.log');
    this.pidPath = join(this.folder, 'postmaster.pid');
  }

  /**
   * Creates a missing cluster, under another name until it is complete: an interrupted one is never taken for data.
   * @throws Error for data of another major version.
   */
  static async open(
    directory: DataDirectory,
    binaries: PostgresBinaries,
    isDurable: boolean,
  ): Promise<Postmaster> {
    const postmaster = new Postmaster(directory, binaries);
    const { folder } = postmaster;
    for (const name of await readdir(directory.home)) {
      if (name.startsWith(DRAFT_PREFIX)) await removeDraft(join(directory.home, name));
    }
    const major = binaries.version.split('.')[0] ?? '';
    const found = (await readIfAny(join(folder, 'PG_VERSION')))?.trim();
    if (found === undefined) await postmaster.createCluster(isDurable);
    else if (found !== major) {
      throw new Error(
        `${folder} holds data of PostgreSQL ${found}, but the embedded one is ${major}. Move the folder away ` +
          `to start empty, or run a PostgreSQL ${found} on it and set DATABASE_URL.`,
      );
    }
    return postmaster;
  }

  async password(): Promise<string> {
    return (await readFile(join(this.folder, PASSWORD_FILE), 'utf8')).trim();
  }

  /** Writes the whole configuration, so that a start does not depend on earlier versions. */
  async configure(port: number, settings: Record<string, string>): Promise<void> {
    const lines = Object.entries({ ...SETTINGS, ...settings, port: String(port) }).map(
      ([name, value]) => `${name} = '${value.replaceAll("'", "''")}'\n`,
    );
    const text = `# Written at each start; ALTER SYSTEM changes survive.\n${lines.join('')}`;
    await this.replaceFile(join(this.folder, 'postgresql.conf'), text);
  }

  /**
   * Starts the server, and waits until it accepts connections. The output of a failure is the end of the server's log.
   * @param keepsLog true keeps the log of the previous server beside the new one.
   */
  async start(keepsLog: boolean): Promise<CommandResult> {
    if (keepsLog) await rename(this.logPath, `${this.logPath}.1`).catch(() => undefined); // absent at the first start
    await this.replaceFile(this.logPath, '');
    const parameters = ['start', '--pgdata', this.folder, '--log', this.logPath];
    const { succeeded, output } = await this.control(...parameters, '-t', START_TIMEOUT_SECONDS);
    if (succeeded) return { succeeded, output };
    const log = await lastLines(this.logPath);
    return { succeeded, output: log === '' ? output : log };
  }

  /**
   * Stops a running server with everything on disk. A slow server is ended at once, which loses no commit.
   * @throws Error when that fails as well.
   */
  async stop(): Promise<void> {
    for (const mode of ['fast', 'immediate']) {
      if (!(await this.isRunning())) return;
      await this.control('stop', '--pgdata', this.folder, '-m', mode, '-t', STOP_TIMEOUT_SECONDS);
    }
    if (await this.isRunning()) {
      throw new Error(
        `PostgreSQL in ${this.folder} cannot be stopped:\n${await lastLines(this.logPath)}`,
      );
    }
  }

  /** Signals the server to stop, without waiting for it: this process ends. */
  stopAtExit(): void {
    try {
      const pid = Number.parseInt(readFileSync(this.pidPath, 'utf8'), 10);
      // Windows has no signals and would kill the process.
      if (pid > 0 && process.platform !== 'win32') process.kill(pid, 'SIGINT');
    } catch {
      // The server has ended already.
    }
  }

  /** Tells whether the process of the lock file is this folder's server, and not a later process with its id. */
  async isRunning(): Promise<boolean> {
    const pid = await this.readPid();
    if (pid === undefined) return false;
    if (process.platform === 'win32') {
      return (await this.control('status', '--pgdata', this.folder)).succeeded; // asks a pipe of PostgreSQL
    }
    if (process.platform === 'linux') {
      const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      const [program = '', ...parameters] = line.split('\0');
      return basename(program) === 'postgres' && parameters.includes(this.folder);
    }
    const parameters = ['-ww', '-o', 'command=', '-p', String(pid)];
    const listed = await promisify(execFile)('ps', parameters).catch(() => ({ stdout: '' }));
    return listed.stdout.includes(`postgres -D ${this.folder}`);
  }

  /**
   * Neutralizes the lock file of a killed server: PostgreSQL refuses to start while a process has the id in it, unless
   * that is its parent, whose id is written into it. The other lines stay: by them it finds processes of the dead server.
   */
  async patchPidFile(): Promise<void> {
    if ((await this.readPid()) === undefined) return;
    const [, ...rest] = (await readFile(this.pidPath, 'utf8')).split('\n');
    const text = [process.pid, ...rest].join('\n');
    await this.replaceFile(this.pidPath, text);
  }

  private async readPid(): Promise<number | undefined> {
    const pid = Math.abs(Number.parseInt((await readIfAny(this.pidPath)) ?? '', 10));
    return pid > 0 ? pid : undefined;
  }

  private control(...parameters: string[]): Promise<CommandResult> {
    return this.run(this.binaries.pgCtl, [...parameters, '-w', '-s']);
  }

  private async createCluster(isDurable: boolean): Promise<void> {
    const { home, account } = this.directory;
    // Each attempt has a new folder: the initdb of a killed process may still write to the last one.
    const draft = join(home, `${DRAFT_PREFIX}${randomBytes(6).toString('hex')}`);
    const passwordFile = `${draft}.password`;
    await this.replaceFile(passwordFile, `${randomBytes(24).toString('base64url')}\n`);
    await mkdir(draft, { mode: 0o700 });
    if (account) await chown(draft, account.uid, account.gid);
    const { succeeded, output } = await this.run(this.binaries.initdb, [
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
        `PostgreSQL could not create its data in ${home}:\n${output}${advice(output)}`,
      );
    }
    await rename(passwordFile, join(draft, PASSWORD_FILE));
    await rename(draft, this.folder);
    if (isDurable) await syncFolder(home);
  }

  /**
   * Runs a program of PostgreSQL to its end, as the account of the directory. The output goes to a file: the server that
   * pg_ctl starts would inherit a pipe, which breaks when this process ends.
   */
  private async run(program: string, parameters: string[]): Promise<CommandResult> {
    const { home, account } = this.directory;
    const logPath = join(home, 'command.log');
    await rm(logPath, { force: true }); // may belong to another user, after a start as root
    const log = await open(logPath, 'wx', 0o600);
    try {
      const child = spawn(program, parameters, {
        cwd: home,
        env: environment(),
        stdio: ['ignore', log.fd, log.fd],
        // Ctrl-C in a terminal reaches the whole process group, and this process still has work to finish.
        detached: true,
        windowsHide: true,
        ...(account ? { uid: account.uid, gid: account.gid } : {}),
      });
      const [code] = (await once(child, 'exit')) as [number | null];
      return { succeeded: code === 0, output: await lastLines(logPath) };
    } catch (error) {
      throw new Error(`Cannot run ${program}${reason(error as NodeJS.ErrnoException, account)}`, {
        cause: error,
      });
    } finally {
      await log.close();
    }
  }

  /** Replaces a file atomically, with mode 0600 and the account as owner; follows no link. */
  private async replaceFile(path: string, text: string): Promise<void> {
    const { account } = this.directory;
    const draft = `${path}.${randomBytes(6).toString('hex')}`;
    await writeFile(draft, text, { mode: 0o600, flag: 'wx' });
    if (account) await chown(draft, account.uid, account.gid);
    await rename(draft, path);
  }
}

async function lastLines(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch(() => '');
  return text.trim().split('\n').slice(-15).join('\n');
}

function environment(): NodeJS.ProcessEnv {
  // C gives English messages, some of which are parsed.
  const passed: NodeJS.ProcessEnv = { LC_ALL: 'C', TZ: 'UTC' };
  for (const name of PASSED_ON)
    if (process.env[name] !== undefined) passed[name] = process.env[name];
  return passed;
}

function reason({ code, message }: NodeJS.ErrnoException, account: Account | undefined): string {
  if (code === 'ENOENT') {
    return ': the programs are made for glibc, which this system (such as Alpine) lacks. Set DATABASE_URL.';
  }
  if (code === 'EPERM' && account) {
    return ` as user ${account.name}: this root may not change users. Start the service as an ordinary user, or set DATABASE_URL.`;
  }
  return `: ${message}`;
}

function advice(output: string): string {
  if (!output.includes('could not look up effective user ID')) return '';
  return '\nThe user that runs the service needs an entry in /etc/passwd; or set DATABASE_URL.';
}

/** Removes a folder, with retries: an initdb that still runs adds files until it misses one. */
async function removeDraft(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
}

/** Writes a folder to disk, so that a power cut cannot undo a renaming: the next start would delete the draft. */
async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return; // has no handles of folders
  const handle = await open(path, 'r');
  await handle.sync().finally(() => handle.close());
}

async function readIfAny(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
    return undefined;
  });
}
