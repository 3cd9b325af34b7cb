import { type BeforeApplicationShutdown, Injectable, Logger } from '@nestjs/common';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { EventLoopPressure } from '../../concurrency/event-loop-pressure';
import { claimKey, stillRunning } from '../../concurrency/idempotency-keys';
import { isOutcomeUnknown, unknownOutcome } from '../../platform/database/commit-outcome';
import { Database } from '../../platform/database/database';
import {
  isLockTimeout,
  isMissingPartition,
  isRetryable,
  toDatabaseError,
} from '../../platform/database/database-errors';
import { type Month, monthOf, Partitions } from '../../platform/database/partitions';
import { AppError } from '../../platform/errors/app-error';
import { during, spansOf } from '../../platform/runtime/time-spans';
import { EVENT_TABLE } from '../event/audit-event';
import { heldHeads } from '../event/audit.statements';
import {
  BatchCommitter,
  SMALL_REQUEST_EVENTS,
  type WriteRequest,
  type Written,
} from './batch-committer';
import {
  type Attempt,
  type BatchLimit,
  CommitQueue,
  type Outcome,
  type Queued,
  type Recovery,
} from './commit-queue';

/** Limit of events in a shared transaction; more only delay its first request. */
const BATCH_EVENTS = 1000;
/**
 * Limit of one flow's events in a batch while several flows keep the event loop busy: the clients of a flood get their
 * responses at once, send again at once, and delay the others. 32 single events take the event loop some milliseconds.
 */
const FLOW_EVENTS = 32;
const LARGE_TRANSACTIONS = 2;
const ATTEMPTS = 5;
/** Limit of waiting events, for their memory. Beyond it, requests of the flows with the largest shares are refused. */
const MAX_WAITING_EVENTS = 200_000;
/** Limit of a transaction, also for requests without a deadline; then its outcome is unknown. */
const MAX_ATTEMPT_MS = 60_000;

/** Committed transaction: number of requested events, with duplicates, and duration. */
export interface WriteCommit {
  requests: number;
  events: number;
  /** Events that an earlier transaction, or the same, has stored. */
  duplicates: number;
  /** Requests that got the acknowledgement of an earlier request with their Idempotency-Key. */
  replays: number;
  durationMs: number;
  organizations: ReadonlySet<string>;
}

interface QueuedWrite extends WriteRequest, Queued {}

class PartitionsMissing extends Error {}

/** The only writer of events: creates partitions, queues requests, commits batches, translates failures of PostgreSQL. */
@Injectable()
export class AuditWriter implements BeforeApplicationShutdown {
  private readonly logger = new Logger(AuditWriter.name);
  private readonly queue: CommitQueue<QueuedWrite, Written>;
  private readonly preparing = new Set<Promise<void>>();
  private readonly runningKeys = new Set<string>();
  private readonly stallListeners: ((requests: number) => void)[] = [];
  private readonly commitListeners: ((commit: WriteCommit) => void)[] = [];

  constructor(
    private readonly database: Database,
    private readonly partitions: Partitions,
    private readonly committer: BatchCommitter,
    private readonly pressure: EventLoopPressure,
  ) {
    const { unconfirmedCommits } = database;
    this.queue = new CommitQueue({
      commit: (batch, attempt) => this.commit(batch, attempt),
      recover: (error, batch) => this.recover(error, batch),
      batchLimit: () => this.batchLimit(),
      abandoned: (attempt) => {
        if (!attempt.isAbandoned) unconfirmedCommits.count('deadline');
        return unknownOutcome('deadline');
      },
      onUnanswered: (requests) => {
        if (unconfirmedCommits.isStalled) this.reportStalled(requests);
      },
      exclusiveAbove: SMALL_REQUEST_EVENTS,
      maxExclusive: LARGE_TRANSACTIONS,
      abandonAfterMs: MAX_ATTEMPT_MS,
      maxRequeues: ATTEMPTS,
    });
    unconfirmedCommits.onStall((isStalled) => {
      // Waiting requests would keep their permits while no commit is confirmed.
      if (isStalled) this.queue.rejectWaiting(() => unconfirmedCommits.refusal());
      this.reportStalled(isStalled ? this.queue.statistics().unanswered : 0);
    });
  }

  /**
   * Writes the events of one request, all or none; resolves after the commit. An abort removes a waiting request, and
   * rolls back a request with a transaction of its own unless the commit was sent; otherwise the outcome is unknown.
   * @throws AppError CONFLICT, IDEMPOTENCY_MISMATCH, TOO_MANY_REQUESTS (too many events wait), DATABASE_UNAVAILABLE (of
   * unknown outcome: commit-outcome.ts); the reason of the signal when nothing was stored.
   */
  async write(request: WriteRequest): Promise<Written> {
    const { unconfirmedCommits } = this.database;
    if (unconfirmedCommits.isStalled) throw unconfirmedCommits.refusal();
    const keys = new Set(request.events.map((event) => event.organizationId));
    const queued: QueuedWrite = { ...request, keys, size: request.events.length };
    if (!this.queue.hasCapacityFor(queued, MAX_WAITING_EVENTS)) {
      throw new AppError('TOO_MANY_REQUESTS', 'Too many events are waiting to be written.', {
        retryAfterSeconds: 1,
      });
    }
    this.pressure.noteFlow(request.flow);
    // No await when they exist: a shutdown must not miss a request between preparation and queue.
    if (!this.partitions.areKnown(EVENT_TABLE, monthsOf([request]))) {
      await during(spansOf(request.signal), 'sql', () => this.makePartitions(request));
    }
    const key = request.claim && claimKey(request.claim);
    if (key === undefined) return this.queue.submit(queued);
    if (this.runningKeys.has(key)) throw stillRunning();
    this.runningKeys.add(key);
    try {
      return await this.queue.submit(queued);
    } finally {
      this.runningKeys.delete(key);
    }
  }

  /** Calls `listener`, which must not throw, with each committed transaction, before its responses. */
  onCommit(listener: (commit: WriteCommit) => void): void {
    this.commitListeners.push(listener);
  }

  /** Calls `listener` at each change of the number of requests that wait for a standby. */
  onStalledRequests(listener: (requests: number) => void): void {
    this.stallListeners.push(listener);
  }

  statistics(): { waitingRequests: number; waitingEvents: number; runningTransactions: number } {
    const { requests, size, running } = this.queue.statistics();
    return { waitingRequests: requests, waitingEvents: size, runningTransactions: running };
  }

  /**
   * Resolves when no request waits or runs, before the database is closed. Commits that wait for a missing standby,
   * perhaps for hours, are abandoned, as no request waits for them.
   */
  async beforeApplicationShutdown(): Promise<void> {
    if (!this.isIdle()) this.database.stopWaitingForCommits();
    while (!this.isIdle()) {
      await Promise.allSettled(this.preparing);
      await nextTurn(); // prepared requests are queued, or have failed, after it
      await this.queue.whenIdle();
    }
  }

  private isIdle(): boolean {
    return this.preparing.size === 0 && this.queue.isIdle;
  }

  private reportStalled(requests: number): void {
    for (const listener of this.stallListeners) listener(requests);
  }

  private batchLimit(): BatchLimit {
    // The event loop is idle while commits are slow: batches are then as large as possible.
    const sizeOfFlow = this.pressure.isHigh() ? FLOW_EVENTS : BATCH_EVENTS;
    return { size: BATCH_EVENTS, sizeOfFlow };
  }

  /** Creates partitions before a request joins a batch, whose other requests would wait for them. */
  private makePartitions({
    events,
    flow,
    signal,
  }: Pick<WriteRequest, 'events' | 'flow' | 'signal'>): Promise<void> {
    const made = this.partitions.ensure(EVENT_TABLE, monthsOf([{ events }]), signal, flow);
    const done = (): void => void this.preparing.delete(made);
    this.preparing.add(made);
    made.then(done, done);
    return made;
  }

  private async commit(
    batch: readonly QueuedWrite[],
    attempt: Attempt,
  ): Promise<readonly Outcome<Written>[]> {
    const isAlone = batch.length === 1;
    const months = monthsOf(batch);
    if (!isAlone && !this.partitions.areKnown(EVENT_TABLE, months)) {
      throw new PartitionsMissing('The partitions are being removed');
    }
    const [{ signal, flow }] = batch as [QueuedWrite];
    const options = {
      signal: isAlone ? signal : undefined,
      spans: attempt.spans,
      onCommit: () => {
        attempt.isCommitting = true;
      },
    };
    for (let tries = 1; ; tries += 1) {
      attempt.isCommitting = !isAlone;
      try {
        await this.partitions.ensure(EVENT_TABLE, months, options.signal, flow);
        const startedMs = performance.now();
        const outcomes = await this.committer.commit(batch, options);
        this.notify(batch, outcomes, performance.now() - startedMs);
        return outcomes;
      } catch (error) {
        if (isOutcomeUnknown(error)) {
          this.database.unconfirmedCommits.noteFailure(error, organizationsOf(batch));
        }
        if (error instanceof AppError) throw error; // an abort, an unknown outcome, or a missing partition
        if (isMissingPartition(error)) await this.partitions.refresh(EVENT_TABLE, options.signal);
        const mayWait = isAlone && (isMissingPartition(error) || isLockTimeout(error));
        if (tries === ATTEMPTS || !(isRetryable(error) || mayWait)) throw error;
      }
    }
  }

  private notify(
    batch: readonly QueuedWrite[],
    outcomes: readonly Outcome<Written>[],
    durationMs: number,
  ): void {
    const events = batch.reduce((sum, { size }) => sum + size, 0);
    const organizations = organizationsOf(batch);
    const requests = batch.length;
    const commit = { requests, events, ...repeatsIn(outcomes), durationMs, organizations };
    for (const listener of this.commitListeners) listener(commit);
  }

  private async recover(
    error: unknown,
    batch: readonly QueuedWrite[],
  ): Promise<Recovery<QueuedWrite>> {
    const fault = toDatabaseError(error);
    const isShared = batch.length > 1;
    if (isShared && (error instanceof PartitionsMissing || isMissingPartition(error))) {
      // Retention has removed a month: only requests that need it wait for a new partition.
      return { kind: 'requeue', error: fault, prepare: (request) => this.makePartitions(request) };
    }
    if (isShared && isLockTimeout(error)) return this.quarantine(batch);
    if (!isShared || fault.code === 'DATABASE_UNAVAILABLE') {
      // Requests for a locked organization fail together, and not one timeout after the other.
      return { kind: 'reject', error: fault, includeWaiting: isLockTimeout(error) };
    }
    this.logger.warn(`A shared transaction failed (${fault.code}); its requests go one by one.`);
    return { kind: 'isolate' };
  }

  /** Finds the locked head row of a batch, so that the other requests continue without it. */
  private async quarantine(batch: readonly QueuedWrite[]): Promise<Recovery<QueuedWrite>> {
    const { rows } = await this.database.withClient((client) =>
      client.query<{ organization_id: string }>(heldHeads([...organizationsOf(batch)])),
    );
    this.logger.warn(`${rows.length} organizations are locked by others and go alone now.`);
    return { kind: 'quarantine', keys: rows.map(({ organization_id: id }) => id) };
  }
}

/** Counts duplicates; the events of a replay are none, as it repeats an acknowledgement. */
function repeatsIn(
  outcomes: readonly Outcome<Written>[],
): Pick<WriteCommit, 'duplicates' | 'replays'> {
  let [duplicates, replays] = [0, 0];
  for (const outcome of outcomes) {
    if (!('result' in outcome)) continue;
    const { receipts, replayed } = outcome.result;
    if (replayed) replays += 1;
    else for (const { status } of receipts) if (status === 'duplicate') duplicates += 1;
  }
  return { duplicates, replays };
}

function organizationsOf(batch: readonly QueuedWrite[]): Set<string> {
  const [only, ...others] = batch;
  if (only && others.length === 0) return new Set(only.keys);
  return new Set(batch.flatMap(({ keys }) => [...keys]));
}

function monthsOf(requests: readonly Pick<WriteRequest, 'events'>[]): Set<Month> {
  const months = new Set<Month>();
  for (const { events } of requests) {
    for (const { timestamp } of events) months.add(monthOf(timestamp));
  }
  return months;
}
