import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { findFreePort } from '../../src/platform/database/embedded/embedded-postgres';
import { until } from '../integration/until.fixture';
import { signalProcess } from '../support/processes';

const ROOT = resolve(__dirname, '..', '..');
const LONG_RUNNING = ['start', 'import', 'bench', 'soak', 'load'];

interface Manifest {
  scripts: Record<string, string>;
}
const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Manifest;

/** The processes of a group, and those that run in `folder`. */
function processesOf(group: number, folder: string): { pid: number; command: string }[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ');
        const [state, , groupId] = readFileSync(`/proc/${name}/stat`, 'utf8')
          .replace(/^.*\) /s, '')
          .split(' ');
        const isOurs =
          Number(groupId) === group || readlinkSync(`/proc/${name}/cwd`).startsWith(folder);
        return isOurs && state !== 'Z' ? [{ pid: Number(name), command }] : [];
      } catch {
        return []; // gone since
      }
    });
}

async function isOpen(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

const onLinux = process.platform === 'linux' ? describe : describe.skip;

onLinux('npm start', () => {
  it('leaves neither a process nor an open port behind when npm gets SIGTERM', async () => {
    const home = mkdtempSync(join(tmpdir(), 'audit-npm-start-'));
    chmodSync(home, 0o755); // the data of PostgreSQL, which does not run as root, are in it
    const port = await findFreePort();
    const environment = { DATA_DIR: home, HOST: '127.0.0.1', PORT: String(port) };
    const npm = spawn('npm', ['start'], {
      cwd: ROOT,
      env: { PATH: process.env.PATH, HOME: process.env.HOME, ...environment },
      stdio: 'ignore',
      detached: true,
    });
    const group = npm.pid ?? 0;
    try {
      const exited = once(npm, 'exit');
      await until(() =>
        fetch(`http://127.0.0.1:${port}/health/ready`).then(
          ({ ok }) => ok,
          () => false,
        ),
      );
      const running = processesOf(group, home).map(({ command }) => command);
      expect(running.join('\n')).toMatch(/dist\/main\.js[^]*postgres -D/);
      npm.kill('SIGTERM');
      await exited;
      await until(async () => !(await isOpen(port)));
      await until(() => processesOf(group, home).length === 0);
    } finally {
      for (const { pid } of processesOf(group, home)) signalProcess(pid, 'SIGKILL');
      rmSync(home, { recursive: true, force: true });
    }
  }, 240_000);
});

describe('the scripts of package.json', () => {
  it('run a program of ours as the only command, so that no shell outlives a step before it', () => {
    const ours = Object.entries(scripts).filter(([, script]) =>
      /node .*(dist|bench|scripts)\//.test(script),
    );
    expect(ours.length).toBeGreaterThan(7);
    for (const [name, script] of ours) expect(`${name}: ${script}`).not.toMatch(/&&|;|\|/);
  });

  it('end long-running programs with npm, from before a build', () => {
    for (const name of LONG_RUNNING) {
      expect(scripts[name]).toMatch(/^node --import \.\/scripts\/end-with-npm\.mjs /);
    }
  });
});
