import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { findFreePort } from '../../src/database/embedded-port';

/** A Redis to test against. One that was started for the caller holds nothing and is the caller's alone. */
export interface TestRedis {
  url: string;
  stop(): Promise<void>;
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
  for (let attempt = 1; attempt <= START_ATTEMPTS; attempt += 1) {
    const started = await start(await findFreePort());
    if (started === 'not installed') return reportMissing();
    if (started) return started;
  }
  throw new Error('redis-server did not start on any free port');
}

function reportMissing(): undefined {
  if (process.env['CI'] === 'true') {
    throw new Error('CI=true needs a Redis: set TEST_REDIS_URL or install redis-server');
  }
  process.stderr.write(WARNING);
}

/** Undefined when it ends before it is ready, as when somebody else took the port. */
async function start(port: number): Promise<TestRedis | 'not installed' | undefined> {
  const settings = [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--save',
    '',
    '--appendonly',
    'no',
  ];
  const child = spawn('redis-server', settings, {
    cwd: tmpdir(),
    env: process.env,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  try {
    await once(child, 'spawn');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'not installed';
    throw error;
  }
  const exited = once(child, 'exit');
  const kill = (): boolean => child.kill('SIGKILL');
  process.once('exit', kill);
  if (!(await becomesReady(child.stdout))) {
    process.off('exit', kill);
    await exited;
    return undefined;
  }
  const stop = async (): Promise<void> => {
    process.off('exit', kill);
    child.kill('SIGTERM');
    await exited;
  };
  return { url: `redis://127.0.0.1:${port}`, stop };
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
