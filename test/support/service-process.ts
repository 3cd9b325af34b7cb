import { type Options, transformFile } from '@swc/core';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { folderOfRun } from './run-folder';
import swcOptions from './swc.json';

const ROOT = resolve(__dirname, '..', '..');
/** Signs the tokens that services started here accept. */
export const PROCESS_SECRET = 'the-secret-of-services-that-specs-start';

/** What is kept of the output of a process. */
const MAX_OUTPUT_CHARACTERS = 5_000_000;
/** What a process writes when something went wrong that nobody handled. */
const UNHANDLED =
  /unhandled|uncaught|heap out of memory|MaxListenersExceeded|^\s+at .*node:internal/im;

/** The program of the service as one run of the specs has built it. */
export interface Build {
  main: string;
}

/** Transpiles `src` as the specs are, once a run: `dist` may be older, and is left alone. About a second. */
export async function buildService(): Promise<Build> {
  const home = await folderOfRun('build', async (folder) => {
    // The build looks for config/ beside its own folder.
    await symlink(join(ROOT, 'config'), join(folder, 'config'), 'dir');
    await transpile(join(ROOT, 'src'), join(folder, 'dist'));
  });
  return { main: join(home, 'dist', 'main.js') };
}

/** As the specs are transpiled, except that what Node.js imports dynamically may be a module with top-level await. */
const BUILD_OPTIONS = {
  ...swcOptions,
  module: { type: 'commonjs', ignoreDynamic: true },
} as Options;

async function transpile(from: string, to: string): Promise<void> {
  for (const entry of await readdir(from, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const source = join(entry.parentPath, entry.name);
    const target = join(to, relative(from, source));
    await mkdir(dirname(target), { recursive: true });
    if (!source.endsWith('.ts')) await copyFile(source, target);
    else if (!/\.(spec|fixture)\.ts$/.test(source)) {
      const { code } = await transformFile(source, BUILD_OPTIONS);
      await writeFile(target.replace(/\.ts$/, '.js'), code);
    }
  }
}

/** A running process of the service. */
export interface ServiceProcess {
  url: string;
  pid: number;
  /** Lines in which it tells of something that nobody handled; none, if all is well. */
  unhandled(): string[];
  /** All that it wrote. */
  log(): string;
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
      AUTH_JWT_SECRET: PROCESS_SECRET,
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
  const written = new Written();
  const port = await new Promise<string>((resolvePort, reject) => {
    const read = (chunk: Buffer) => written.add(chunk.toString());
    const findPort = () => {
      const match = /Listening on http:\/\/localhost:(\d+)/.exec(written.text());
      if (!match?.[1]) return;
      child.stdout.off('data', findPort);
      resolvePort(match[1]);
    };
    child.stdout.on('data', read).on('data', findPort);
    child.stderr.on('data', read);
    exited.then(
      () => reject(new Error(`The service ended:\n${written.text().slice(-10_000)}`)),
      reject,
    );
  });
  return {
    url: `http://127.0.0.1:${port}`,
    pid: child.pid ?? 0,
    unhandled: () =>
      written
        .text()
        .split('\n')
        .filter((line) => UNHANDLED.test(line)),
    log: () => written.text(),
    output: () => written.text().slice(-10_000),
    end: async (signal) => {
      child.kill(signal);
      const end = await exited;
      process.off('exit', stop);
      return end;
    },
  };
}

/** What a process has written: in parts, as joining megabytes at each of them would cost more than the specs. */
class Written {
  private parts: string[] = [];
  private length = 0;

  add(part: string): void {
    this.parts.push(part);
    this.length += part.length;
    while (this.length > MAX_OUTPUT_CHARACTERS) this.length -= this.parts.shift()?.length ?? 0;
  }

  text(): string {
    const text = this.parts.join('');
    this.parts = [text];
    return text;
  }
}
