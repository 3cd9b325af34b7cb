import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { getHeapStatistics } from 'node:v8';
import { type Principal, principalKey, requireOrganizations } from '../../auth/principal';
import { TokenLife } from '../../auth/token-life';
import { FairScheduler, flowKey } from '../../concurrency/fair-scheduler';
import { auditConfig, serverConfig, streamingConfig } from '../../platform/config/settings';
import { isOutcomeUnknown } from '../../platform/database/commit-outcome';
import { AppError, type ErrorCode, validationFailed } from '../../platform/errors/app-error';
import { StreamLimiter } from '../../streaming/stream-limiter';
import { AuditService } from '../write/audit.service';
import { IngestBatch, type LineReceipt, MAX_BATCH_BYTES, NdjsonIngest } from './ndjson-ingest';

/** Longer than any event: fully escaped metadata and changes of 256 KiB each are six times as long, targets a megabyte. */
const MAX_LINE_BYTES = 5 * 1024 * 1024;
/** Refusals after which a batch waits, as back-pressure: the client's body is not read meanwhile. */
const RETRIED = new Set<ErrorCode>(['TOO_MANY_REQUESTS', 'QUEUE_TIMEOUT']);
const RETRY_MS = 1000;
/** Share of the heap for all bodies; each has three batches, as text and as events. */
const HEAP_SHARE = 1 / 3;
const BODY_BYTES = 2 * 3 * MAX_BATCH_BYTES;
const [MIN_BODIES, MAX_BODIES] = [2, 64];

/** Stores events of NDJSON bodies of any length, with a receipt per line. */
@Injectable()
export class EventIngest {
  readonly limiter = new StreamLimiter(maxBodies(), 'NDJSON bodies');

  constructor(
    private readonly audit: AuditService,
    private readonly scheduler: FairScheduler,
    private readonly tokens: TokenLife,
    @Inject(auditConfig.KEY) private readonly limits: ConfigType<typeof auditConfig>,
    @Inject(serverConfig.KEY) private readonly server: ConfigType<typeof serverConfig>,
    @Inject(streamingConfig.KEY) private readonly streaming: ConfigType<typeof streamingConfig>,
  ) {}

  /**
   * Reads a body to its end; writes a receipt per line, in order, and a summary. `created` lines are committed,
   * rejected ones are not. After the token's end no line is read: the last receipt rejects them all. Resolves when the
   * client has the response or has left.
   * @throws AppError VALIDATION_FAILED (an Idempotency-Key), FORBIDDEN (a token that names no organizations), UNSUPPORTED_MEDIA_TYPE (Content-Encoding),
   * TOO_MANY_REQUESTS (too many bodies); DATABASE_UNAVAILABLE, REQUEST_TIMEOUT when the outcome of lines is unknown,
   * which have no receipt then.
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
    requireOrganizations(principal);
    const release = this.limiter.acquire(principalKey(principal));
    const token = this.tokens.signalOf(principal);
    try {
      const run = new NdjsonIngest(response, {
        stallTimeoutMs: this.streaming.stallTimeoutMs,
        tokenSignal: token.signal,
        maxLines: this.limits.bulkMaxEvents,
        maxLineBytes: Math.min(MAX_LINE_BYTES, this.server.requestMaxSizeBytes),
        newBatch: () => new IngestBatch(principal, (dto) => this.audit.newEvent(dto)),
        store: (batch, signal) => this.store(principal, batch, signal),
      });
      await run.run();
    } finally {
      token.release();
      release();
    }
  }

  private async store(
    principal: Principal,
    batch: IngestBatch,
    signal: AbortSignal,
  ): Promise<LineReceipt[]> {
    if (batch.hasViolations) return batch.rejections();
    const flow = flowKey(principal);
    for (;;) {
      try {
        const work = () => this.audit.recordAll(principal, batch.events, signal);
        return batch.receiptsFor(await this.scheduler.run({ flow, signal }, work));
      } catch (error) {
        if (!(error instanceof AppError) || isOutcomeUnknown(error)) throw error;
        if (signal.aborted || !RETRIED.has(error.code)) return batch.rejections(error);
        await sleep(RETRY_MS, undefined, { signal });
      }
    }
  }
}

function maxBodies(): number {
  const bodies = Math.floor((getHeapStatistics().heap_size_limit * HEAP_SHARE) / BODY_BYTES);
  return Math.min(MAX_BODIES, Math.max(MIN_BODIES, bodies));
}
