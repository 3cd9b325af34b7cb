import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { DataDirectory } from './data-directory';

/** Variables for the programs, without PG* variables, which change defaults, and secrets. */
const PASSED_ON = [
  'PATH',
  'LD_LIBRARY_PATH',
  'SystemRoot',
  'ComSpec',
  'TEMP',
  'TMP',
  'USERPROFILE',
  'APPDATA',
];

export interface CommandResult {
  succeeded: boolean;
  output: string;
}

/**
 * Runs a program of PostgreSQL to its end as the account of the directory. Its output goes to a file: the server left
 * running by pg_ctl would inherit a pipe, and break with this process.
 */
export async function runCommand(
  directory: DataDirectory,
  program: string,
  parameters: string[],
): Promise<CommandResult> {
  const logPath = join(directory.home, 'command.log');
  await rm(logPath, { force: true }); // of another user after a start as root
  const log = await open(logPath, 'wx', 0o600);
  try {
    const child = spawn(program, parameters, {
      cwd: directory.home,
      env: environment(),
      stdio: ['ignore', log.fd, log.fd],
      // Ctrl-C in a terminal reaches the whole process group, and this process still has work to finish.
      detached: true,
      windowsHide: true,
      ...(directory.account ? { uid: directory.account.uid, gid: directory.account.gid } : {}),
    });
    const [code] = (await once(child, 'exit')) as [number | null];
    return { succeeded: code === 0, output: await lastLines(logPath) };
  } catch (error) {
    throw new Error(`Cannot run ${program}${reason(error as NodeJS.ErrnoException, directory)}`, {
      cause: error,
    });
  } finally {
    await log.close();
  }
}

export async function lastLines(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch(() => '');
  return text.trim().split('\n').slice(-15).join('\n');
}

function environment(): NodeJS.ProcessEnv {
  // C gives English messages, some of which are parsed.
  const passed: NodeJS.ProcessEnv = { LC_ALL: 'C', TZ: 'UTC' };
  for (const name of PASSED_ON)
    if (process.env[name] !== undefined) passed[name] = process.env[name];
  return passed;
}

function reason({ code, message }: NodeJS.ErrnoException, { account }: DataDirectory): string {
  if (code === 'ENOENT') {
    return ': the programs are made for glibc, which this system (such as Alpine) lacks. Set DATABASE_URL.';
  }
  if (code === 'EPERM' && account) {
    return ` as user ${account.name}: this root may not change users. Start the service as an ordinary user, or set DATABASE_URL.`;
  }
  return `: ${message}`;
}
