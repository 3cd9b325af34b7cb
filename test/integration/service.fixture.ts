import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, rm, symlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { type DevelopmentClaims, signDevelopmentToken } from '../../src/auth/development-token';

const ROOT = resolve(__dirname, '..', '..');
const SECRET = 'the-secret-of-services-that-specs-start';

/** What is kept of the output of a process. */
const MAX_OUTPUT_CHARACTERS = 5_000_000;
/** What a process writes when something went wrong that nobody handled. */
const UNHANDLED =
  /unhandled|uncaught|heap out of memory|MaxListenersExceeded|^\s+at .*node:internal/im;

/** A build of the service of its own, so that a spec needs no `dist` and disturbs none. */
export interface Build {
  main: string;
  remove(): Promise<void>;
}

/** Compiles `src` to a folder under `.data`; types are checked elsewhere. Takes some seconds. */
export async function buildService(): Promise<Build> {
  const home = join(ROOT, '.data', `test-service-${process.pid}-${randomBytes(3).toString('hex')}`);
  await mkdir(home, { recursive: true });
  // The build looks for config/ beside its own folder.
  await symlink(join(ROOT, 'config'), join(home, 'config'), 'dir');
  await symlink(join(ROOT, 'package.json'), join(home, 'package.json'));
  const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
  const dist = join(home, 'dist');
  const options = ['--noCheck', '--outDir', dist, '--tsBuildInfoFile', join(home, '.tsbuildinfo')];
  await promisify(execFile)(process.execPath, [tsc, '-p', 'tsconfig.build.json', ...options], {
    cwd: ROOT,
  });
  return {
    main: join(dist, 'main.js'),
    remove: () => rm(home, { recursive: true, force: true, maxRetries: 5 }),
  };
}

/** A running process of the service. */
export interface ServiceProcess {
  url: string;
  pid: number;
  /** Lines in which it tells of something that nobody handled; none, if all is well. */
  unhandled(): string[];
  /** The end of what it wrote. */
  output(): string;
  /** Sends a signal and resolves when the process is over. */
  end(signal: NodeJS.Signals): Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
}

/** Starts the service on a free port and resolves when it listens and has booted. */
export async function startServiceProcess(
  { main }: Build,
  databaseUrl: string,
  env: Record<string, string> = {},
  nodeOptions: string[] = [],
): Promise<ServiceProcess> {
  const child = spawn(process.execPath, [...nodeOptions, main], {
    cwd: ROOT,
    env: {
      PATH: process.env.PATH,
      NODE_ENV: 'test',
      HOST: '127.0.0.1',
      PORT: '0',
      LOG_LEVEL: 'info',
      LOG_FORMAT: 'json',
      DATABASE_URL: databaseUrl,
      AUTH_JWT_SECRET: SECRET,
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = once(child, 'exit').then(([code, signal]) => ({
    code: code as number | null,
    signal: signal as NodeJS.Signals | null,
  }));
  const stop = () => child.kill('SIGKILL');
  process.once('exit', stop);
  let output = '';
  const port = await new Promise<string>((resolvePort, reject) => {
    const read = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-MAX_OUTPUT_CHARACTERS);
      const match = /Listening on http:\/\/localhost:(\d+)/.exec(output);
      if (match?.[1]) resolvePort(match[1]);
    };
    child.stdout.on('data', read);
    child.stderr.on('data', read);
    exited.then(() => reject(new Error(`The service ended:\n${output.slice(-10_000)}`)), reject);
  });
  return {
    url: `http://127.0.0.1:${port}`,
    pid: child.pid ?? 0,
    unhandled: () => output.split('\n').filter((line) => UNHANDLED.test(line)),
    output: () => output.slice(-10_000),
    end: async (signal) => {
      child.kill(signal);
      const end = await exited;
      process.off('exit', stop);
      return end;
    },
  };
}

/** A token that services started here accept. */
export async function tokenFor(claims: Partial<DevelopmentClaims> = {}): Promise<string> {
  return signDevelopmentToken(
    { keys: { kind: 'secret', secret: SECRET }, algorithms: ['HS256'] },
    {
      subject: 'spec',
      organizations: ['*'],
      scopes: ['audit:read', 'audit:write'],
      expiresInSeconds: 3600,
      ...claims,
    },
  );
}
