import { Injectable, Logger, type BeforeApplicationShutdown } from '@nestjs/common';
import { LRUCache } from 'lru-cache';
import { claimKey, stillRunning } from '../../concurrency/idempotency-keys';
import { EventLoopPressure } from '../../concurrency/event-loop-pressure';
import { Database } from '../../platform/database/database';
import {
  isLockTimeout,
  isMissingPartition,
  isRetryable,
  toDatabaseError,
} from '../../platform/database/database-errors';
import { Partitions } from '../../platform/database/partitions';
import { isOutcomeUnknown, unknownOutcome } from '../../platform/database/unknown-outcome';
import { AppError } from '../../platform/errors/app-error';
import { EVENT_TABLE } from '../event/audit-event';
import { heldHeads } from '../event/audit.statements';
import { BatchCommitter } from './batch-committer';
import { abortReason, abortablePromise } from '../../platform/runtime/abort';
import { type Attempt, settle, type Waiting, WriteQueue } from './write-queue';
import { batchSizeLimit, fitsBatch, SMALL_REQUEST_EVENTS } from './batch-size';
import { commitOf, monthsOf, type WriteCommit } from './write-commit';
import type { Recorded, WriteRequest, WriteResult } from './write-batch';

const LARGE_TRANSACTIONS = 2;
const ATTEMPTS = 5;
/** What may wait at once, as a bound on memory; beyond it requests are shed, those of the flows that have most of it. */
const MAX_WAITING_EVENTS = 200_000;
/** A transaction that is not over by then has an unknown outcome for those of its requests that have no deadline, too. */
const MOST_ATTEMPT_MS = 60_000;

/**
 * The one way by which events come into the database. Group commit: requests that arrive while a transaction is under
 * way go together in the next one; there is no timer, so an idle service answers at once. Each request succeeds or
 * fails by itself, and is answered only after the commit.
 */
@Injectable()
export class AuditWriter implements BeforeApplicationShutdown {
  private readonly logger = new Logger(AuditWriter.name);
  private readonly waiting = new WriteQueue();
  private isBatchRunning = false;
  private largeRunning = 0;
  /** Requests that wait for a partition to be made before they queue. */
  private preparing = 0;
  /** Organizations that a large transaction of ours has locked: a group that needs one would wait, with strangers in it. */
  private readonly locked = new Set<string>();
  /** Organizations whose head row somebody else was found holding: they go alone, so that strangers do not wait. Of more, those noted first are found again. */
  private readonly quarantined = new LRUCache<string, true>({ max: 1000 });
  private readonly runningKeys = new Set<string>();
  private readonly idle: (() => void)[] = [];
  private readonly stallListeners: ((requests: number) => void)[] = [];
  /** Requests that a transaction has and that are not answered yet. */
  private unanswered = 0;
  /** Are told of each transaction that has committed, before whoever asked for it; they do not throw. */
  private readonly committed: ((commit: WriteCommit) => void)[] = [];

  constructor(
    private readonly database: Database,
    private readonly partitions: Partitions,
    private readonly recorder: BatchCommitter,
    private readonly contention: EventLoopPressure,
  ) {
    database.durability.onStall((isStalled) => {
      if (isStalled) this.refuseWaiting();
      this.reportStalled(isStalled ? this.unanswered : 0);
    });
  }

  /**
   * Writes the events of one request, all or none, and resolves after the commit with the answer to give. When its signal
   * aborts, a request that no transaction has taken yet leaves, and one that has a transaction to itself is rolled back
   * unless the commit was sent: nothing is stored. What became of any other is not known then.
   * @throws AppError CONFLICT, IDEMPOTENCY_MISMATCH, TOO_MANY_REQUESTS (too much is waiting), DATABASE_UNAVAILABLE (of
   * unknown outcome: unknown-outcome.ts); the reason of the signal: nothing was stored.
   */
  async record(request: WriteRequest): Promise<Recorded> {
    const { durability } = this.database;
    if (durability.isStalled) throw durability.refusal();
    if (!this.waiting.hasCapacityFor(request, MAX_WAITING_EVENTS)) {
      throw new AppError('TOO_MANY_REQUESTS', 'Too many events are waiting to be written.', {
        retryAfterSeconds: 1,
      });
    }
    this.contention.noteFlow(request.flow);
    // Without a turn of waiting when they are there: a shutdown must not find a request that neither waits nor prepares.
    if (!this.arePartitionsKnown(request)) await this.makePartitions(request);
    const key = request.claim && claimKey(request.claim);
    if (key !== undefined && this.runningKeys.has(key)) throw stillRunning();
    if (key !== undefined) this.runningKeys.add(key);
    try {
      return await this.enqueue(request);
    } finally {
      if (key !== undefined) this.runningKeys.delete(key);
    }
  }

  /** Calls `listener` with each transaction that commits from now on. */
  onCommit(listener: (commit: WriteCommit) => void): void {
    this.committed.push(listener);
  }

  /**
   * Calls `listener` with the number of requests that wait for a standby that does not answer, each time it changes: fewer
   * as they are answered at their deadlines, 0 when it answers again.
   */
  onStalledRequests(listener: (requests: number) => void): void {
    this.stallListeners.push(listener);
  }

  private reportStalled(requests: number): void {
    for (const listener of this.stallListeners) listener(requests);
  }

  private notify(requests: WriteRequest[], durationMs: number): void {
    const commit = commitOf(requests, durationMs);
    for (const listener of this.committed) listener(commit);
  }

  private arePartitionsKnown(request: WriteRequest): boolean {
    return this.partitions.areKnown(EVENT_TABLE, monthsOf([{ request }]));
  }

  private enqueue(request: WriteRequest): Promise<Recorded> {
    const organizations = new Set(request.events.map((event) => event.organizationId));
    return abortablePromise(request.signal, (resolve, reject) => {
      const one: Waiting = { request, returns: 0, organizations, resolve, reject };
      this.waiting.enqueue(one);
      this.dispatch();
      return () => this.abandon(one);
    });
  }

  /** What to tell one whose signal has aborted; undefined when that ends its transaction, which tells. */
  private abandon(one: Waiting): Error | undefined {
    const { signal } = one.request;
    if (this.waiting.remove(one)) return signal && abortReason(signal);
    return one.attempt?.isCommitting ? this.late(one.attempt) : undefined;
  }

  /** The error of one that does not wait any longer for the commit of its transaction. */
  private late(attempt: Attempt): AppError {
    if (!attempt.isUnknown) this.database.durability.count('deadline');
    attempt.isUnknown = true;
    return unknownOutcome('deadline');
  }

  /** Commits are not confirmed: what no transaction has taken yet is refused, rather than let to wait with its turns. */
  private refuseWaiting(): void {
    const { durability } = this.database;
    for (const one of this.waiting.dequeue(() => true)) one.reject(durability.refusal());
  }

  /** Lets requests wait (again), but for those that nobody waits for any more. */
  private waitOn(ones: Waiting[]): void {
    const kept = ones.filter(({ request: { signal }, reject }) => {
      if (signal?.aborted) reject(abortReason(signal));
      return signal?.aborted !== true;
    });
    this.waiting.requeue(kept);
  }

  /** Makes the partitions that a request needs before it joins a group, where strangers would wait for them. */
  private async makePartitions(request: WriteRequest): Promise<void> {
    this.preparing += 1;
    try {
      const months = monthsOf([{ request }]);
      await this.partitions.ensure(EVENT_TABLE, months, request.signal, request.flow);
    } finally {
      this.preparing -= 1;
      setImmediate(() => this.dispatch()); // by then the request waits, or has failed
    }
  }

  /** How much waits and runs right now. */
  statistics(): { waitingRequests: number; waitingEvents: number; runningTransactions: number } {
    return {
      waitingRequests: this.waiting.requests,
      waitingEvents: this.waiting.events,
      runningTransactions: this.largeRunning + Number(this.isBatchRunning),
    };
  }

  /**
   * Resolves when nothing waits or runs any more; the database is closed only after that. Commits that wait for a
   * standby that is away are given up, as their end may be hours away: no request waits for them any more.
   */
  async beforeApplicationShutdown(): Promise<void> {
    if (this.isIdle()) return;
    this.database.stopWaitingForCommits();
    await new Promise<void>((resolve) => this.idle.push(resolve));
  }

  private isIdle(): boolean {
    const isWaiting = this.preparing > 0 || this.waiting.requests > 0;
    return !isWaiting && !this.isBatchRunning && this.largeRunning === 0;
  }

  /** Starts whatever may start now. */
  private dispatch(): void {
    this.startLarge();
    if (!this.isBatchRunning) {
      const size = batchSizeLimit(this.contention.isHigh());
      const group = this.waiting.dequeue(
        (one, taken, takenOfFlow) =>
          !this.runsExclusively(one) &&
          fitsBatch(size, one.request.events.length, taken, takenOfFlow) &&
          this.isFree(one.organizations),
      );
      if (group.length > 0) {
        this.isBatchRunning = true;
        this.run(group, () => {
          this.isBatchRunning = false;
        });
      }
    }
    if (this.isIdle()) this.idle.splice(0).forEach((resolve) => resolve());
  }

  private startLarge(): void {
    while (this.largeRunning < LARGE_TRANSACTIONS) {
      const [large] = this.waiting.dequeue(
        (one) => this.runsExclusively(one) && this.isFree(one.organizations),
        1,
      );
      if (!large) return;
      this.largeRunning += 1;
      for (const organization of large.organizations) this.locked.add(organization);
      this.run([large], () => {
        this.largeRunning -= 1;
        for (const organization of large.organizations) this.locked.delete(organization);
      });
    }
  }

  private runsExclusively({ request, organizations }: Waiting): boolean {
    if (request.events.length > SMALL_REQUEST_EVENTS) return true;
    return this.quarantined.size > 0 && [...organizations].some((id) => this.quarantined.has(id));
  }

  private isFree(organizations: Set<string>): boolean {
    if (this.locked.size === 0) return true;
    return ![...organizations].some((id) => this.locked.has(id));
  }

  private run(group: Waiting[], done: () => void): void {
    // Those who were answered just now make room for others, who come within this turn of the event loop: they are to be
    // in the next group, or that is the one request that waited already.
    const proceed = (): void => {
      setImmediate(() => {
        done();
        this.dispatch();
      });
    };
    this.write(group).then(proceed, proceed);
  }

  /** Writes a group and settles its requests. Never rejects. */
  private async write(group: Waiting[]): Promise<void> {
    if (group.length > 1 && !this.partitions.areKnown(EVENT_TABLE, monthsOf(group))) {
      return this.prepareAgain(group, new Error('The partitions are being removed'));
    }
    try {
      const results = await this.attempt(group);
      group.forEach((one, index) => settle(one, results[index]));
      for (const { organizations } of group)
        organizations.forEach((id) => this.quarantined.delete(id));
    } catch (error) {
      if (group.length > 1 && isMissingPartition(error)) return this.prepareAgain(group, error);
      if (group.length > 1 && isLockTimeout(error)) return this.quarantine(group);
      const fault = toDatabaseError(error);
      if (group.length === 1 || fault.code === 'DATABASE_UNAVAILABLE') {
        for (const one of group) one.reject(fault);
        if (isLockTimeout(error)) this.rejectQuarantined(group, fault);
        return;
      }
      // One of them broke the transaction: alone, only that one fails.
      this.logger.warn(`A shared transaction failed (${fault.code}); its requests go one by one.`);
      for (const one of group) await this.write([one]);
    }
  }

  /** One transaction of a group. Those who wait for it are told what their signals mean for it while it runs. */
  private async attempt(group: Waiting[]): Promise<WriteResult[]> {
    const attempt: Attempt = { isCommitting: false, isUnknown: false };
    for (const one of group) one.attempt = attempt;
    const stopCounting = this.countUnanswered(group);
    const giveUp = (): void => group.forEach((one) => one.reject(this.late(attempt)));
    const limit = setTimeout(giveUp, MOST_ATTEMPT_MS).unref();
    try {
      return await this.commit(
        group.map(({ request }) => request),
        attempt,
      );
    } catch (error) {
      if (isOutcomeUnknown(error)) {
        const organizations = new Set(group.flatMap((one) => [...one.organizations]));
        this.database.durability.noteFailure(error, organizations);
      }
      throw error;
    } finally {
      clearTimeout(limit);
      stopCounting();
      for (const one of group) one.attempt = undefined;
    }
  }

  /** Counts these requests until each is answered, and at the latest until what this returns is called. */
  private countUnanswered(group: Waiting[]): () => void {
    const ends = group.map((one) => {
      let isCounted = true;
      const { reject } = one;
      const end = (): void => {
        if (!isCounted) return;
        isCounted = false;
        this.unanswered -= 1;
        if (this.database.durability.isStalled) this.reportStalled(this.unanswered);
      };
      const { signal } = one.request;
      signal?.addEventListener('abort', end, { once: true });
      one.reject = (error) => {
        end();
        reject(error);
      };
      return () => {
        signal?.removeEventListener('abort', end);
        one.reject = reject;
        end();
      };
    });
    this.unanswered += group.length;
    return () => ends.forEach((end) => end());
  }

  /**
   * A month of this group has lost its partition, to retention. Making it anew may have to wait for the removal of the
   * old one, so only the requests that need it wait; the others go on at once.
   */
  private prepareAgain(group: Waiting[], reason: unknown): void {
    for (const one of group) {
      one.returns += 1;
      if (one.returns > ATTEMPTS) {
        one.reject(toDatabaseError(reason));
        continue;
      }
      this.preparing += 1;
      this.makePartitions(one.request)
        .then(
          () => this.waitOn([one]),
          (error: unknown) => one.reject(toDatabaseError(error)),
        )
        .finally(() => {
          this.preparing -= 1;
          this.dispatch();
        });
    }
  }

  /** A head row that this group needs stays locked: finds out whose, and lets the others go on without them. */
  private async quarantine(group: Waiting[]): Promise<void> {
    const all = [...new Set(group.flatMap(({ organizations }) => [...organizations]))];
    try {
      const { rows } = await this.database.withClient((client) =>
        client.query<{ organization_id: string }>(heldHeads(all)),
      );
      this.logger.warn(`${rows.length} organizations are locked by others and go alone now.`);
      for (const { organization_id: id } of rows) this.quarantined.set(id, true);
      this.waitOn(group);
    } catch (error) {
      for (const one of group) one.reject(toDatabaseError(error));
    }
  }

  /** What waits for an organization that stays locked is told so at once, not one timeout after the other. */
  private rejectQuarantined(group: Waiting[], fault: AppError): void {
    const locked = new Set(group.flatMap(({ organizations }) => [...organizations]));
    const refused = this.waiting.dequeue(({ organizations }) =>
      [...organizations].some((id) => locked.has(id)),
    );
    for (const one of refused) one.reject(fault);
  }

  private async commit(requests: WriteRequest[], attempt: Attempt): Promise<WriteResult[]> {
    const [only, ...others] = requests;
    const signal = others.length === 0 ? only?.signal : undefined;
    const onCommit = (): void => {
      attempt.isCommitting = true;
    };
    for (let tries = 1; ; tries += 1) {
      attempt.isCommitting = others.length > 0;
      try {
        const months = monthsOf(requests.map((request) => ({ request })));
        await this.partitions.ensure(EVENT_TABLE, months, signal, only?.flow);
        const startedMs = performance.now();
        const results = await this.recorder.record(requests, { signal, onCommit });
        this.notify(requests, performance.now() - startedMs);
        return results;
      } catch (error) {
        if (error instanceof AppError) throw error; // cancelled, or no partition to be had
        if (isMissingPartition(error)) await this.partitions.refresh(EVENT_TABLE, signal);
        const isAlone = requests.length === 1;
        const mayWait = isAlone && (isMissingPartition(error) || isLockTimeout(error));
        if (tries === ATTEMPTS || !(isRetryable(error) || mayWait)) throw error;
      }
    }
  }
}
