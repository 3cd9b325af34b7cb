import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { createCompressor, type ExportCoding } from './compressor';
import { StallTimer } from './stall-timer';

export type DisconnectReason = 'client left' | 'client stalled' | 'token ended';

export interface SinkOptions {
  coding: ExportCoding;
  /** Time without a byte read after which the client is disconnected. */
  stallTimeoutMs: number;
  onDrain: () => void;
  /** Called once, after either side's disconnect, and not after `end` has resolved. */
  onDisconnect: (reason: DisconnectReason) => void;
}

/**
 * Writes, compressed on request, no faster than the client reads; disconnects one that reads nothing for too long.
 * Turns the socket timeout off, as an export may have no rows for minutes.
 */
export class ResponseSink {
  private readonly compressor;
  private readonly stalling: StallTimer;
  private isSettled = false;
  private isFull = false;
  /** Flushes of the compressor are rare, as each costs compression. */
  private isBuffering = false;
  /** Bytes sent, compressed. */
  bytes = 0;

  constructor(
    private readonly response: ServerResponse,
    private readonly options: SinkOptions,
  ) {
    this.stalling = new StallTimer(response, options.stallTimeoutMs, () => {
      this.disconnect('client stalled');
    });
    this.compressor = createCompressor(options.coding);
    this.compressor?.on('data', (part: Buffer) => {
      if (!this.send(part)) this.compressor?.pause();
    });
    this.compressor?.on('drain', () => options.onDrain());
    response.on('close', () => this.disconnect('client left'));
    response.on('drain', () => this.onClientDrain());
    // A pipelined response has no socket, and leaves the timeout to the one before it until that has ended.
    if (response.socket) response.socket.setTimeout(0);
    else response.once('socket', (socket: Socket) => socket.setTimeout(0));
    if (response.destroyed || response.req.socket.destroyed) {
      process.nextTick(() => this.disconnect('client left'));
    }
  }

  /** True while written bytes are unread. */
  get isBlocked(): boolean {
    return this.isFull && !this.isSettled;
  }

  /** False when no more should come before `onDrain`. */
  write(bytes: Buffer): boolean {
    if (this.isSettled || bytes.length === 0) return true;
    this.isBuffering = this.compressor !== undefined;
    return this.compressor ? this.compressor.write(bytes) : this.send(bytes);
  }

  flush(): void {
    if (!this.isBuffering || !this.compressor || this.compressor.writableNeedDrain) return;
    this.isBuffering = false;
    this.compressor.flush();
  }

  /** Resolves when the response has been handed over or disconnected. */
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
        this.settle(); // before 'close' comes
        resolve();
      });
      response.end();
      this.stalling.start();
    });
  }

  /** Before the first byte: the caller responds otherwise. */
  release(): void {
    this.settle();
    this.compressor?.destroy();
  }

  /** Breaks the connection, so that a part never looks like the whole. */
  destroy(): void {
    this.settle();
    this.compressor?.destroy();
    // In HTTP/1.0 the end of the connection is the end of the response; a reset is not.
    if (this.response.req.httpVersion === '1.0') this.response.socket?.resetAndDestroy();
    else this.response.destroy();
  }

  disconnect(reason: DisconnectReason): void {
    if (this.isSettled) return;
    this.destroy();
    this.options.onDisconnect(reason);
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
