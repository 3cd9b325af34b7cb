import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** How often a client is looked at within the time that it has. */
const LOOKS = 8;

/** Bytes that libuv holds for the kernel to take; what Node's own socket timeout looks at, and not in its declarations. */
type Queued = Socket & { _handle?: { writeQueueSize?: number } | null };

/**
 * Finds out that a client, for whom bytes wait, takes none for too long. Node's socket timeout finds out up to twice as
 * late, as it only looks when it is over, and is put off by bytes that the client sends.
 */
export class StallTimer {
  private timer: NodeJS.Timeout | undefined;
  private seen: number | undefined;
  private movedMs = 0;

  constructor(
    private readonly response: ServerResponse,
    private readonly timeoutMs: number,
    private readonly onStall: () => void,
  ) {}

  /** Begins to watch: from now on bytes wait. */
  start(): void {
    if (this.timer) return;
    this.seen = this.waitingBytes();
    this.movedMs = performance.now();
    this.timer = setInterval(() => this.look(), Math.max(1, this.timeoutMs / LOOKS));
  }

  stop(): void {
    clearInterval(this.timer);
    this.timer = undefined;
  }

  private look(): void {
    const nowMs = performance.now();
    const waiting = this.waitingBytes();
    if (waiting === undefined || waiting !== this.seen) {
      this.seen = waiting;
      this.movedMs = nowMs;
      return;
    }
    if (nowMs - this.movedMs < this.timeoutMs) return;
    this.stop();
    this.onStall();
  }

  /** Undefined as long as it is the turn of another answer on this connection. */
  private waitingBytes(): number | undefined {
    const socket: Queued | null = this.response.socket;
    return socket ? socket.writableLength + (socket._handle?.writeQueueSize ?? 0) : undefined;
  }
}
