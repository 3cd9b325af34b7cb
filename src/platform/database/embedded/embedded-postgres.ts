import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { Client } from 'pg';
import { findBinaries } from './binaries';
import { Postmaster, USER } from './postmaster';
import { prepareDataDirectory, reachableBinaries } from './data-directory';
import { FolderLock } from './folder-lock';

const DATABASE = 'audit';
const PORT_ATTEMPTS = 10;
/** Attempts for about 90 s: a statement may outlive its killed server for a while. */
const LINGER_ATTEMPTS = 300;
const RETRY_DELAY_MS = 200;
const PORT_TAKEN = /could not bind|Address already in use/;

interface EmbeddedPostgresOptions {
  dataDir: string;
  log: (line: string) => void;
  /** Port on 127.0.0.1; by default a free port. */
  port?: number;
  settings?: Record<string, string>;
  /** Pauses before restarts of a server that ended by itself; false: no restarts. */
  restarts?: Partial<RestartPauses> | false;
  /** Logs lines that an operator should see; default `log`. */
  warn?: (line: string) => void;
}

/** Interval of checks, which read two small files on Linux, and run a program on other systems. */
const CHECK_INTERVAL_MS = process.platform === 'linux' ? 1000 : 5000;
/** Window in which restarts lengthen the pauses. */
const RESTART_WINDOW_MS = 10 * 60_000;

/** First and longest pause after a restart; each restart in the window doubles the pause. */
interface RestartPauses {
  firstPauseMs: number;
  longestPauseMs: number;
}

/** Pauses between attempts: a fault may pass (a full disk, a missing volume), and a permanent one must cost little. */
const PAUSES: RestartPauses = { firstPauseMs: 1000, longestPauseMs: 60_000 };

/**
 * PostgreSQL server for machines with only Node.js. It listens on loopback, with a random password, and locks its
 * folder. It survives when Node.js is killed; the next start stops it first. A server that ends by itself, for example
 * killed for its memory, is restarted on the same port until that succeeds: its log has every acknowledged commit.
 */
export class EmbeddedPostgresServer {
  private stopping: Promise<void> | undefined;
  private restarting: Promise<void> | undefined;
  private readonly restartsMs: number[] = [];
  private nextRestartMs = -Infinity;
  /** True when the last start has failed. */
  private isDown = false;
  private readonly checking: NodeJS.Timeout | undefined;
  private readonly stopAtExit = (): void => this.postmaster.stopAtExit();

  private constructor(
    /** postgres://user:password@127.0.0.1:port/audit */
    readonly url: string,
    private readonly postmaster: Postmaster,
    private readonly lock: FolderLock,
    private readonly options: EmbeddedPostgresOptions & { port: number },
  ) {
    process.once('exit', this.stopAtExit);
    if (options.restarts === false) return;
    this.checking = setInterval(() => {
      this.restarting ??= this.restartIfEnded().finally(() => {
        this.restarting = undefined;
      });
    }, CHECK_INTERVAL_MS).unref();
  }

  /**
   * Starts the server and creates a missing data folder and database; about a second the first time.
   * @throws Error with advice, or with the end of the server's log.
   */
  static async start(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgresServer> {
    const found = await findBinaries();
    const directory = await prepareDataDirectory(options.dataDir, options.log);
    const binaries = await reachableBinaries(found, directory.account, options.log);
    const lock = await FolderLock.acquire(directory.home);
    let postmaster: Postmaster | undefined;
    // A process that ends during the start must not leave a running server.
    const giveUp = (): void => postmaster?.stopAtExit();
    process.once('exit', giveUp);
    try {
      const isDurable = options.settings?.['fsync'] !== 'off';
      postmaster = await Postmaster.open(directory, binaries, isDurable);
      await endFormerServer(postmaster, options.log);
      const port = await launch(postmaster, options);
      const server = `postgres://${USER}:${await postmaster.password()}@127.0.0.1:${port}`;
      await ensureDatabase(`${server}/postgres`);
      options.log(
        `PostgreSQL ${binaries.version.split('-')[0]} listens on 127.0.0.1:${port}, data in ${postmaster.folder}`,
      );
      const url = `${server}/${DATABASE}`;
      return new EmbeddedPostgresServer(url, postmaster, lock, { ...options, port });
    } catch (error) {
      await postmaster?.stop().catch(() => undefined); // the first fault is reported
      await lock.release();
      throw error;
    } finally {
      process.off('exit', giveUp);
    }
  }

  /** Stops the server with everything on disk; may be called again. */
  stop(): Promise<void> {
    this.stopping ??= this.stopOnce();
    return this.stopping;
  }

  /** Never rejects. */
  private async restartIfEnded(): Promise<void> {
    const { warn = this.options.log } = this.options;
    try {
      const nowMs = performance.now();
      if (nowMs < this.nextRestartMs || (await this.postmaster.isRunning())) return;
      if (this.stopping) return;
      while (nowMs - (this.restartsMs[0] ?? nowMs) > RESTART_WINDOW_MS) this.restartsMs.shift();
      this.restartsMs.push(nowMs);
      const what = this.isDown
        ? 'PostgreSQL is still down: starting it'
        : 'PostgreSQL has ended without being told to: starting it again';
      warn(`${what} (attempt ${this.restartsMs.length} in ten minutes).`);
      await this.postmaster.patchPidFile();
      await launch(this.postmaster, this.options, !this.isDown);
      this.isDown = false;
      this.pause();
      warn('PostgreSQL runs again, with every acknowledged commit.');
    } catch (error) {
      this.isDown = true;
      const seconds = Math.ceil(this.pause() / 1000);
      const reason = error instanceof Error ? error.message : String(error);
      warn(
        `PostgreSQL could not be started again, and is tried again in ${seconds} s. The log of the one that ended is ` +
          `server.log.1 beside ${this.postmaster.folder}. ${reason}`,
      );
    }
  }

  /** Sets the time of the next restart; returns the pause before it in milliseconds. */
  private pause(): number {
    const { firstPauseMs, longestPauseMs } = { ...PAUSES, ...(this.options.restarts || {}) };
    const pauseMs = Math.min(longestPauseMs, firstPauseMs * 2 ** (this.restartsMs.length - 1));
    this.nextRestartMs = performance.now() + pauseMs;
    return pauseMs;
  }

  private async stopOnce(): Promise<void> {
    clearInterval(this.checking);
    await this.restarting;
    await this.postmaster.stop();
    process.off('exit', this.stopAtExit);
    await this.lock.release();
  }
}

/** Stops the server of a killed run, or neutralizes its lock file. */
async function endFormerServer(postmaster: Postmaster, log: (line: string) => void): Promise<void> {
  if (await postmaster.isRunning()) {
    log('The last run was killed and its PostgreSQL still runs: stopping that one first.');
    await postmaster.stop();
  }
  await postmaster.patchPidFile();
}

/** @param keepsLog true keeps the log of the previous server; false replaces the log of a failed start. */
async function launch(
  postmaster: Postmaster,
  { port: fixedPort, settings = {}, log }: EmbeddedPostgresOptions,
  keepsLog = true,
): Promise<number> {
  for (let attempt = 1; ; attempt += 1) {
    const port = fixedPort ?? (await findFreePort());
    await postmaster.configure(port, settings);
    const { succeeded, output } = await postmaster.start(keepsLog && attempt === 1);
    if (succeeded) return port;
    // Another process took the port, or processes of a killed server are still ending.
    const isPortTaken = fixedPort === undefined && PORT_TAKEN.test(output);
    const isLingering = output.includes('pre-existing shared memory block');
    const attempts = isLingering ? LINGER_ATTEMPTS : isPortTaken ? PORT_ATTEMPTS : 1;
    if (attempt >= attempts)
      throw new Error(`PostgreSQL in ${postmaster.folder} did not start:\n${output}`);
    if (isLingering && attempt === 1) log('Waiting for processes of the killed PostgreSQL to end.');
    await new Promise((resolve) => setTimeout(resolve, RETRY_DELAY_MS));
  }
}

async function ensureDatabase(url: string): Promise<void> {
  const client = new Client({ connectionString: url, ssl: false, connectionTimeoutMillis: 30_000 });
  await client.connect();
  try {
    const { rowCount } = await client.query('SELECT FROM pg_database WHERE datname = $1', [
      DATABASE,
    ]);
    if (rowCount === 0) await client.query(`CREATE DATABASE ${DATABASE}`);
  } finally {
    await client.end();
  }
}

/** Finds a free port on 127.0.0.1, which another process may still take. */
export async function findFreePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}
