import { LRUCache } from 'lru-cache';
import { abortablePromise, abortReason } from '../../platform/runtime/abort';
import { FlowQueue } from './flow-queue';

/** A request for a commit. */
export interface Queued {
  /** Requests of different flows are committed in turn. */
  readonly flow: string;
  /** Its share of a batch. */
  readonly size: number;
  /** What it locks in its transaction. */
  readonly keys: ReadonlySet<string>;
  /** Aborts when its caller does not wait any longer. */
  readonly signal?: AbortSignal;
}

/** The end of one request of a committed batch. */
export type Outcome<Result> = { result: Result } | { refusal: Error };

/** One call of `commit`. */
export interface Attempt {
  /** Whether an abort can no longer prevent the commit: it was sent, or other requests are part of it. Set by `commit`. */
  isCommitting: boolean;
  /** Whether a caller was told that the outcome is not known. */
  isAbandoned: boolean;
}

/** The reaction to a commit that failed. Nothing of its batch was committed, or the outcome is not known. */
export type Recovery<Request> =
  /** All requests fail; with `includeWaiting` those too that wait for one of their keys. */
  | { kind: 'reject'; error: Error; includeWaiting?: boolean }
  /** Each request is committed alone, so that only the one at fault fails. */
  | { kind: 'isolate' }
  /** Requests go back to the head of their flows, each once `prepare` has resolved for it. */
  | { kind: 'requeue'; error: Error; prepare: (request: Request) => Promise<void> }
  /** The same at once; requests for one of these keys run exclusively until one of them has succeeded. */
  | { kind: 'quarantine'; keys: readonly string[] };

/** The size of the next batch, in all and of one flow. */
export interface BatchLimit {
  size: number;
  sizeOfFlow: number;
}

export interface CommitQueueOptions<Request, Result> {
  /**
   * Commits a batch, all or nothing; the outcomes are in the order of the requests. When it rejects, `recover` decides.
   * A request that is alone may be rolled back when its signal aborts: `commit` then rejects with the signal's reason.
   */
  commit(batch: readonly Request[], attempt: Attempt): Promise<readonly Outcome<Result>[]>;
  recover(
    error: unknown,
    batch: readonly Request[],
  ): Recovery<Request> | Promise<Recovery<Request>>;
  batchLimit(): BatchLimit;
  /** The error for a caller that stops waiting for a commit that cannot be prevented any more. */
  abandoned(attempt: Attempt): Error;
  /** Called with the number of requests in transactions that are not answered, each time it changes. */
  onUnanswered?(requests: number): void;
  /** A larger request has a transaction of its own, so that small ones do not wait for it. */
  exclusiveAbove: number;
  /** Transactions of exclusive requests at once, beside the one of the batch. */
  maxExclusive: number;
  /** Milliseconds after which a commit is abandoned for requests without a signal too. */
  abandonAfterMs: number;
  /** How often a request is requeued before it fails. */
  maxRequeues: number;
}

/** Keys in quarantine. Of more, those noted first leave and are found again. */
const MAX_QUARANTINED = 1000;

/** A request with its caller. */
interface Entry<Request, Result> {
  request: Request;
  requeues: number;
  /** The commit that has it, while one has. */
  attempt?: Attempt;
  resolve: (result: Result) => void;
  reject: (error: Error) => void;
}

/**
 * Group commit. Requests that arrive while a batch is being committed form the next one; there is no timer, so an idle queue
 * commits at once. One batch runs at a time, and beside it a few exclusive requests, which lock their keys against it.
 * A request succeeds or fails by itself, and is answered only after its commit.
 */
export class CommitQueue<Request extends Queued, Result> {
  private readonly waiting = new FlowQueue<Entry<Request, Result>>(({ request }) => request);
  private isBatchRunning = false;
  private exclusiveRunning = 0;
  /** Requests on their way back into the queue. */
  private requeuing = 0;
  /** Keys of exclusive requests that run: a batch that needs one would wait, with strangers in it. */
  private readonly locked = new Set<string>();
  private readonly quarantined = new LRUCache<string, true>({ max: MAX_QUARANTINED });
  private unanswered = 0;
  private readonly idle: (() => void)[] = [];

  constructor(private readonly options: CommitQueueOptions<Request, Result>) {}

  /**
   * Commits a request. When its signal aborts, a request that is not committed yet leaves, and one that is alone in its
   * transaction is rolled back unless the commit was sent; for any other the outcome is not known.
   * @throws the reason of the signal, `abandoned`, the refusal of the outcome, what `recover` says.
   */
  submit(request: Request): Promise<Result> {
    return abortablePromise(request.signal, (resolve, reject) => {
      const entry: Entry<Request, Result> = { request, requeues: 0, resolve, reject };
      this.waiting.enqueue(entry);
      this.dispatch();
      return () => this.abandon(entry);
    });
  }

  /** Whether one more request may wait where `limit` (sum of sizes) is enough, or its flow has less than its share. */
  hasCapacityFor(request: Pick<Request, 'flow' | 'size'>, limit: number): boolean {
    return this.waiting.hasCapacityFor(request, limit);
  }

  /** Fails all requests that no transaction has taken yet. */
  rejectWaiting(error: () => Error): void {
    for (const { reject } of this.waiting.dequeue(() => true)) reject(error());
  }

  statistics(): { requests: number; size: number; running: number; unanswered: number } {
    return {
      requests: this.waiting.length,
      size: this.waiting.size,
      running: this.exclusiveRunning + Number(this.isBatchRunning),
      unanswered: this.unanswered,
    };
  }

  get isIdle(): boolean {
    return (
      this.waiting.length === 0 &&
      this.requeuing === 0 &&
      !this.isBatchRunning &&
      this.exclusiveRunning === 0
    );
  }

  /** Resolves when nothing waits or runs. */
  async whenIdle(): Promise<void> {
    if (!this.isIdle) await new Promise<void>((resolve) => this.idle.push(resolve));
  }

  /** The error for a request whose signal has aborted; undefined when that ends its transaction, which rejects. */
  private abandon(entry: Entry<Request, Result>): Error | undefined {
    const { signal } = entry.request;
    if (this.waiting.remove(entry)) return signal && abortReason(signal);
    return entry.attempt?.isCommitting ? this.abandonedBy(entry.attempt) : undefined;
  }

  private abandonedBy(attempt: Attempt): Error {
    const error = this.options.abandoned(attempt);
    attempt.isAbandoned = true;
    return error;
  }

  private dispatch(): void {
    this.startExclusive();
    if (!this.isBatchRunning) {
      const limit = this.options.batchLimit();
      const batch = this.waiting.dequeue(
        ({ request }, taken, takenOfFlow) =>
          !this.runsExclusively(request) &&
          taken + request.size <= limit.size &&
          // The first request of a flow has a place in any case.
          (takenOfFlow === 0 || takenOfFlow + request.size <= limit.sizeOfFlow) &&
          this.isFree(request),
      );
      if (batch.length > 0) {
        this.isBatchRunning = true;
        this.run(batch, () => {
          this.isBatchRunning = false;
        });
      }
    }
    if (this.isIdle) this.idle.splice(0).forEach((resolve) => resolve());
  }

  private startExclusive(): void {
    while (this.exclusiveRunning < this.options.maxExclusive) {
      const [entry] = this.waiting.dequeue(
        ({ request }) => this.runsExclusively(request) && this.isFree(request),
        1,
      );
      if (!entry) return;
      const { keys } = entry.request;
      this.exclusiveRunning += 1;
      for (const key of keys) this.locked.add(key);
      this.run([entry], () => {
        this.exclusiveRunning -= 1;
        for (const key of keys) this.locked.delete(key);
      });
    }
  }

  private runsExclusively({ size, keys }: Request): boolean {
    if (size > this.options.exclusiveAbove) return true;
    return this.quarantined.size > 0 && [...keys].some((key) => this.quarantined.has(key));
  }

  private isFree({ keys }: Request): boolean {
    return this.locked.size === 0 || ![...keys].some((key) => this.locked.has(key));
  }

  private run(batch: Entry<Request, Result>[], done: () => void): void {
    // Callers that were answered just now send their next requests within this turn of the event loop: without waiting for
    // it the next batch would be the one request that waited already.
    const proceed = (): void => {
      setImmediate(() => {
        done();
        this.dispatch();
      });
    };
    this.commit(batch).then(proceed, proceed);
  }

  /** Commits a batch and answers its requests. Never rejects. */
  private async commit(batch: Entry<Request, Result>[]): Promise<void> {
    try {
      const outcomes = await this.attempt(batch);
      batch.forEach((entry, index) => answer(entry, outcomes[index]));
      if (this.quarantined.size > 0) {
        for (const { request } of batch)
          request.keys.forEach((key) => this.quarantined.delete(key));
      }
    } catch (error) {
      const recovery = await this.recoveryOf(error, batch);
      if (recovery.kind === 'reject') this.reject(batch, recovery);
      else if (recovery.kind === 'requeue') this.requeueEach(batch, recovery);
      else if (recovery.kind === 'quarantine') {
        for (const key of recovery.keys) this.quarantined.set(key, true);
        this.requeue(batch);
      } else for (const entry of batch) await this.commit([entry]);
    }
  }

  private async recoveryOf(
    error: unknown,
    batch: Entry<Request, Result>[],
  ): Promise<Recovery<Request>> {
    try {
      return await this.options.recover(
        error,
        batch.map(({ request }) => request),
      );
    } catch (fault) {
      return { kind: 'reject', error: fault as Error };
    }
  }

  /** One commit of a batch. Callers whose signals abort meanwhile are told what that means for them. */
  private async attempt(batch: Entry<Request, Result>[]): Promise<readonly Outcome<Result>[]> {
    const attempt: Attempt = { isCommitting: false, isAbandoned: false };
    for (const entry of batch) entry.attempt = attempt;
    const stopCounting = this.countUnanswered(batch);
    const abandon = (): void => {
      for (const { reject } of batch) reject(this.abandonedBy(attempt));
    };
    const limit = setTimeout(abandon, this.options.abandonAfterMs).unref();
    try {
      return await this.options.commit(
        batch.map(({ request }) => request),
        attempt,
      );
    } finally {
      clearTimeout(limit);
      stopCounting();
      for (const entry of batch) entry.attempt = undefined;
    }
  }

  /** Counts these requests until each is answered, and at the latest until the returned function is called. */
  private countUnanswered(batch: Entry<Request, Result>[]): () => void {
    const change = (by: number): void => {
      this.unanswered += by;
      this.options.onUnanswered?.(this.unanswered);
    };
    const ends = batch.map((entry) => {
      let isCounted = true;
      const { reject } = entry;
      const { signal } = entry.request;
      const end = (): void => {
        if (isCounted) change(-1);
        isCounted = false;
      };
      signal?.addEventListener('abort', end, { once: true });
      entry.reject = (error) => {
        end();
        reject(error);
      };
      return () => {
        signal?.removeEventListener('abort', end);
        entry.reject = reject;
        end();
      };
    });
    change(batch.length);
    return () => ends.forEach((end) => end());
  }

  private reject(
    batch: Entry<Request, Result>[],
    { error, includeWaiting }: Extract<Recovery<Request>, { kind: 'reject' }>,
  ): void {
    for (const { reject } of batch) reject(error);
    if (!includeWaiting) return;
    const keys = new Set(batch.flatMap(({ request }) => [...request.keys]));
    const waiting = this.waiting.dequeue(({ request }) =>
      [...request.keys].some((key) => keys.has(key)),
    );
    for (const { reject } of waiting) reject(error);
  }

  private requeueEach(
    batch: Entry<Request, Result>[],
    { error, prepare }: Extract<Recovery<Request>, { kind: 'requeue' }>,
  ): void {
    for (const entry of batch) {
      entry.requeues += 1;
      if (entry.requeues > this.options.maxRequeues) {
        entry.reject(error);
        continue;
      }
      this.requeuing += 1;
      prepare(entry.request)
        .then(() => this.requeue([entry]), entry.reject)
        .finally(() => {
          this.requeuing -= 1;
          this.dispatch();
        });
    }
  }

  /** Puts requests back, except those whose callers have gone. */
  private requeue(batch: Entry<Request, Result>[]): void {
    this.waiting.requeue(
      batch.filter(({ request: { signal }, reject }) => {
        if (signal?.aborted) reject(abortReason(signal));
        return signal?.aborted !== true;
      }),
    );
  }
}

function answer<Request, Result>(
  { resolve, reject }: Entry<Request, Result>,
  outcome: Outcome<Result> | undefined,
): void {
  if (!outcome) reject(new Error('The commit has no outcome for this request.'));
  else if ('refusal' in outcome) reject(outcome.refusal);
  else resolve(outcome.result);
}
