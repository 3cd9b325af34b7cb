import type { ServerResponse } from 'node:http';
import { createCompressor, type ExportCoding } from './compressor';

/** Why an answer that had begun was not finished. */
export type CutReason = 'client left' | 'client stalled';

export interface SinkOptions {
  coding: ExportCoding;
  /** Milliseconds without a byte taken by the client after which it is cut. */
  stallTimeoutMs: number;
  /** Milliseconds without a byte either way after which it is cut while nothing waits for it; left out: never. */
  idleTimeoutMs?: number;
  /** The client takes more again. */
  onDrain: () => void;
  /** The client is gone, or has been cut; told once, and not after `end` has resolved. */
  onCut: (reason: CutReason) => void;
}

/**
 * The way of bytes to the client: compressed if wanted, no faster than the client takes them, and cut when it takes
 * none for too long. The clock of the listener, which cuts any connection on which nothing moves, is stopped here: an
 * export may have nothing to say for minutes. Node's socket timeout sees every byte that the kernel takes, so
 * a reader that is slow but moves lives.
 */
export class ResponseSink {
  private readonly compressor;
  private isSettled = false;
  /** Bytes handed to the client, compressed. */
  bytes = 0;

  constructor(
    private readonly response: ServerResponse,
    private readonly options: SinkOptions,
  ) {
    this.compressor = createCompressor(options.coding);
    this.compressor?.on('data', (part: Buffer) => {
      if (!this.send(part)) this.compressor?.pause();
    });
    this.compressor?.on('drain', () => options.onDrain());
    this.watch(options.idleTimeoutMs ?? 0);
    response.on('timeout', () => this.cut('client stalled'));
    response.on('close', () => this.cut('client left'));
    response.on('drain', () => this.onClientDrain());
    if (response.destroyed || response.socket?.destroyed !== false) {
      process.nextTick(() => this.cut('client left'));
    }
  }

  /** Hands on bytes; false when no more should come before `onDrain`. */
  write(bytes: Buffer): boolean {
    if (this.isSettled || bytes.length === 0) return true;
    return this.compressor ? this.compressor.write(bytes) : this.send(bytes);
  }

  /** Lets the client have what the compressor holds back. */
  flush(): void {
    if (this.compressor && !this.compressor.writableNeedDrain) this.compressor.flush();
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
        this.isSettled = true; // before 'close' says the same
        resolve();
      });
      response.end();
      this.watch(this.options.stallTimeoutMs);
    });
  }

  /** Lets go of an answer of which nothing has been written: somebody else will answer. */
  release(): void {
    this.isSettled = true;
    this.compressor?.destroy();
  }

  /** Breaks the connection, so that a part never looks like the whole. */
  destroy(): void {
    this.isSettled = true;
    this.compressor?.destroy();
    // To HTTP/1.0 an end of the connection is the end of the answer; a reset is not.
    if (this.response.req.httpVersion === '1.0') this.response.socket?.resetAndDestroy();
    else this.response.destroy();
  }

  private send(bytes: Buffer): boolean {
    if (this.response.destroyed) return true;
    this.bytes += bytes.length;
    const takesMore = this.response.write(bytes);
    if (!takesMore) this.watch(this.options.stallTimeoutMs);
    return takesMore;
  }

  private onClientDrain(): void {
    this.watch(this.options.idleTimeoutMs ?? 0);
    if (this.compressor) this.compressor.resume();
    else this.options.onDrain();
  }

  /** 0 stops the clock. */
  private watch(timeoutMs: number): void {
    this.response.socket?.setTimeout(timeoutMs);
  }

  private cut(reason: CutReason): void {
    if (this.isSettled) return;
    this.destroy();
    this.options.onCut(reason);
  }
}
