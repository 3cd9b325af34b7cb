import type { ServerResponse } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import type { AppError } from '../../platform/errors/app-error';
import { toAppError } from '../../platform/errors/problem';
import { onAbort } from '../../platform/runtime/abort';
import { LineSplitter } from '../../platform/runtime/line-splitter';
import { NdjsonBody } from '../../http/ndjson-body';
import { clientClosed } from '../../http/request-signal';
import { ResponseSink } from '../../streaming/response-sink';
import type { IngestBatch, LineReceipt } from './ingest-batch';

/** A batch is stored when no part of the body has come for this long: a client that sends now and then has its receipts too. */
const PAUSE_MS = 250;
/**
 * A line waits no longer than this for others to share its transaction, however steadily they come; with the store before
 * it and its own it is committed within a second.
 */
const MAX_AGE_MS = 500;
/** Batches read but not answered: one is being stored, the next is ready when it is. */
const MAX_UNDER_WAY = 2;
/** Lines of one transaction, together: BULK_MAX_EVENTS lines of 256 KiB would be gigabytes. */
export const MAX_BATCH_BYTES = 8 * 1024 * 1024;
/** Lines in a row that hold nothing: a compressed megabyte may be a gigabyte of line breaks. */
const MAX_BLANK_LINES = 100_000;
/** Lines are looked at for this long at a time; others have a turn of the event loop between. */
const SLICE_MS = 10;
/** The clock is read once for so many lines. */
const SLICE_LINES = 64;

export interface IngestParts {
  stallTimeoutMs: number;
  maxLines: number;
  maxLineBytes: number;
  newBatch: () => IngestBatch;
  /** Aborts, with the AppError to tell, when the token of the sender ends: what comes from then on is not read. */
  tokenSignal?: AbortSignal;
  /** Stores a batch and resolves with its receipts; the signal aborts when nobody waits for them any more. */
  store: (batch: IngestBatch, signal: AbortSignal) => Promise<LineReceipt[]>;
}

/** One body on its way: lines into batches, batches into transactions, transactions into receipts. */
export class NdjsonIngest {
  private readonly body: NdjsonBody;
  private readonly lines: LineSplitter;
  private readonly sink: ResponseSink;
  private readonly counts = { created: 0, duplicates: 0, rejected: 0 };
  private readonly lifetime = new AbortController();
  private readonly silence: NodeJS.Timeout;
  private batch: IngestBatch;
  /** When the first line of `batch` was read, on the clock of performance.now(). */
  private batchSinceMs = 0;
  private dispatching: NodeJS.Timeout | undefined;
  private underWay = 0;
  private answered: Promise<void> = Promise.resolve();
  private stored: Promise<unknown> = Promise.resolve();
  private waiters: (() => void)[] = [];
  private failure: AppError | undefined;
  /** The last line that held anything. */
  private lastFilled = 0;
  private sliceStartMs = performance.now();
  private sliceLines = 0;

  /** @throws AppError UNSUPPORTED_MEDIA_TYPE (Content-Encoding). */
  constructor(
    private readonly response: ServerResponse,
    private readonly parts: IngestParts,
  ) {
    const { stallTimeoutMs, maxLineBytes, newBatch } = parts;
    this.body = new NdjsonBody(response.req, () => this.wake());
    this.lines = new LineSplitter(maxLineBytes);
    this.batch = newBatch();
    this.sink = new ResponseSink(response, {
      coding: 'identity',
      stallTimeoutMs,
      onDrain: () => this.wake(),
      onCut: () => this.abort(),
    });
    this.silence = setTimeout(() => this.onSilence(), stallTimeoutMs);
  }

  /**
   * Reads to the end and answers each line. Resolves when the client has the answer, or has left.
   * @throws AppError what a transaction of unknown outcome failed with: its lines have no receipt.
   */
  async run(): Promise<void> {
    const removeListener = onAbort(this.parts.tokenSignal, () => this.wake());
    try {
      await this.readAll();
      this.refuseRest();
    } catch (error) {
      this.fail(error);
    } finally {
      removeListener();
      this.body.discard();
    }
    this.dispatch();
    await this.answered;
    clearTimeout(this.silence);
    if (this.failure) {
      this.sink.release();
      throw this.failure;
    }
    if (this.isOver) return;
    this.begin();
    this.sink.write(Buffer.from(`${JSON.stringify({ summary: this.counts })}\n`));
    await this.sink.end({});
  }

  /** Whether nothing more is to be answered: the client has left, or a transaction has failed. */
  private get isOver(): boolean {
    return this.lifetime.signal.aborted;
  }

  private async readAll(): Promise<void> {
    for (let part = await this.next(); part; part = await this.next()) {
      for (const line of this.lines.split(part)) {
        if (this.batch.add(line)) this.noteFilled(line.number);
        if (this.isFull) this.dispatch();
        while (this.underWay >= MAX_UNDER_WAY && !this.isOver) await this.change();
        if (this.isSliceOver()) await this.yield();
        if (this.isOver) return;
      }
      if (this.lines.lastNumber - this.lastFilled > MAX_BLANK_LINES) {
        const message = `and more than ${MAX_BLANK_LINES} before it are blank: what follows is not read`;
        return this.batch.refuse(this.lines.lastNumber, 'REQUEST_TOO_LARGE', message);
      }
      this.dispatchInTime();
    }
    if (this.isOver || this.isTokenOver) return;
    if (this.body.isBroken) {
      const message = 'and all that follows is not what Content-Encoding says it is';
      return this.batch.refuse(this.lines.lastNumber + 1, 'MALFORMED_JSON', message);
    }
    const last = this.lines.end();
    if (last) this.batch.add(last);
  }

  /** Whether the sender may send no more: what is read has come before, and is stored. */
  private get isTokenOver(): boolean {
    return this.parts.tokenSignal?.aborted === true && !this.body.isEnded;
  }

  /** Rejects what a sender whose token has ended still sends, in a transaction of its own. */
  private refuseRest(): void {
    if (this.isOver || !this.isTokenOver) return;
    this.dispatch();
    const { code, detail } = toAppError(this.parts.tokenSignal?.reason);
    const message = `and all that follows is not read: ${detail}`;
    this.batch.refuse(this.lines.lastNumber + 1, code, message);
  }

  private noteFilled(lineNumber: number): void {
    this.lastFilled = lineNumber;
    if (this.batch.lines === 1) this.batchSinceMs = performance.now();
  }

  /** Sees to it that what has been read is stored in time, whether more follows or not. */
  private dispatchInTime(): void {
    clearTimeout(this.dispatching);
    if (this.batch.lines === 0) return;
    const leftMs = this.batchSinceMs + MAX_AGE_MS - performance.now();
    this.dispatching = setTimeout(() => this.dispatch(), Math.max(0, Math.min(PAUSE_MS, leftMs)));
  }

  /** The next bytes of the body; undefined when there will be none. */
  private async next(): Promise<Buffer | undefined> {
    while (!this.isOver && !this.isTokenOver) {
      const part = this.body.read();
      if (part) {
        this.silence.refresh();
        return part;
      }
      if (this.body.isEnded || this.body.isBroken) return undefined;
      await this.change();
    }
    return undefined;
  }

  private get isFull(): boolean {
    const { lines, bytes } = this.batch;
    return lines >= this.parts.maxLines || bytes >= MAX_BATCH_BYTES;
  }

  private isSliceOver(): boolean {
    this.sliceLines += 1;
    return this.sliceLines % SLICE_LINES === 0 && performance.now() - this.sliceStartMs > SLICE_MS;
  }

  private async yield(): Promise<void> {
    await setImmediate();
    this.sliceStartMs = performance.now();
  }

  /** Stores what has been read, behind what was read before it: events are recorded in the order of their lines, as receipts are given. */
  private dispatch(): void {
    clearTimeout(this.dispatching);
    const { batch } = this;
    if (batch.lines === 0 || this.isOver) return;
    this.batch = this.parts.newBatch();
    this.underWay += 1;
    const stored = this.stored.then(() => this.parts.store(batch, this.lifetime.signal));
    stored.catch(() => undefined); // heard of below
    this.stored = stored;
    this.answered = this.answered
      .then(async () => this.answer(await stored))
      .catch((error: unknown) => this.fail(error))
      .finally(() => {
        this.underWay -= 1;
        this.silence.refresh(); // until now the client was not the one to be waited for
        this.wake();
      });
  }

  private async answer(receipts: LineReceipt[]): Promise<void> {
    if (this.isOver) return;
    for (const { status } of receipts) {
      this.counts[status === 'duplicate' ? 'duplicates' : status] += 1;
    }
    this.begin();
    this.sink.write(Buffer.from(receipts.map((one) => `${JSON.stringify(one)}\n`).join('')));
    while (this.sink.isBlocked) await this.change();
  }

  private begin(): void {
    if (this.response.headersSent || this.isOver) return;
    this.response.writeHead(200, {
      'Content-Type': 'application/x-ndjson; charset=utf-8',
      'Cache-Control': 'no-store',
    });
  }

  /** The client has sent nothing for too long: it is cut, unless it is us who made it wait. */
  private onSilence(): void {
    if (this.underWay === 0 && this.batch.lines === 0) this.sink.cut('client stalled');
  }

  private abort(): void {
    this.lifetime.abort(clientClosed());
    this.response.req.destroy();
    this.wake();
  }

  /** Better no answer than a wrong one: those lines, and all behind them, get none. */
  private fail(error: unknown): void {
    if (this.isOver) return;
    this.failure = toAppError(error);
    this.lifetime.abort(this.failure);
    this.wake();
  }

  private wake(): void {
    for (const resolve of this.waiters.splice(0)) resolve();
  }

  /** Resolves at the next change of what is under way, of what the client sends and takes, or of whether it is there. */
  private change(): Promise<void> {
    return new Promise((resolve) => this.waiters.push(resolve));
  }
}
