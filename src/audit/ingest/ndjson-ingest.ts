import type { ServerResponse } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import { mayWrite, type Principal } from '../../auth/principal';
import { parseJsonBytes } from '../../http/body-reader';
import { NdjsonBody } from '../../http/ndjson-body';
import { clientClosed } from '../../http/request-context';
import { AppError, type ErrorCode, type FieldError } from '../../platform/errors/app-error';
import { toAppError } from '../../platform/errors/problem';
import { onAbort } from '../../platform/runtime/abort';
import { type Line, LineSplitter } from '../../platform/runtime/line-splitter';
import { ResponseSink } from '../../streaming/response-sink';
import { validate } from '../../validation/compiled-validator';
import type { NewEvent } from '../event/audit-event';
import { CreateAuditEventDto } from '../event/dto/create-audit-event.dto';
import type { WriteReceipt } from '../write/batch-committer';

export type LineReceipt =
  | { line: number; id: string; sequence: string; status: 'created' | 'duplicate' }
  | { line: number; status: 'rejected'; code: string; errors: FieldError[] };

/** Code of a valid line in a transaction with a refused one. */
const TRANSACTION_REJECTED = 'TRANSACTION_REJECTED';
/** Space, tab, carriage return. */
const BLANKS = new Set([0x20, 0x09, 0x0d]);
const MAX_VIOLATIONS_PER_LINE = 20;

interface LineViolation {
  code: string;
  errors: FieldError[];
}

/** Lines of one transaction: its events, or the violations for which none is stored. */
export class IngestBatch {
  readonly events: NewEvent[] = [];
  bytes = 0;
  private readonly numbers: number[] = [];
  private readonly violations = new Map<number, LineViolation>();

  constructor(
    private readonly principal: Principal,
    private readonly newEvent: (dto: CreateAuditEventDto) => NewEvent,
  ) {}

  get lines(): number {
    return this.numbers.length;
  }

  get hasViolations(): boolean {
    return this.violations.size > 0;
  }

  add(line: Line): boolean {
    if (!line.isTooLong && isBlank(line.bytes)) return false;
    this.numbers.push(line.number);
    this.bytes += line.bytes.length;
    const read = this.read(line);
    if ('code' in read) this.violations.set(line.number, read);
    else if (!this.hasViolations) this.events.push(read);
    else this.events.length = 0; // none of them will be stored
    return true;
  }

  refuse(number: number, code: ErrorCode, message: string): void {
    this.numbers.push(number);
    this.violations.set(number, { code, errors: [{ path: '', message }] });
  }

  receiptsFor(written: readonly WriteReceipt[]): LineReceipt[] {
    return written.map(({ id, sequence, status }, index) => {
      return { line: this.numbers[index] ?? 0, id, sequence, status };
    });
  }

  rejections(failure?: AppError): LineReceipt[] {
    if (failure) this.assignFailure(failure);
    const [first] = this.violations.keys();
    const message = `is good, but line ${first} of the same transaction is refused: send it again`;
    return this.numbers.map((line) => {
      const { code, errors } = this.violations.get(line) ?? {
        code: TRANSACTION_REJECTED,
        errors: [{ path: '', message }],
      };
      return { line, status: 'rejected', code, errors };
    });
  }

  /** Assigns a failure to the lines of its paths (`3.id`: that of index 3), else to all. */
  private assignFailure({ code, detail, errors = [] }: AppError): void {
    for (const { path, message } of errors) {
      const [index = '', ...rest] = path.split('.');
      const line = this.numbers[Number(index)];
      if (line === undefined) continue;
      const known = this.violations.get(line)?.errors ?? [];
      this.violations.set(line, { code, errors: [...known, { path: rest.join('.'), message }] });
    }
    if (this.hasViolations) return;
    for (const line of this.numbers) {
      this.violations.set(line, { code, errors: [{ path: '', message: detail }] });
    }
  }

  private read({ bytes, isTooLong }: Line): NewEvent | LineViolation {
    if (isTooLong) {
      const message =
        'is longer than a line may be (5 MiB, or REQUEST_MAX_SIZE_MB when that is less)';
      return { code: 'REQUEST_TOO_LARGE', errors: [{ path: '', message }] };
    }
    let value: unknown;
    try {
      value = parseJsonBytes(bytes);
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      const { code, detail, errors = [{ path: '', message: detail }] } = error;
      return { code, errors };
    }
    const errors = validate(CreateAuditEventDto, value);
    if (errors.length > 0)
      return { code: 'VALIDATION_FAILED', errors: errors.slice(0, MAX_VIOLATIONS_PER_LINE) };
    const event = value as CreateAuditEventDto;
    if (!mayWrite(this.principal, event.organizationId)) {
      const message = 'is not an organization of this token';
      return { code: 'FORBIDDEN', errors: [{ path: 'organizationId', message }] };
    }
    return this.newEvent(event);
  }
}

function isBlank(bytes: Buffer): boolean {
  let at = 0;
  while (at < bytes.length && BLANKS.has(bytes[at] ?? 0)) at += 1;
  return at === bytes.length;
}

/** Pause of the body after which a batch is stored, so that an occasional sender gets its receipts. */
const PAUSE_MS = 250;
/** Longest wait of a line for others: with the transaction before and its own it is committed within a second. */
const MAX_AGE_MS = 500;
/** Limit of batches without receipts: one is being stored, the next is ready. */
const MAX_UNDER_WAY = 2;
/** Bytes of one transaction: BULK_MAX_EVENTS lines of 256 KiB would be gigabytes. */
export const MAX_BATCH_BYTES = 8 * 1024 * 1024;
/** Limit of consecutive blank lines: a compressed megabyte may be a gigabyte of line breaks. */
const MAX_BLANK_LINES = 100_000;
const SLICE_MS = 10;
const SLICE_LINES = 64;

export interface IngestParts {
  stallTimeoutMs: number;
  maxLines: number;
  maxLineBytes: number;
  newBatch: () => IngestBatch;
  /** Aborts with an AppError when the token expires: later lines are not read. */
  tokenSignal?: AbortSignal;
  store: (batch: IngestBatch, signal: AbortSignal) => Promise<LineReceipt[]>;
}

/** Reads one body: lines into batches, transactions and receipts. */
export class NdjsonIngest {
  private readonly body: NdjsonBody;
  private readonly lines: LineSplitter;
  private readonly sink: ResponseSink;
  private readonly counts = { created: 0, duplicates: 0, rejected: 0 };
  private readonly lifetime = new AbortController();
  private readonly stallTimer: NodeJS.Timeout;
  private batch: IngestBatch;
  /** Time of the first line of `batch`, by performance.now(). */
  private batchSinceMs = 0;
  private dispatching: NodeJS.Timeout | undefined;
  private underWay = 0;
  private responded: Promise<void> = Promise.resolve();
  private stored: Promise<unknown> = Promise.resolve();
  private waiters: (() => void)[] = [];
  private failure: AppError | undefined;
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
      onDisconnect: () => this.abort(),
    });
    this.stallTimer = setTimeout(() => this.onStall(), stallTimeoutMs);
  }

  /**
   * Resolves when the client has the response or has left.
   * @throws AppError of a transaction with unknown outcome: its lines have no receipt.
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
    await this.responded;
    clearTimeout(this.stallTimer);
    if (this.failure) {
      this.sink.release();
      throw this.failure;
    }
    if (this.isOver) return;
    this.begin();
    this.sink.write(Buffer.from(`${JSON.stringify({ summary: this.counts })}\n`));
    await this.sink.end({});
  }

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

  /** True when the token has expired before the end of the body. Earlier lines are stored. */
  private get isTokenOver(): boolean {
    return this.parts.tokenSignal?.aborted === true && !this.body.isEnded;
  }

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

  private dispatchInTime(): void {
    clearTimeout(this.dispatching);
    if (this.batch.lines === 0) return;
    const leftMs = this.batchSinceMs + MAX_AGE_MS - performance.now();
    this.dispatching = setTimeout(() => this.dispatch(), Math.max(0, Math.min(PAUSE_MS, leftMs)));
  }

  private async next(): Promise<Buffer | undefined> {
    while (!this.isOver && !this.isTokenOver) {
      const part = this.body.read();
      if (part) {
        this.stallTimer.refresh();
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

  /** Stores the batch after the one before: sequences and receipts have the order of the lines. */
  private dispatch(): void {
    clearTimeout(this.dispatching);
    const { batch } = this;
    if (batch.lines === 0 || this.isOver) return;
    this.batch = this.parts.newBatch();
    this.underWay += 1;
    const stored = this.stored.then(() => this.parts.store(batch, this.lifetime.signal));
    stored.catch(() => undefined); // handled below
    this.stored = stored;
    this.responded = this.responded
      .then(async () => this.respond(await stored))
      .catch((error: unknown) => this.fail(error))
      .finally(() => {
        this.underWay -= 1;
        this.stallTimer.refresh(); // until now the client had nothing to do
        this.wake();
      });
  }

  private async respond(receipts: LineReceipt[]): Promise<void> {
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

  /** Disconnects a client that was silent for too long, unless the service kept it waiting. */
  private onStall(): void {
    if (this.underWay === 0 && this.batch.lines === 0) this.sink.disconnect('client stalled');
  }

  private abort(): void {
    this.lifetime.abort(clientClosed());
    this.response.req.destroy();
    this.wake();
  }

  /** Lines of unknown outcome, and all later ones, get no receipt. */
  private fail(error: unknown): void {
    if (this.isOver) return;
    this.failure = toAppError(error);
    this.lifetime.abort(this.failure);
    this.wake();
  }

  private wake(): void {
    for (const resolve of this.waiters.splice(0)) resolve();
  }

  private change(): Promise<void> {
    return new Promise((resolve) => this.waiters.push(resolve));
  }
}
