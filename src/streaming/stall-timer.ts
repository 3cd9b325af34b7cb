import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

const SAMPLES = 8;

/** Bytes in libuv's queue; not in Node's declarations. */
type Queued = Socket & { _handle?: { writeQueueSize?: number } | null };

/**
 * Detects a client that reads none of its waiting bytes. Node's socket timeout is up to twice as late, as it samples
 * only at its end, and is prolonged by bytes that the client sends.
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

  start(): void {
    if (this.timer) return;
    this.seen = this.waitingBytes();
    this.movedMs = performance.now();
    this.timer = setInterval(() => this.sample(), Math.max(1, this.timeoutMs / SAMPLES));
  }

  stop(): void {
    clearInterval(this.timer);
    this.timer = undefined;
  }

  private sample(): void {
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

  /** Undefined while another response uses the connection. */
  private waitingBytes(): number | undefined {
    const socket: Queued | null = this.response.socket;
    return socket ? socket.writableLength + (socket._handle?.writeQueueSize ?? 0) : undefined;
  }
}
