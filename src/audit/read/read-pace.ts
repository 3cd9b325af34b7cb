import type { PermitRequest } from '../../concurrency/permit-pool';
import { AppError } from '../../platform/errors/app-error';
import { abortReason, deadlineOf, withDeadline } from '../../platform/runtime/abort';

/** Rows of each organization that the first portion looks at: some three milliseconds of work. */
export const FIRST_ROWS = 2000;
/** Time that a later portion should take. */
const PORTION_MS = 100;
/** Time after which a read is a long one. */
export const SHORT_MS = 50;
/** Bounds of how much longer or shorter a portion is than the one before it. */
const [MAX_GROWTH, MAX_SHRINKAGE] = [8, 8];
/** Time for a search by index alone, which then is given up. */
const ATTEMPT_MS = 250;
/** Time after its end that a read's last portion may take. */
const GRACE_MS = 250;
/** Part of the time before a deadline, and the longest time, in which no portion begins. */
const [RESERVED_PART, MAX_RESERVED_MS] = [0.25, 1000];

/** Refusals of a permit: what was found so far is an answer as well. */
const NO_TURN = new Set<string>(['TOO_MANY_REQUESTS', 'QUEUE_TIMEOUT']);

/** Where a read in portions gets its permits. */
export interface PortionPermits {
  request: PermitRequest;
  /** Gives up the permits that the read began with. */
  release: () => void;
  /** Runs one portion with permits for portions, shared with other long reads. */
  run: <T>(request: PermitRequest, work: () => Promise<T>) => Promise<T>;
}

interface PaceOptions {
  signal?: AbortSignal | undefined;
  /** Milliseconds for the whole read; it also ends a while before the deadline of the signal. */
  budgetMs: number;
  /** Rows of each organization that the first portion looks at. */
  firstRows: number;
  /** Milliseconds after which a read is a long one. */
  shortMs?: number;
  permits?: PortionPermits;
}

/**
 * The pace of one read: how many rows its next portion looks at, when it has to end, and with which permits it goes on. The
 * first portion has the permits that the read began with, as most reads need no other. Each later one waits for its
 * turn among the long reads: one organization's worst queries delay each other, and the short reads of others by a
 * portion at most.
 */
export class ReadPace {
  rows: number;
  private readonly startedMs = performance.now();
  private readonly endMs: number;
  private readonly reservedMs: number;
  private readonly signal: AbortSignal | undefined;
  private isLong = false;

  constructor(private readonly options: PaceOptions) {
    this.rows = options.firstRows;
    this.endMs = this.startedMs + options.budgetMs;
    this.signal = options.signal;
    const leftMs = deadlineOf(this.signal) - this.startedMs;
    this.reservedMs = Math.min(MAX_RESERVED_MS, RESERVED_PART * Math.max(0, leftMs));
  }

  /** A read without an end, in the permits that its caller has, if any. */
  static unlimited(signal?: AbortSignal): ReadPace {
    return new ReadPace({ budgetMs: Infinity, firstRows: FIRST_ROWS, signal });
  }

  get leftMs(): number {
    return Math.min(this.endMs, deadlineOf(this.signal) - this.reservedMs) - performance.now();
  }

  /** Adapts the rows of the next portion to the time of the last one. */
  note(tookMs: number): void {
    const wantedMs = Math.max(1, Math.min(PORTION_MS, this.leftMs / 2));
    const factor = wantedMs / Math.max(tookMs, 0.1);
    const bounded = Math.min(MAX_GROWTH, Math.max(1 / MAX_SHRINKAGE, factor));
    this.rows = Math.max(this.options.firstRows, Math.ceil(this.rows * bounded));
  }

  /** Runs the first portion of a search, in the permits that the read has, if it has them still. */
  first<T>(work: (signal?: AbortSignal) => Promise<T>): Promise<T | undefined> {
    return this.isLong ? this.next(work) : work(this.signal);
  }

  /**
   * Runs what ends soon if it does at all; undefined when it does not.
   * @throws as next.
   */
  async attempt<T>(work: (signal?: AbortSignal) => Promise<T>): Promise<T | undefined> {
    const { signal, leftMs } = this;
    if (signal?.aborted) throw abortReason(signal);
    if (leftMs <= 0) return undefined;
    const late = new AppError('REQUEST_TIMEOUT', 'The time of this attempt is over.');
    return this.within(Math.min(ATTEMPT_MS, leftMs), late, (own) =>
      this.isLong ? this.next(() => work(own)) : work(own),
    );
  }

  /**
   * Runs a further portion, with a signal that also ends soon after the read. Undefined when there is no time for one, or
   * it got no permit in time.
   * @throws the reason of the read's signal; what `work` throws.
   */
  async next<T>(work: (signal?: AbortSignal) => Promise<T>): Promise<T | undefined> {
    if (this.signal?.aborted) throw abortReason(this.signal);
    if (this.leftMs <= 0) return undefined;
    const { permits, shortMs = SHORT_MS } = this.options;
    if (permits && !this.isLong && performance.now() - this.startedMs >= shortMs) {
      permits.release();
      this.isLong = true;
    }
    const late = new AppError('REQUEST_TIMEOUT', 'The time of this read is over.');
    return this.within(this.portionMs, late, (own) => {
      if (!permits || !this.isLong) return work(own);
      return permits.run({ ...permits.request, signal: own }, async () =>
        this.leftMs > 0 ? work(own) : undefined,
      );
    });
  }

  /** Time after which a portion is given up: a while after the read's end, but before the deadline. */
  private get portionMs(): number {
    const nowMs = performance.now();
    const untilDeadlineMs = deadlineOf(this.signal) - this.reservedMs / 2 - nowMs;
    return Math.min(this.endMs + GRACE_MS - nowMs, untilDeadlineMs);
  }

  private async within<T>(
    timeoutMs: number,
    late: AppError,
    work: (own?: AbortSignal) => Promise<T | undefined>,
  ): Promise<T | undefined> {
    const { signal } = this;
    if (timeoutMs === Infinity) return work(signal);
    const deadline = { timeoutMs, late: () => late, ...(signal ? { signal } : {}) };
    try {
      return await withDeadline(deadline, work);
    } catch (error) {
      if (error === late) return undefined;
      if (error instanceof AppError && NO_TURN.has(error.code)) return undefined;
      throw error;
    }
  }
}
