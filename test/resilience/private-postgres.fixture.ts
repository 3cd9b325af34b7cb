import {
  cp,
  chown,
  mkdtemp,
  chmod,
  readdir,
  readFile,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  EmbeddedPostgresServer,
  findFreePort,
} from '../../src/platform/database/embedded/embedded-postgres';
import { until } from '../integration/until.fixture';
import { childrenOf } from '../support/processes';

/** What is acknowledged survives a server that is ended at once, though not a power cut. */
const SETTINGS = { fsync: 'off', full_page_writes: 'off' };

/** A PostgreSQL of the caller's own, to be treated badly. It keeps its port and its data over restarts. */
export class PrivatePostgres {
  private server: EmbeddedPostgresServer | undefined;
  private paused: number[] = [];

  private constructor(
    private readonly dataDir: string,
    private readonly port: number,
    private readonly settings: Record<string, string>,
  ) {}

  static async start(settings: Record<string, string> = {}): Promise<PrivatePostgres> {
    return new PrivatePostgres(await newFolder(), await findFreePort(), settings).started();
  }

  get url(): string {
    if (!this.server) throw new Error('This PostgreSQL was never started');
    return this.server.url;
  }

  private async started(): Promise<this> {
    this.server = await EmbeddedPostgresServer.start({
      dataDir: this.dataDir,
      port: this.port,
      settings: { ...SETTINGS, ...this.settings },
      restarts: false,
      log: () => undefined,
    });
    return this;
  }

  /** Starts it again after `crash` or `halt`; its log is replayed. */
  async restart(): Promise<void> {
    await this.server?.stop(); // what is left of the last one: a lock on the folder
    await this.started();
  }

  /** Ends it at once ("immediate"): connections are cut, nothing is written any more. Resolves once it is gone. */
  async crash(): Promise<void> {
    const pid = await this.pid();
    process.kill(pid, 'SIGQUIT');
    await until(() => !isAlive(pid));
  }

  /** Stops all its processes as they are: connections stay, and new ones are taken by the kernel; nothing answers. */
  async pause(): Promise<void> {
    const pid = await this.pid();
    process.kill(pid, 'SIGSTOP'); // from now on it starts no others
    this.paused = [pid, ...(await childrenOf(pid))];
    for (const one of this.paused) process.kill(one, 'SIGSTOP');
  }

  /** Lets it go on after `pause`. */
  resume(): void {
    for (const pid of this.paused.splice(0)) process.kill(pid, 'SIGCONT');
  }

  /** Ends it in order and keeps its data. */
  async halt(): Promise<void> {
    await this.server?.stop();
  }

  /** Ends it and removes its data. */
  async remove(): Promise<void> {
    this.resume();
    await this.server?.stop();
    await rm(this.dataDir, { recursive: true, force: true, maxRetries: 10 });
  }

  /** A streaming replica of this server, which is stopped for the moment of copying its data. */
  async addReplica(): Promise<PrivatePostgres> {
    const { url } = this;
    await this.halt();
    const dataDir = await newFolder();
    await cp(join(this.dataDir, 'postgres'), join(dataDir, 'postgres'), { recursive: true });
    const [from, to] = [this.dataDir, dataDir].map((folder) => join(folder, 'postgres', 'data'));
    await ownAlike(from ?? '', to ?? '');
    await this.started();
    const { port, username, password } = new URL(url);
    const replica = new PrivatePostgres(dataDir, await findFreePort(), {
      ...this.settings,
      primary_conninfo: `host=127.0.0.1 port=${port} user=${username} password=${password}`,
      wal_retrieve_retry_interval: '200ms',
    });
    return replica.started();
  }

  private async pid(): Promise<number> {
    const text = await readFile(join(this.dataDir, 'postgres/data/postmaster.pid'), 'utf8');
    return Number.parseInt(text, 10);
  }
}

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'audit-server-resilience-'));
  await chmod(folder, 0o755); // as root, PostgreSQL runs as somebody else, who has to get in
  return folder;
}

/** Gives the copy of a data folder the owner and mode of the original, and makes a standby of it. */
async function ownAlike(original: string, copy: string): Promise<void> {
  const { uid, gid } = await stat(original);
  await writeFile(join(copy, 'standby.signal'), '');
  if (process.geteuid?.() === 0) await chownAll(copy, uid, gid);
  await chmod(copy, 0o700);
}

async function chownAll(folder: string, uid: number, gid: number): Promise<void> {
  await chown(folder, uid, gid);
  for (const entry of await readdir(folder, { recursive: true })) {
    await chown(join(folder, entry), uid, gid);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
