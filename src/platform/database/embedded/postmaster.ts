import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { readFile, rename } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import type { PostgresBinaries } from './binaries';
import { replaceFile } from './cluster';
import { type CommandResult, lastLines, runCommand } from './command';
import type { DataDirectory } from './data-directory';

/** Long enough for a checkpoint of everything in memory on a slow disk. */
const STOP_TIMEOUT_SECONDS = '60';
/** After a crash the log is replayed first, which is not limited. */
const START_TIMEOUT_SECONDS = '86400';

/** The server process of one data folder, started and stopped through pg_ctl. The caller holds the folder's lock. */
export class Postmaster {
  private readonly logPath: string;
  private readonly pidPath: string;

  constructor(
    private readonly directory: DataDirectory,
    private readonly binaries: PostgresBinaries,
    private readonly folder: string,
  ) {
    this.logPath = join(directory.home, 'server.log');
    this.pidPath = join(folder, 'postmaster.pid');
  }

  /** Starts the server and waits until it takes connections. The output of a failure is the end of the server's log. */
  async start(): Promise<CommandResult> {
    await rename(this.logPath, `${this.logPath}.1`).catch(() => undefined); // the first start has none
    await replaceFile(this.logPath, '', this.directory.account);
    const parameters = ['start', '--pgdata', this.folder, '--log', this.logPath];
    const { succeeded, output } = await this.control(...parameters, '-t', START_TIMEOUT_SECONDS);
    if (succeeded) return { succeeded, output };
    const log = await lastLines(this.logPath);
    return { succeeded, output: log === '' ? output : log };
  }

  /**
   * Stops the server if it runs: clients are disconnected, everything is written. One that takes too long is ended at
   * once, which loses nothing that was committed. Throws when even that fails.
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

  /** Signals the server to stop without waiting, as this process ends. */
  stopAtExit(): void {
    try {
      const pid = Number.parseInt(readFileSync(this.pidPath, 'utf8'), 10);
      // Windows has no signals: the process would be killed.
      if (pid > 0 && process.platform !== 'win32') process.kill(pid, 'SIGINT');
    } catch {
      // It is gone already.
    }
  }

  /** Whether the process of the lock file is a server of this folder, and not a later one with its number. */
  async isRunning(): Promise<boolean> {
    const pid = await this.readPid();
    if (pid === undefined) return false;
    if (process.platform === 'win32') {
      return (await this.control('status', '--pgdata', this.folder)).succeeded; // asks a pipe only PostgreSQL has
    }
    if (process.platform === 'linux') {
      const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      const [program = '', ...parameters] = line.split('\0');
      return basename(program) === 'postgres' && parameters.includes(this.folder);
    }
    const listed = await promisify(execFile)('ps', [
      '-ww',
      '-o',
      'command=',
      '-p',
      String(pid),
    ]).catch(() => ({ stdout: '' }));
    return listed.stdout.includes(`postgres -D ${this.folder}`);
  }

  /**
   * Makes the lock file of a killed server harmless. PostgreSQL refuses to start while any process has its number,
   * except its own parent, whose number is put in; by the rest of the file PostgreSQL finds processes of the dead
   * server.
   */
  async patchPidFile(): Promise<void> {
    if ((await this.readPid()) === undefined) return;
    const [, ...rest] = (await readFile(this.pidPath, 'utf8')).split('\n');
    const text = [process.pid, ...rest].join('\n');
    await replaceFile(this.pidPath, text, this.directory.account);
  }

  private async readPid(): Promise<number | undefined> {
    const text = await readFile(this.pidPath, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
      return '';
    });
    const pid = Math.abs(Number.parseInt(text, 10));
    return pid > 0 ? pid : undefined;
  }

  private control(...parameters: string[]): Promise<CommandResult> {
    return runCommand(this.directory, this.binaries.pgCtl, [...parameters, '-w', '-s']);
  }
}
