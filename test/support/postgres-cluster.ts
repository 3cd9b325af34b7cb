import { execFile } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, readFileSync } from 'node:fs';
import { chown, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client, type QueryResultRow } from 'pg';
import { findFreePort } from '../../src/platform/database/embedded/embedded-postgres';
import { until } from '../integration/until.fixture';
import { childrenOf, signalProcess } from './processes';
import { programs } from './streaming-pair';
import { SwitchableProxy } from './switchable-proxy';

/** PostgreSQL refuses to run as root; as root its programs run as the user `nobody`. */
const UNPRIVILEGED = 65534;
const USER = 'audit';
const DATABASE = 'postgres';
/** Small, and quick to notice and to repair a broken replication; nothing here has to survive a power cut. */
const SETTINGS = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  fsync: 'off',
  shared_buffers: '32MB',
  max_connections: '80',
  max_wal_senders: '6',
  wal_keep_size: '256MB',
  wal_retrieve_retry_interval: '100ms',
  autovacuum: 'off',
};

/** One server of a cluster: its data folder and its port stay the same over stops and starts. */
export class PostgresServer {
  private stopped: number[] = [];
  private readonly killWithUs = (): void => {
    this.thaw();
    try {
      const text = readFileSync(join(this.folder, 'postmaster.pid'), 'utf8');
      signalProcess(Number.parseInt(text, 10), 'SIGQUIT');
    } catch {
      // It does not run.
    }
  };

  constructor(
    private readonly run: (program: string, ...parameters: string[]) => Promise<void>,
    readonly folder: string,
    readonly port: number,
  ) {}

  get url(): string {
    return `postgres://${USER}@127.0.0.1:${this.port}/${DATABASE}`;
  }

  /** Starts it, and resolves once it answers. As a standby it receives from `source` (a proxy or a server). */
  async start(source?: { port: number }): Promise<void> {
    const receiving = source
      ? { primary_conninfo: `host=127.0.0.1 port=${source.port} user=${USER}` }
      : {};
    const options = Object.entries({ ...SETTINGS, ...receiving })
      .map(([name, value]) => `-c ${name}='${value}'`)
      .join(' ');
    const log = ['-l', `${this.folder}.log`, '-o', `-p ${this.port} ${options}`];
    process.once('exit', this.killWithUs);
    await this.run('pg_ctl', 'start', '-w', '-s', '-D', this.folder, ...log);
  }

  /** Starts it as a standby, whatever it was before; it follows `source` only as far as their pasts are the same. */
  async startAsStandby(source: { port: number }): Promise<void> {
    const signal = join(this.folder, 'standby.signal');
    await writeFile(signal, '');
    const { uid, gid } = await stat(this.folder);
    await chown(signal, uid, gid);
    await this.start(source);
  }

  /** Ends it at once ("immediate"), as a crash does: nothing more is written or sent. */
  async crash(): Promise<void> {
    this.thaw(); // a frozen process does not hear that it is to end
    process.off('exit', this.killWithUs);
    await this.run('pg_ctl', 'stop', '-s', '-D', this.folder, '-m', 'immediate');
  }

  /** Stops every process of it in its tracks: connections stay open, and nothing is answered. */
  async freeze(): Promise<void> {
    const postmaster = Number.parseInt(await readFile(`${this.folder}/postmaster.pid`, 'utf8'), 10);
    signalProcess(postmaster, 'SIGSTOP'); // it starts no more processes from now on
    this.stopped = [postmaster, ...(await childrenOf(postmaster))];
    for (const pid of this.stopped) signalProcess(pid, 'SIGSTOP');
  }

  thaw(): void {
    for (const pid of this.stopped.splice(0)) signalProcess(pid, 'SIGCONT');
  }

  /** Makes a primary of a standby, on a new timeline; resolves once it takes writes. */
  async promote(): Promise<void> {
    await this.run('pg_ctl', 'promote', '-w', '-s', '-D', this.folder);
  }

  /** Whether commits wait for a standby; sessions that run heed it at once. */
  async setSynchronous(isOn: boolean): Promise<void> {
    await this.query(`ALTER SYSTEM SET synchronous_standby_names = '${isOn ? '*' : ''}'`);
    await this.query('SELECT pg_reload_conf()');
  }

  /** The rows of a statement on a connection of its own. */
  async query<Row extends QueryResultRow>(text: string, values: unknown[] = []): Promise<Row[]> {
    const client = new Client({ connectionString: this.url });
    client.on('error', () => undefined);
    await client.connect();
    try {
      return (await client.query<Row>(text, values)).rows;
    } finally {
      await client.end();
    }
  }
}

/**
 * PostgreSQL servers on this machine: a primary, and a standby that receives over `replication`, a proxy at which
 * the stream can be cut, stalled and slowed. A failover exchanges the two.
 */
export class PostgresCluster {
  primary: PostgresServer;
  standby: PostgresServer;
  private copies = 0;

  private constructor(
    private readonly home: string,
    private readonly run: (program: string, ...parameters: string[]) => Promise<void>,
    servers: [PostgresServer, PostgresServer],
    readonly replication: SwitchableProxy,
  ) {
    [this.primary, this.standby] = servers;
  }

  /** Makes and starts both; some seconds. */
  static async start(): Promise<PostgresCluster> {
    const home = mkdtempSync(join(tmpdir(), 'audit-cluster-'));
    const isRoot = process.geteuid?.() === 0;
    if (isRoot) chownSync(home, UNPRIVILEGED, UNPRIVILEGED);
    chmodSync(home, 0o700);
    const run = async (program: string, ...parameters: string[]): Promise<void> => {
      await promisify(execFile)(join(programs() ?? '', program), parameters, {
        ...(isRoot ? { uid: UNPRIVILEGED, gid: UNPRIVILEGED } : {}),
        cwd: home,
        env: { PATH: process.env.PATH, HOME: home, LC_ALL: 'C', TZ: 'UTC' },
      });
    };
    const primary = new PostgresServer(run, join(home, 'one'), await findFreePort());
    const standby = new PostgresServer(run, join(home, 'two'), await findFreePort());
    const replication = await SwitchableProxy.open(primary.port);
    const cluster = new PostgresCluster(home, run, [primary, standby], replication);
    await run('initdb', '-D', primary.folder, '-U', USER, '-A', 'trust', '-E', 'UTF8', '--no-sync');
    await primary.start();
    await cluster.rebuildStandby();
    return cluster;
  }

  /** Makes the standby anew from the primary of now, whatever it was before, and starts it. */
  async rebuildStandby(): Promise<void> {
    const { primary, standby, replication } = this;
    replication.pointAt(primary.port);
    replication.restore();
    await this.stopQuietly(standby);
    await rm(standby.folder, { recursive: true, force: true });
    await this.copy(primary, standby.folder, '-R');
    await standby.start(replication);
    await this.untilStreaming();
  }

  /** Resolves once the standby receives what the primary writes. */
  async untilStreaming(): Promise<void> {
    await until(async () => {
      const found = await this.primary.query(
        `SELECT FROM pg_stat_replication WHERE state = 'streaming'`,
      );
      return found.length > 0;
    });
  }

  /** Resolves once the standby has replayed what the primary has written until now. */
  async untilCaughtUp(): Promise<void> {
    const [now] = await this.primary.query<{ at: string }>('SELECT pg_current_wal_lsn() AS at');
    await until(async () => {
      const [row] = await this.standby.query<{ isThere: boolean }>(
        `SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn AS "isThere"`,
        [now?.at],
      );
      return row?.isThere === true;
    });
  }

  /** Makes the standby the primary. The old one is left as it is, with whatever it has that the other has not. */
  async failOver(): Promise<void> {
    this.replication.cut();
    await this.standby.promote();
    await this.standby.setSynchronous(false);
    [this.primary, this.standby] = [this.standby, this.primary];
  }

  /** Takes a base backup of the primary; `restore` puts it in the place of the primary, on the same port. */
  async backUp(): Promise<() => Promise<void>> {
    this.copies += 1;
    const backup = join(this.home, `backup-${this.copies}`);
    const { primary } = this;
    await this.copy(primary, backup);
    return async () => {
      await this.stopQuietly(primary);
      await rename(primary.folder, join(this.home, `replaced-${this.copies}`));
      await rename(backup, primary.folder);
      await primary.start();
    };
  }

  /** Ends both and removes their data. */
  async stop(): Promise<void> {
    await this.stopQuietly(this.standby);
    await this.stopQuietly(this.primary);
    await this.replication.close();
    await rm(this.home, { recursive: true, force: true, maxRetries: 10 });
  }

  private async copy(from: PostgresServer, folder: string, ...options: string[]): Promise<void> {
    const copying = ['-D', folder, '-X', 'stream', '-c', 'fast', '--no-sync', ...options];
    await this.run('pg_basebackup', '-d', from.url, ...copying);
  }

  private async stopQuietly(server: PostgresServer): Promise<void> {
    await server.crash().catch(() => undefined); // it may not run
  }
}
