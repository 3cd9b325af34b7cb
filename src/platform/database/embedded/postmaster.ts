import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { readFile, rename } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import type { PostgresBinaries } from './binaries';
import { replaceFile } from './cluster';
import { type CommandResult, lastLines, runCommand } from './command';
import type { DataDirectory } from './data-directory';

/** Allows a checkpoint of all memory on a slow disk. */
const STOP_TIMEOUT_SECONDS = '60';
/** Allows unlimited replay of the log after a crash. */
const START_TIMEOUT_SECONDS = '86400';

/** Server of a data folder, run by pg_ctl. The caller holds the folder's lock. */
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

  /** Starts the server and waits for connections. A failure's output is the end of the server's log. */
  async start(): Promise<CommandResult> {
    await rename(this.logPath, `${this.logPath}.1`).catch(() => undefined); // absent at the first start
    await replaceFile(this.logPath, '', this.directory.account);
    const parameters = ['start', '--pgdata', this.folder, '--log', this.logPath];
    const { succeeded, output } = await this.control(...parameters, '-t', START_TIMEOUT_SECONDS);
    if (succeeded) return { succeeded, output };
    const log = await lastLines(this.logPath);
    return { succeeded, output: log === '' ? output : log };
  }

  /**
   * Stops a running server with everything written. A slow one is ended at once, which loses no commit.
   * @throws Error when even that fails.
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

  /** Signals the server without waiting, as this process ends. */
  stopAtExit(): void {
    try {
      const pid = Number.parseInt(readFileSync(this.pidPath, 'utf8'), 10);
      // Windows has no signals and would kill the process.
      if (pid > 0 && process.platform !== 'win32') process.kill(pid, 'SIGINT');
    } catch {
      // Already ended.
    }
  }

  /** Tells whether the lock file's process is this folder's server, not a later one with its number. */
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
   * Neutralizes the lock file of a killed server: PostgreSQL refuses to start while any process has its number, except
   * its parent, whose number is put in; by the rest it finds processes of the dead server.
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
