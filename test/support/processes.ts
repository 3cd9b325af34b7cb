import { readdir, readFile } from 'node:fs/promises';

/** The processes that `parent` has started and that still run. */
export async function childrenOf(parent: number): Promise<number[]> {
  const children: number[] = [];
  for (const name of await readdir('/proc')) {
    const status = /^\d+$/.test(name)
      ? await readFile(`/proc/${name}/status`, 'utf8').catch(() => '')
      : '';
    if (/^PPid:\s*(\d+)$/m.exec(status)?.[1] === String(parent)) children.push(Number(name));
  }
  return children;
}

/** Sends a signal; a process that is gone already is no error. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // Gone already.
  }
}
