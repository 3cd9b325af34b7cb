import { setTimeout as sleep } from 'node:timers/promises';

/** Work of libuv's threads, by the names of process.getActiveResourcesInfo(). */
const THREAD_WORK = /^(FSReq|GetAddrInfoReq|GetNameInfoReq)/;
/** Time for pending calls of the file system or the resolver. */
const THREADS_WAIT_MS = 500;
const SAMPLE_INTERVAL_MS = 10;

/**
 * Ends the process, the last step of src/shutdown.ts; never resolves. `process.exit` waits for libuv's threads, for ever
 * when a file or resolver does not answer (a dead network disk, a named pipe): then the exit listeners, which write the
 * last log lines, are called here, and SIGKILL ends the process.
 */
export async function endProcess(status: number): Promise<never> {
  const deadlineMs = performance.now() + THREADS_WAIT_MS;
  while (areThreadsAtWork() && performance.now() < deadlineMs) await sleep(SAMPLE_INTERVAL_MS);
  if (areThreadsAtWork()) {
    process.exitCode = status;
    process.emit('exit', status);
    process.kill(process.pid, 'SIGKILL');
    process.abort(); // the first process of a container cannot kill itself
  }
  return process.exit(status);
}

function areThreadsAtWork(): boolean {
  return process.getActiveResourcesInfo().some((name) => THREAD_WORK.test(name));
}
