import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { createCompressor, type ExportCoding } from './compressor';
import { StallTimer } from './stall-timer';

/** Why an answer that had begun was not finished. */
export type CutReason = 'client left' | 'client stalled' | 'token ended';

export interface SinkOptions {
  coding: ExportCoding;
  /** Milliseconds without a byte taken by the client after which it is cut. */
  stallTimeoutMs: number;
  /** The client takes more again. */
  onDrain: () => void;
  /** The client is gone, or has been cut; told once, and not after `end` has resolved. */
  onCut: (reason: CutReason) => void;
}

/**
 * The way of bytes to the client: compressed if wanted, no faster than the client takes them, and cut when it takes
 * none for too long. The clock of the listener, which cuts any connection on which nothing moves, is stopped here: an
 * export may have nothing to say for minutes. A reader that is slow but moves lives.
 */
export class ResponseSink {
  private readonly compressor;
  private readonly stalling: StallTimer;
  private isSettled = false;
  private isFull = false;
  /** The compressor may hold bytes that it was not asked for yet: each flush costs some of what it saves. */
  private isHeldBack = false;
  /** Bytes handed to the client, compressed. */
  bytes = 0;

  constructor(
    private readonly response: ServerResponse,
    private readonly options: SinkOptions,
  ) {
    this.stalling = new StallTimer(response, options.stallTimeoutMs, () => {
      this.cut('client stalled');
    });
    this.compressor = createCompressor(options.coding);
    this.compressor?.on('data', (part: Buffer) => {
      if (!this.send(part)) this.compressor?.pause();
    });
    this.compressor?.on('drain', () => options.onDrain());
    response.on('close', () => this.cut('client left'));
    response.on('drain', () => this.onClientDrain());
    // An answer that waits behind another one of its connection has no socket yet, and leaves the clock to that one.
    if (response.socket) response.socket.setTimeout(0);
    else response.once('socket', (socket: Socket) => socket.setTimeout(0));
    if (response.destroyed || response.req.socket.destroyed) {
      process.nextTick(() => this.cut('client left'));
    }
  }

  /** Whether the client has yet to take what was written. */
  get isBlocked(): boolean {
    return this.isFull && !this.isSettled;
  }

  /** Hands on bytes; false when no more should come before `onDrain`. */
  write(bytes: Buffer): boolean {
    if (this.isSettled || bytes.length === 0) return true;
    this.isHeldBack = this.compressor !== undefined;
    return this.compressor ? this.compressor.write(bytes) : this.send(bytes);
  }

  /** Lets the client have what the compressor holds back. */
  flush(): void {
    if (!this.isHeldBack || !this.compressor || this.compressor.writableNeedDrain) return;
    this.isHeldBack = false;
    this.compressor.flush();
  }

  /** Finishes the answer with these trailers; resolves when the client has it all, or has been cut. */
  async end(trailers: Record<string, string>): Promise<void> {
    const { compressor, response } = this;
    if (compressor) {
      const ended = new Promise<void>((resolve) => {
        compressor.on('end', resolve);
        response.on('close', resolve);
      });
      compressor.end();
      await ended;
    }
    if (this.isSettled) return;
    // HTTP/1.0 knows neither chunks nor trailers.
    if (response.req.httpVersion !== '1.0') response.addTrailers(trailers);
    await new Promise<void>((resolve) => {
      response.on('close', resolve).on('finish', () => {
        this.settle(); // before 'close' says the same
        resolve();
      });
      response.end();
      this.stalling.start();
    });
  }

  /** Lets go of an answer of which nothing has been written: somebody else will answer. */
  release(): void {
    this.settle();
    this.compressor?.destroy();
  }

  /** Breaks the connection, so that a part never looks like the whole. */
  destroy(): void {
    this.settle();
    this.compressor?.destroy();
    // To HTTP/1.0 an end of the connection is the end of the answer; a reset is not.
    if (this.response.req.httpVersion === '1.0') this.response.socket?.resetAndDestroy();
    else this.response.destroy();
  }

  /** Breaks the connection and tells so. */
  cut(reason: CutReason): void {
    if (this.isSettled) return;
    this.destroy();
    this.options.onCut(reason);
  }

  private settle(): void {
    this.isSettled = true;
    this.stalling.stop();
  }

  private send(bytes: Buffer): boolean {
    if (this.response.destroyed) return true;
    this.bytes += bytes.length;
    this.isFull = !this.response.write(bytes);
    if (this.isFull) this.stalling.start();
    return !this.isFull;
  }

  private onClientDrain(): void {
    this.isFull = false;
    this.stalling.stop();
    if (this.compressor) this.compressor.resume();
    else this.options.onDrain();
  }
}
