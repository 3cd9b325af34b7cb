import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Principal } from '../auth/principal';
import { FairTurns } from '../concurrency/fair-turns';
import { laneOf } from '../concurrency/lane';
import { auditConfig } from '../config/audit.config';
import { serverConfig } from '../config/server.config';
import { streamingConfig } from '../config/streaming.config';
import { AppError, validationFailed } from '../errors/app-error';
import type { ErrorCode } from '../errors/error-table';
import { toAppError } from '../errors/problem';
import { readLines } from '../front/line-reader';
import { bodyStream } from '../front/ndjson-body';
import { ResponseSink } from '../streaming/response-sink';
import { AuditService } from './audit.service';
import { IngestBatch, type LineReceipt } from './ingest-batch';

/** A batch is stored when no line has come for this long: a client that sends now and then has its receipts too. */
const PAUSE_MS = 250;
/** Batches read but not answered: one is being stored, the next is ready when it is. */
const MAX_UNDER_WAY = 2;
/** Lines of one transaction, together: BULK_MAX_EVENTS lines of 256 KiB would be gigabytes. */
const MAX_BATCH_BYTES = 16 * 1024 * 1024;
/** A service at its limit is waited for: the client is told by not being read. */
const BUSY = new Set<ErrorCode>(['TOO_MANY_REQUESTS', 'QUEUE_TIMEOUT']);
const BUSY_RETRY_MS = 1000;

/** Stores events that come one a line, as many as there are, and answers each line once it is decided. */
@Injectable()
export class EventIngest {
  constructor(
    private readonly audit: AuditService,
    private readonly turns: FairTurns,
    @Inject(auditConfig.KEY) private readonly limits: ConfigType<typeof auditConfig>,
    @Inject(serverConfig.KEY) private readonly server: ConfigType<typeof serverConfig>,
    @Inject(streamingConfig.KEY) private readonly streaming: ConfigType<typeof streamingConfig>,
  ) {}

  /**
   * Reads a body of NDJSON to its end and writes a receipt for each line, in their order, and a summary. What a
   * receipt calls created is committed. Resolves when the client has the answer, or has left.
   * @throws AppError VALIDATION_FAILED (an Idempotency-Key), UNSUPPORTED_MEDIA_TYPE (Content-Encoding).
   */
  async serve(
    principal: Principal,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    if (request.headers['idempotency-key'] !== undefined) {
      const message =
        'cannot be used with NDJSON, whose answer is not kept; give each event an id of its own instead';
      throw validationFailed([{ path: 'Idempotency-Key', message }]);
    }
    const body = bodyStream(request);
    const run = new IngestRun(response, this.streaming.stallTimeoutMs, {
      maxLines: this.limits.bulkMaxEvents,
      maxLineBytes: this.server.requestMaxSizeBytes,
      newBatch: () => new IngestBatch(principal),
      store: (batch, isWanted) => this.store(principal, batch, isWanted),
    });
    await run.run(body);
  }

  /** One transaction, in its fair turn: all lines of a batch or none. The only place where NDJSON becomes rows. */
  private async store(
    principal: Principal,
    batch: IngestBatch,
    isWanted: () => boolean,
  ): Promise<LineReceipt[]> {
    if (batch.isFaulty) return batch.rejections();
    for (;;) {
      try {
        const work = () => this.audit.recordAll(principal, batch.events);
        return batch.receiptsFor(await this.turns.run({ lane: laneOf(principal) }, work));
      } catch (error) {
        if (!(error instanceof AppError)) throw error;
        if (!BUSY.has(error.code) || !isWanted()) return batch.rejections(error);
        await new Promise((resolve) => setTimeout(resolve, BUSY_RETRY_MS));
      }
    }
  }
}

interface IngestParts {
  maxLines: number;
  maxLineBytes: number;
  newBatch: () => IngestBatch;
  store: (batch: IngestBatch, isWanted: () => boolean) => Promise<LineReceipt[]>;
}

/** One body on its way: lines into batches, batches into transactions, transactions into receipts. */
class IngestRun {
  private readonly sink: ResponseSink;
  private readonly counts = { created: 0, duplicates: 0, rejected: 0 };
  private batch: IngestBatch;
  private underWay = 0;
  private answered: Promise<void> = Promise.resolve();
  private wake: () => void = () => undefined;
  private isCut = false;
  private failure: Error | undefined;

  constructor(
    private readonly response: ServerResponse,
    stallTimeoutMs: number,
    private readonly parts: IngestParts,
  ) {
    this.batch = parts.newBatch();
    this.sink = new ResponseSink(response, {
      coding: 'identity',
      stallTimeoutMs,
      idleTimeoutMs: stallTimeoutMs,
      onDrain: () => this.wake(),
      onCut: () => {
        this.isCut = true;
        response.req.destroy();
        this.wake();
      },
    });
  }

  async run(body: AsyncIterable<Buffer>): Promise<void> {
    let lastLine = 0;
    const pausing = setTimeout(() => this.dispatch(), PAUSE_MS);
    try {
      for await (const line of readLines(body, this.parts.maxLineBytes)) {
        lastLine = line.number;
        this.batch.add(line);
        const { lines, bytes } = this.batch;
        if (lines >= this.parts.maxLines || bytes >= MAX_BATCH_BYTES) this.dispatch();
        while (this.underWay >= MAX_UNDER_WAY && !this.isCut) await this.change();
        if (this.isCut) break;
        pausing.refresh();
      }
    } catch (error) {
      // Either the client has left, and nobody is there to be told; or its compression is broken.
      if (!this.isCut && isDecodingError(error)) this.batch.addUndecodable(lastLine + 1);
      else this.isCut = true;
    } finally {
      clearTimeout(pausing);
    }
    if (!this.isCut) this.dispatch();
    await this.answered;
    if (this.failure !== undefined) throw this.failure;
    if (this.isCut) return this.sink.destroy();
    this.begin();
    this.sink.write(Buffer.from(`${JSON.stringify({ summary: this.counts })}\n`));
    await this.sink.end({});
  }

  /** Stores what has been read; receipts go out in the order of the lines. */
  private dispatch(): void {
    const { batch } = this;
    if (batch.lines === 0 || this.isCut) return;
    this.batch = this.parts.newBatch();
    this.underWay += 1;
    const stored = this.parts.store(batch, () => !this.isCut);
    stored.catch(() => undefined); // heard of below
    this.answered = this.answered
      .then(async () => this.answer(await stored))
      .catch((error: unknown) => {
        this.failure = toAppError(error); // ours: better no answer than a wrong one
        this.isCut = true;
      })
      .finally(() => {
        this.underWay -= 1;
        this.wake();
      });
  }

  private async answer(receipts: LineReceipt[]): Promise<void> {
    if (this.isCut) return;
    for (const { status } of receipts) {
      this.counts[status === 'duplicate' ? 'duplicates' : status] += 1;
    }
    this.begin();
    const text = receipts.map((receipt) => `${JSON.stringify(receipt)}\n`).join('');
    if (!this.sink.write(Buffer.from(text))) await this.change();
  }

  private begin(): void {
    if (this.response.headersSent || this.isCut) return;
    this.response.writeHead(200, {
      'Content-Type': 'application/x-ndjson; charset=utf-8',
      'Cache-Control': 'no-store',
    });
  }

  /** Resolves at the next change of what is under way, of what the client takes, or of whether it is there. */
  private change(): Promise<void> {
    return new Promise((resolve) => {
      const before = this.wake;
      this.wake = () => {
        before();
        resolve();
      };
    });
  }
}

function isDecodingError(error: unknown): boolean {
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === 'string' && /^(?:Z_|ERR__ERROR|ERR_BROTLI)/.test(code);
}
