import { type ChildProcess, spawn, type StdioOptions } from 'node:child_process';
import { once } from 'node:events';
import { tokenFor } from '../integration/service.fixture';
import { until } from '../integration/until.fixture';
import { findFreePort } from '../../src/platform/database/embedded/embedded-postgres';

const SECRET = 'the-secret-of-services-that-specs-start';
/** Longer than the header of a request may be: 1000 of them are 2 MB of log, more than any pipe holds. */
const LONG_PATH = `/api/v1/${'x'.repeat(2000)}`;

/** A process of the service whose standard output is the spec's to read, or not; it is found by its port, not its log. */
export class BareProcess {
  private stderr = '';
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;

  private constructor(
    readonly child: ChildProcess,
    readonly url: string,
  ) {
    this.exited = once(child, 'exit').then(([code, signal]) => ({
      code: code as number | null,
      signal: signal as NodeJS.Signals | null,
    }));
    child.stderr?.on('data', (chunk: Buffer) => (this.stderr += chunk.toString()));
  }

  static async spawn(
    program: string,
    env: Record<string, string>,
    stdio: StdioOptions = ['ignore', 'pipe', 'pipe'],
  ): Promise<BareProcess> {
    const port = await findFreePort();
    const child = spawn(process.execPath, [program], {
      stdio,
      env: {
        PATH: process.env.PATH,
        NODE_ENV: 'test',
        HOST: '127.0.0.1',
        PORT: String(port),
        LOG_LEVEL: 'trace',
        AUTH_JWT_SECRET: SECRET,
        SHUTDOWN_TIMEOUT_MS: '1000',
        ...env,
      },
    });
    return new BareProcess(child, `http://127.0.0.1:${port}`);
  }

  /** What it wrote to standard error. */
  get complaints(): string {
    return this.stderr;
  }

  /** Resolves once it serves. */
  async ready(): Promise<this> {
    await until(async () => (await this.status('/health/ready')) === 200);
    return this;
  }

  /** The status of an answer; undefined while nothing answers. */
  async status(path: string, token?: string): Promise<number | undefined> {
    const headers = new Headers(token === undefined ? {} : { authorization: `Bearer ${token}` });
    const response = await fetch(`${this.url}${path}`, { headers }).catch(() => undefined);
    await response?.arrayBuffer();
    return response?.status;
  }

  /** Has it log megabytes. */
  async talk(requests = 1000): Promise<void> {
    for (let sent = 0; sent < requests; sent += 20) {
      await Promise.all(Array.from({ length: 20 }, () => this.status(LONG_PATH)));
    }
  }

  async token(): Promise<string> {
    return tokenFor();
  }

  end(signal: NodeJS.Signals = 'SIGTERM'): BareProcess['exited'] {
    this.child.kill(signal);
    return this.exited;
  }
}
