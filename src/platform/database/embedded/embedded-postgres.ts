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
  /** Port on 127.0.0.1; default a free one. */
  port?: number;
  settings?: Record<string, string>;
}

/**
 * PostgreSQL server for machines with only Node.js. It listens on loopback only, with a random password, and locks its
 * folder. It outlives a killed Node.js; the next start stops it cleanly first.
 */
export class EmbeddedPostgresServer {
  private stopping: Promise<void> | undefined;
  private readonly stopAtExit = (): void => this.postmaster.stopAtExit();

  private constructor(
    /** postgres://user:password@127.0.0.1:port/audit */
    readonly url: string,
    private readonly postmaster: Postmaster,
    private readonly lock: FolderLock,
  ) {
    process.once('exit', this.stopAtExit);
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
    // A process stopped during the start leaves no server running.
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
      return new EmbeddedPostgresServer(`${server}/${DATABASE}`, postmaster, lock);
    } catch (error) {
      await postmaster?.stop().catch(() => undefined); // the first fault is reported
      await lock.release();
      throw error;
    } finally {
      process.off('exit', giveUp);
    }
  }

  /** Stops the server with everything on disk; repeatable. */
  stop(): Promise<void> {
    this.stopping ??= this.stopOnce();
    return this.stopping;
  }

  private async stopOnce(): Promise<void> {
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

async function launch(
  postmaster: Postmaster,
  { port: fixedPort, settings = {}, log }: EmbeddedPostgresOptions,
): Promise<number> {
  for (let attempt = 1; ; attempt += 1) {
    const port = fixedPort ?? (await findFreePort());
    await postmaster.configure(port, settings);
    const { succeeded, output } = await postmaster.start();
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

/** Finds a free port on 127.0.0.1, which another process may take first. */
export async function findFreePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}
