import { constants, fstatSync, openSync, writeSync } from 'node:fs';

/** Characters that wait for a stalled reader; further lines are dropped. */
const MAX_WAITING_CHARACTERS = 16 * 1024 * 1024;
/** Written at once: the capacity of a Linux pipe. */
const CHUNK_CHARACTERS = 64 * 1024;
/** Delay after a full output, enough for 60 MB a second through a pipe; doubled without progress. */
const FIRST_RETRY_MS = 1;
const LONGEST_RETRY_MS = 64;
/** Longest wait for a reader at the end; Kubernetes' grace period counts on it (docs/operations.md). */
const LAST_FLUSH_MS = 1000;
const NOTHING = Buffer.alloc(0);

/**
 * Lines for a descriptor whose other end may be stalled, gone or full. Writes never wait: the lines of one iteration of
 * the event loop go out together, the remainder is tried again; lines beyond the bound or after an error are dropped,
 * counted and reported. At the end the rest goes out within a second. (pino's own destination retries for ever inside
 * `process.exit`.)
 */
export class LogOutput {
  private readonly fd: number;
  private readonly chunks: string[] = [];
  private rest: Buffer = NOTHING;
  private waitingCharacters = 0;
  private isScheduled = false;
  private retryMs = FIRST_RETRY_MS;
  /** A line was cut: the next one needs a line break first. */
  private isTorn = false;
  private lost = 0;
  private unreportedLines = 0;
  private fault: string | undefined;

  /** @param reportLoss is called with the number of lost lines, once the output takes lines again. */
  constructor(
    fd: 1 | 2,
    private readonly reportLoss: (lostLines: number) => void,
  ) {
    this.fd = withoutBlocking(fd);
  }

  /** Lines lost since the start. */
  get lostLines(): number {
    return this.lost;
  }

  /** Queues text that ends with a line break. */
  write(text: string): void {
    if (this.waitingCharacters + text.length > MAX_WAITING_CHARACTERS) {
      this.lose(1);
      return;
    }
    const last = this.chunks.length - 1;
    const open = this.chunks[last];
    if (open !== undefined && open.length + text.length <= CHUNK_CHARACTERS) {
      this.chunks[last] = open + text;
    } else {
      this.chunks.push(text);
    }
    this.waitingCharacters += text.length;
    if (this.isScheduled) return;
    this.isScheduled = true;
    setImmediate(() => this.writeNext());
  }

  /** Writes for at most a second, synchronously: at the end of the process no timer fires. */
  flush(): void {
    const pause = new Int32Array(new SharedArrayBuffer(4));
    const deadlineMs = performance.now() + LAST_FLUSH_MS;
    while (!this.writeWaiting() && performance.now() < deadlineMs) Atomics.wait(pause, 0, 0, 1);
    const left = linesIn(this.rest.toString()) + linesIn(this.chunks.join(''));
    this.rest = NOTHING;
    this.chunks.length = 0;
    if (left > 0) this.lose(left);
    if (this.unreportedLines > 0)
      complain(`${this.unreportedLines} lines of the log could not be written.`);
  }

  private writeNext(): void {
    this.isScheduled = false;
    if (!this.writeWaiting()) {
      this.isScheduled = true;
      setTimeout(() => this.writeNext(), this.retryMs).unref();
      this.retryMs = Math.min(LONGEST_RETRY_MS, 2 * this.retryMs);
    } else if (this.unreportedLines > 0 && this.fault === undefined) {
      const lines = this.unreportedLines;
      this.unreportedLines = 0;
      this.reportLoss(lines);
    }
  }

  /** Writes until nothing waits (true) or the output takes no more for now (false). */
  private writeWaiting(): boolean {
    for (;;) {
      if (this.rest.length === 0) {
        const chunk = this.chunks.shift();
        if (chunk === undefined) return true;
        this.waitingCharacters -= chunk.length;
        this.rest = Buffer.from(this.isTorn ? `\n${chunk}` : chunk);
      }
      try {
        this.rest = this.rest.subarray(writeSync(this.fd, this.rest));
        this.isTorn = this.rest.length > 0;
        this.retryMs = FIRST_RETRY_MS;
        this.fault = undefined;
      } catch (error) {
        const { code = String(error) } = error as NodeJS.ErrnoException;
        if (code === 'EAGAIN') return false;
        this.dropPending(code);
      }
    }
  }

  /** Drops lines when the reader is gone or the disk is full; later lines are tried again. */
  private dropPending(code: string): void {
    this.lose(linesIn(this.rest.toString()));
    this.rest = NOTHING;
    if (this.fault === undefined) {
      complain(`Lines of the log cannot be written (${code}) and are dropped until they can be.`);
    }
    this.fault = code;
  }

  private lose(lines: number): void {
    this.lost += lines;
    this.unreportedLines += lines;
  }
}

let standardOutput: LogOutput | undefined;

/**
 * Standard output, one for the process.
 * @param reportLoss see LogOutput; that of the first caller.
 */
export function openStandardOutput(reportLoss: (lostLines: number) => void): LogOutput {
  if (standardOutput === undefined) {
    const output = new LogOutput(1, reportLoss);
    process.on('exit', () => output.flush());
    standardOutput = output;
  }
  return standardOutput;
}

/** Prevents the uncaught error that ends the process when an output's reader has gone. */
export function surviveClosedOutputs(): void {
  for (const output of [process.stdout, process.stderr]) output.on('error', () => undefined);
}

/** Opens the output again: a write that would wait then fails with EAGAIN. */
function withoutBlocking(fd: 1 | 2): number {
  try {
    const kind = fstatSync(fd);
    if (kind.isCharacterDevice()) {
      // A terminal may be paused (Ctrl-S). Opened anew, as its mode is shared with the shell.
      const { O_WRONLY, O_NONBLOCK, O_NOCTTY } = constants;
      return openSync(`/proc/self/fd/${fd}`, O_WRONLY | O_NONBLOCK | O_NOCTTY);
    }
    // Node's stream sets this mode on pipes and sockets; a file needs none.
    if (!kind.isFile()) void (fd === 1 ? process.stdout : process.stderr);
  } catch {
    // No /proc, or no permission.
  }
  return fd;
}

let standardError: number | undefined;

function complain(line: string): void {
  try {
    standardError ??= withoutBlocking(2);
    writeSync(standardError, `${line}\n`);
  } catch {
    // Neither output can be written to.
  }
}

/** Line ends in a text, the unfinished last line included. */
function linesIn(text: string): number {
  if (text === '') return 0;
  const breaks = text.split('\n').length - 1;
  return text.endsWith('\n') ? breaks : breaks + 1;
}
