import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { findFreePort } from '../../src/platform/database/embedded/embedded-postgres';

/** A Redis to test against. One that was started for the caller holds nothing and is the caller's alone. */
export interface TestRedis {
  url: string;
  stop(): Promise<void>;
}

/** A Redis of the caller's own, to be treated badly. */
export interface PrivateRedis extends TestRedis {
  /** Ends it without a word (SIGKILL); resolves once it is gone. What it held is lost. */
  kill(): Promise<void>;
  /** Stops its process (SIGSTOP): the kernel still takes connections for it, but nothing is answered. */
  pause(): void;
  resume(): void;
  /** Starts it anew on the same port, empty; ends it first if it runs. */
  restart(): Promise<void>;
}

const START_ATTEMPTS = 5;

const WARNING = `
******************************************************************************
*  THE REDIS TESTS ARE SKIPPED: no TEST_REDIS_URL, no redis-server on PATH.  *
******************************************************************************
`;

/**
 * The Redis of TEST_REDIS_URL, else a `redis-server` from the PATH on a free port. Undefined, with a loud warning,
 * when there is neither; that is an error with CI=true, so that a build cannot pass without these tests.
 */
export async function startTestRedis(): Promise<TestRedis | undefined> {
  const given = process.env['TEST_REDIS_URL'];
  if (given) return { url: given, stop: () => Promise.resolve() };
  return isInstalled() ? startPrivateRedis() : reportMissing(WARNING);
}

/** `describe` for specs that start a private Redis; they are skipped as startTestRedis does without a `redis-server`. */
export function describeWithPrivateRedis(): jest.Describe {
  if (isInstalled()) return describe;
  reportMissing(WARNING.replace('no TEST_REDIS_URL, no', ' '.repeat(18) + 'no'));
  return describe.skip;
}

/** A `redis-server` from the PATH on a free port, with further settings as on its command line. */
export async function startPrivateRedis(...settings: string[]): Promise<PrivateRedis> {
  for (let attempt = 1; attempt <= START_ATTEMPTS; attempt += 1) {
    const server = new RedisServer(await findFreePort(), settings);
    if (await server.start()) return server;
  }
  throw new Error('redis-server did not start on any free port');
}

function isInstalled(): boolean {
  return spawnSync('redis-server', ['--version'], { env: process.env }).error === undefined;
}

function reportMissing(warning: string): undefined {
  if (process.env['CI'] === 'true') {
    throw new Error('CI=true needs a Redis: set TEST_REDIS_URL or install redis-server');
  }
  process.stderr.write(warning);
}

class RedisServer implements PrivateRedis {
  private process: ChildProcess | undefined;
  private readonly killWithUs = (): void => {
    this.process?.kill('SIGKILL');
  };

  constructor(
    private readonly port: number,
    private readonly settings: string[],
  ) {}

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** False when it ends before it is ready, as when somebody else took the port. */
  async start(): Promise<boolean> {
    const child = spawn(
      'redis-server',
      [
        ...['--port', String(this.port), '--bind', '127.0.0.1'],
        ...['--save', '', '--appendonly', 'no'],
        ...this.settings,
      ],
      { cwd: tmpdir(), env: process.env, stdio: ['ignore', 'pipe', 'ignore'] },
    );
    await once(child, 'spawn');
    this.process = child;
    process.once('exit', this.killWithUs);
    if (await becomesReady(child.stdout)) return true;
    await this.kill();
    return false;
  }

  async kill(): Promise<void> {
    const child = this.process;
    this.process = undefined;
    process.off('exit', this.killWithUs);
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL'); // ends a stopped process too; nothing is worth saving
    await exited;
  }

  stop(): Promise<void> {
    return this.kill();
  }

  pause(): void {
    this.process?.kill('SIGSTOP');
  }

  resume(): void {
    this.process?.kill('SIGCONT');
  }

  async restart(): Promise<void> {
    await this.kill();
    if (!(await this.start())) throw new Error(`redis-server did not start on port ${this.port}`);
  }
}

/** False when the output ends first. */
async function becomesReady(output: Readable): Promise<boolean> {
  for await (const line of createInterface(output)) {
    if (!/ready to accept connections/i.test(line)) continue;
    setImmediate(() => output.resume()); // leaving the loop pauses it, and a full pipe would block the server
    return true;
  }
  return false;
}
