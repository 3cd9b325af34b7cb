import { LRUCache } from 'lru-cache';
import { abortablePromise, abortReason } from '../../platform/runtime/abort';
import { SharedSpans, type SpanSink, spansOf } from '../../platform/runtime/time-spans';

/** Request for a commit. */
export interface Queued {
  /** Key of fairness; flows are served in rotation. */
  readonly flow: string;
  readonly size: number;
  /** Names of the locks that its transaction takes. */
  readonly keys: ReadonlySet<string>;
  readonly signal?: AbortSignal;
}

/** Size of a request in the fair order of flows. */
export type FlowShare = Pick<Queued, 'flow' | 'size'>;

export type Outcome<Result> = { result: Result } | { refusal: Error };

export interface Attempt {
  /** True when an abort cannot prevent the commit, as it was sent, or has other requests. Set by `commit`. */
  isCommitting: boolean;
  isAbandoned: boolean;
  /** Spans of the requests of the batch. */
  readonly spans: SpanSink;
}

/** Reaction to a failed commit, of which nothing was committed, or the outcome is unknown. */
export type Recovery<Request> =
  /** Fails all requests; with `includeWaiting` also waiting requests for one of their keys. */
  | { kind: 'reject'; error: Error; includeWaiting?: boolean }
  /** Commits each request alone, so that only the one at fault fails. */
  | { kind: 'isolate' }
  /** Returns requests to the head of their flows, each after its `prepare`. */
  | { kind: 'requeue'; error: Error; prepare: (request: Request) => Promise<void> }
  /** Returns requests at once; requests for these keys run exclusively until one has succeeded. */
  | { kind: 'quarantine'; keys: readonly string[] };

export interface BatchLimit {
  size: number;
  sizeOfFlow: number;
}

export interface CommitQueueOptions<Request, Result> {
  /**
   * Commits a batch, all or nothing; outcomes have the order of the requests. A single request may be rolled back when
   * its signal aborts; it rejects with the signal's reason then.
   */
  commit(batch: readonly Request[], attempt: Attempt): Promise<readonly Outcome<Result>[]>;
  recover(
    error: unknown,
    batch: readonly Request[],
  ): Recovery<Request> | Promise<Recovery<Request>>;
  batchLimit(): BatchLimit;
  abandoned(attempt: Attempt): Error;
  /** Called at each change of the number of unanswered requests in transactions. */
  onUnanswered?(requests: number): void;
  /** Size above which a request has a transaction of its own, so that small requests do not wait for it. */
  exclusiveAbove: number;
  maxExclusive: number;
  /** Milliseconds after which a commit is abandoned, also for requests without a signal. */
  abandonAfterMs: number;
  maxRequeues: number;
}

/** Limit of quarantined keys; beyond it the oldest are removed, and quarantined again if they fail again. */
const MAX_QUARANTINED = 1000;

interface Entry<Request, Result> {
  request: Request;
  requeues: number;
  attempt?: Attempt;
  resolve: (result: Result) => void;
  reject: (error: Error) => void;
  /** Ends the request's count as unanswered; undefined outside a transaction, and after settling. */
  onSettled?: (() => void) | undefined;
}

/**
 * Group commit: requests that arrive during a commit form the next batch. There is no timer: an idle queue commits at
 * once. One batch runs at a time, beside a few exclusive requests, whose keys it cannot have.
 */
export class CommitQueue<Request extends Queued, Result> {
  private readonly waiting = new FlowQueue<Entry<Request, Result>>(
    ({ request }) => request,
    noteWait,
  );
  private isBatchRunning = false;
  private exclusiveRunning = 0;
  private requeuing = 0;
  /** Keys of running exclusive requests, for which a batch would wait. */
  private readonly locked = new Set<string>();
  private readonly quarantined = new LRUCache<string, true>({ max: MAX_QUARANTINED });
  private unanswered = 0;
  private readonly idle: (() => void)[] = [];

  constructor(private readonly options: CommitQueueOptions<Request, Result>) {}

  /**
   * Commits a request. An abort removes a waiting request, and rolls back a request that is alone in its transaction
   * unless the commit was sent; otherwise the outcome is unknown.
   * @throws the reason of the signal, `abandoned`, the refusal of the outcome, the error of `recover`.
   */
  submit(request: Request): Promise<Result> {
    return abortablePromise(request.signal, (resolve, reject) => {
      const entry: Entry<Request, Result> = { request, requeues: 0, resolve, reject };
      this.waiting.enqueue(entry);
      this.dispatch();
      return () => this.abandon(entry);
    });
  }

  /** Checks that one more request may wait within `limit` (sum of sizes), or within its flow's share. */
  hasCapacityFor(request: FlowShare, limit: number): boolean {
    return this.waiting.hasCapacityFor(request, limit);
  }

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

  async whenIdle(): Promise<void> {
    if (!this.isIdle) await new Promise<void>((resolve) => this.idle.push(resolve));
  }

  /** Returns the error of an aborted request; undefined when the abort ends its transaction, whose failure is the error. */
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
          // The first request of a flow may have any size.
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
    // Clients that got responses send their next requests in this iteration of the event loop: without the wait the next
    // batch would have only one request.
    const proceed = (): void => {
      setImmediate(() => {
        done();
        this.dispatch();
      });
    };
    this.commit(batch).then(proceed, proceed);
  }

  /** Never rejects. */
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

  private async attempt(batch: Entry<Request, Result>[]): Promise<readonly Outcome<Result>[]> {
    const spans = new SharedSpans();
    const attempt: Attempt = { isCommitting: false, isAbandoned: false, spans };
    const leave = batch.map((entry) => {
      entry.attempt = attempt;
      const own = spansOf(entry.request.signal);
      return own && spans.follow(own);
    });
    this.countUnanswered(batch);
    const abandon = (): void => {
      for (const entry of batch) {
        entry.onSettled?.();
        entry.reject(this.abandonedBy(attempt));
      }
    };
    const limit = setTimeout(abandon, this.options.abandonAfterMs).unref();
    try {
      return await this.options.commit(
        batch.map(({ request }) => request),
        attempt,
      );
    } finally {
      clearTimeout(limit);
      for (const end of leave) end?.();
      for (const entry of batch) {
        entry.onSettled?.();
        entry.attempt = undefined;
      }
    }
  }

  /** Counts requests as unanswered until each is settled: by its abort, or by `onSettled`. */
  private countUnanswered(batch: Entry<Request, Result>[]): void {
    const change = (by: number): void => {
      this.unanswered += by;
      this.options.onUnanswered?.(this.unanswered);
    };
    for (const entry of batch) {
      const { signal } = entry.request;
      const end = (): void => {
        entry.onSettled = undefined;
        signal?.removeEventListener('abort', end);
        change(-1);
      };
      entry.onSettled = end;
      signal?.addEventListener('abort', end, { once: true });
    }
    change(batch.length);
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

  private requeue(batch: Entry<Request, Result>[]): void {
    this.waiting.requeue(
      batch.filter(({ request: { signal }, reject }) => {
        if (signal?.aborted) reject(abortReason(signal));
        return signal?.aborted !== true;
      }),
    );
  }
}

function noteWait({ request }: Pick<Entry<Queued, unknown>, 'request'>, change: 1 | -1): void {
  const spans = spansOf(request.signal);
  if (change === 1) spans?.begin('queue');
  else spans?.end('queue');
}

function answer<Request, Result>(
  { resolve, reject }: Entry<Request, Result>,
  outcome: Outcome<Result> | undefined,
): void {
  if (!outcome) reject(new Error('The commit has no outcome for this request.'));
  else if ('refusal' in outcome) reject(outcome.refusal);
  else resolve(outcome.result);
}

interface Scan<Entry> {
  flow: string;
  entries: Entry[];
  at: number;
  skipped: Entry[];
  taken: number;
  isServed: boolean;
}

/**
 * Waiting entries in a queue for each flow, which are served in rotation. FairQueue does not fit, as a batch takes many
 * entries at once by their sizes, skips those that must not run yet, and may return them to the head of their flow.
 */
export class FlowQueue<Entry> {
  /** Flows in the order of service; a served flow moves to the end. */
  private readonly flows = new Map<string, Entry[]>();
  private readonly sizes = new Map<string, number>();
  private count = 0;
  private total = 0;

  /** @param noteChange called with each entry that begins (1) or ends (-1) to wait. */
  constructor(
    private readonly shareOf: (entry: Entry) => FlowShare,
    private readonly noteChange?: (entry: Entry, change: 1 | -1) => void,
  ) {}

  get length(): number {
    return this.count;
  }

  get size(): number {
    return this.total;
  }

  /**
   * Checks capacity for one more entry within `limit`. Beyond it a flow has capacity within its share, or for its only
   * entry, so that no flow is refused for the load of others.
   */
  hasCapacityFor({ flow, size }: FlowShare, limit: number): boolean {
    if (this.total + size <= limit) return true;
    const own = this.sizes.get(flow) ?? 0;
    const flows = this.sizes.size + (own === 0 ? 1 : 0);
    return (own === 0 && flows > 1) || own + size <= limit / flows;
  }

  enqueue(entry: Entry): void {
    const { flow } = this.shareOf(entry);
    const entries = this.flows.get(flow);
    if (entries) entries.push(entry);
    else this.flows.set(flow, [entry]);
    this.note(entry, 1);
  }

  requeue(entries: readonly Entry[]): void {
    for (const entry of [...entries].reverse()) {
      const { flow } = this.shareOf(entry);
      this.flows.set(flow, [entry, ...(this.flows.get(flow) ?? [])]);
      this.note(entry, 1);
    }
  }

  remove(entry: Entry): boolean {
    const { flow } = this.shareOf(entry);
    const entries = this.flows.get(flow) ?? [];
    const at = entries.indexOf(entry);
    if (at === -1) return false;
    entries.splice(at, 1);
    if (entries.length === 0) this.flows.delete(flow);
    this.note(entry, -1);
    return true;
  }

  /** Takes at most `limit` fitting entries, in each round the oldest of each flow. `taken`, `takenOfFlow`: sizes so far. */
  dequeue(
    fits: (entry: Entry, taken: number, takenOfFlow: number) => boolean,
    limit = Infinity,
  ): Entry[] {
    const chosen: Entry[] = [];
    let taken = 0;
    const takeNext = (scan: Scan<Entry>): boolean => {
      while (scan.at < scan.entries.length && chosen.length < limit) {
        const entry = scan.entries[scan.at];
        scan.at += 1;
        if (fits(entry, taken, scan.taken)) {
          const { size } = this.shareOf(entry);
          taken += size;
          scan.taken += size;
          chosen.push(entry);
          scan.isServed = true;
          return true;
        }
        scan.skipped.push(entry);
      }
      return false;
    };
    const scans = [...this.flows].map(([flow, entries]): Scan<Entry> => {
      return { flow, entries, at: 0, skipped: [], taken: 0, isServed: false };
    });
    for (let open = scans; open.length > 0 && chosen.length < limit;) open = open.filter(takeNext);
    for (const scan of scans) if (scan.isServed) this.close(scan);
    for (const entry of chosen) this.note(entry, -1);
    return chosen;
  }

  private close({ flow, entries, at, skipped }: Scan<Entry>): void {
    const rest = [...skipped, ...entries.slice(at)];
    this.flows.delete(flow);
    if (rest.length > 0) this.flows.set(flow, rest);
  }

  private note(entry: Entry, change: 1 | -1): void {
    const { flow, size } = this.shareOf(entry);
    this.noteChange?.(entry, change);
    this.count += change;
    this.total += change * size;
    const left = (this.sizes.get(flow) ?? 0) + change * size;
    if (left > 0) this.sizes.set(flow, left);
    else this.sizes.delete(flow);
  }
}
