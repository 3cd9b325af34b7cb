import { Logger } from '@nestjs/common';
import { LRUCache } from 'lru-cache';
import { AppError } from '../platform/errors/app-error';
import { abortable, abortReason, onAbort } from '../platform/runtime/abort';
import { FairQueue, type Waiter } from '../platform/runtime/fair-queue';
import { during, spansOf } from '../platform/runtime/time-spans';

/** Delay of a rejection after an abort: cancelling takes a few milliseconds, after which the connection is free. */
const CANCEL_GRACE_MS = 25;
const MS_PER_SECOND = 1000;
const MAX_RETRY_AFTER_SECONDS = 60;
/** Weight of the latest duration in the mean for Retry-After. */
const SERVICE_WEIGHT = 0.05;
/** Time between log lines about refusals. */
const REPORT_INTERVAL_MS = 10_000;

export interface PermitPoolOptions {
  max: number;
  /** Span of a wait in this pool: for a permit, or for a connection. */
  span?: 'queue' | 'connection';
  queueSize: number;
  queueTimeoutMs: number;
}

export interface PermitRequest {
  flow: string;
  /** Aborts with an AppError at the deadline, or when the client disconnects. */
  signal?: AbortSignal;
  /** True when the work itself rejects on abort, as it waits for a permit of another pool. */
  isNotified?: boolean;
}

/** Statistics of a pool: `active`, `queued`, `flows` and `utilization` now, counts and `waits` since the start. */
export interface PermitStatistics {
  active: number;
  queued: number;
  max: number;
  queueSize: number;
  flows: number;
  /** `active` of `max`, in percent. */
  utilization: number;
  granted: number;
  /** Requests that a full queue has refused. */
  shed: number;
  /** Requests refused after a wait of `queueTimeoutMs`. */
  queueTimeouts: number;
  /** Requests that REQUEST_TIMEOUT_MS has ended, waiting or running. */
  timedOut: number;
  /** Requests that a disconnect has ended. */
  cancelled: number;
  /** Mean time in milliseconds for which a permit is held; recent times have more weight. */
  serviceMs: number;
  waits: { all: FlowWait; top: FlowWait[]; others: FlowWait };
}

/** Pool of permits with a fair queue, deadlines and statistics. */
export class PermitPool {
  private readonly logger = new Logger('Concurrency');
  private readonly queue: FairQueue;
  private readonly waits = new FlowWaits();
  private readonly heldByFlow = new Map<string, number>();
  private readonly counts = { granted: 0, shed: 0, queueTimeouts: 0, timedOut: 0, cancelled: 0 };
  private readonly queueTimeoutMs: number;
  private readonly span: 'queue' | 'connection';
  private serviceMs = 0;
  private reportedAtMs = -Infinity;
  private reportedCount = 0;

  constructor({ max, queueSize, queueTimeoutMs, span = 'queue' }: PermitPoolOptions) {
    this.queue = new FairQueue(max, queueSize);
    this.queueTimeoutMs = queueTimeoutMs;
    this.span = span;
  }

  get queued(): number {
    return this.queue.queued;
  }

  get isFull(): boolean {
    return this.queue.isFull;
  }

  get max(): number {
    return this.queue.max;
  }

  heldBy(flow: string): number {
    return this.heldByFlow.get(flow) ?? 0;
  }

  /** Changes the limit: holders keep their permits, and waiting requests get new ones at once. */
  resize(max: number): void {
    this.queue.resize(max);
  }

  /** @throws AppError TOO_MANY_REQUESTS when the queue has no place for a request of this flow. */
  assertCapacity(flow: string): void {
    if (!this.queue.hasCapacityFor(flow)) throw this.shed();
  }

  /**
   * Runs `work` with a permit, which is released when the work has ended or calls `release`. An abort removes a waiting
   * request from the queue; for running work it rejects the caller, while the work has to end by the same signal.
   * @throws AppError TOO_MANY_REQUESTS (full queue), QUEUE_TIMEOUT (long wait); the signal's reason; errors of `work`.
   */
  async run<T>(
    { flow, signal, isNotified }: PermitRequest,
    work: (release: () => void) => Promise<T>,
  ): Promise<T> {
    if (signal?.aborted) throw this.countEnd(abortReason(signal));
    if (!this.queue.tryAcquire()) {
      await during(spansOf(signal), this.span, () => this.wait(flow, signal));
    }
    this.counts.granted += 1;
    const running = this.execute(flow, work);
    if (!signal || isNotified) return running;
    try {
      return await abortable(running, signal, CANCEL_GRACE_MS);
    } catch (error) {
      if (signal.aborted) this.countEnd(abortReason(signal));
      throw error;
    }
  }

  statistics(): PermitStatistics {
    const { active, queued, max, capacity, flowCount } = this.queue;
    return {
      active,
      queued,
      max,
      queueSize: capacity,
      flows: flowCount,
      utilization: (100 * active) / max,
      ...this.counts,
      serviceMs: this.serviceMs,
      waits: this.waits.report(),
    };
  }

  /** Estimates by the mean service time the seconds until the present queue is served: 1 to 60. */
  retryAfterSeconds(): number {
    const { queued, max } = this.queue;
    const seconds = Math.ceil(((queued + 1) * this.serviceMs) / max / MS_PER_SECOND);
    return Math.min(MAX_RETRY_AFTER_SECONDS, Math.max(1, seconds));
  }

  private async execute<T>(flow: string, work: (release: () => void) => Promise<T>): Promise<T> {
    const startedMs = performance.now();
    this.heldByFlow.set(flow, this.heldBy(flow) + 1);
    let isHeld = true;
    const release = (): void => {
      if (!isHeld) return;
      isHeld = false;
      const tookMs = performance.now() - startedMs;
      this.serviceMs += (this.serviceMs === 0 ? 1 : SERVICE_WEIGHT) * (tookMs - this.serviceMs);
      const held = this.heldBy(flow) - 1;
      if (held === 0) this.heldByFlow.delete(flow);
      else this.heldByFlow.set(flow, held);
      this.queue.release();
    };
    try {
      return await work(release);
    } finally {
      release();
    }
  }

  private wait(flow: string, signal: AbortSignal | undefined): Promise<void> {
    const startedMs = performance.now();
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(timer);
        removeListener();
        this.waits.record(flow, performance.now() - startedMs);
      };
      const onGrant = (): void => {
        end();
        resolve();
      };
      const onEvict = (): void => {
        end();
        reject(this.shed());
      };
      const waiter = this.queue.enqueue(flow, onGrant, onEvict);
      const giveUp = (error: () => Error): void => {
        if (!this.queue.remove(waiter as Waiter)) return;
        end();
        reject(error());
      };
      if (!waiter) return reject(this.shed());
      const timer = setTimeout(() => giveUp(() => this.queueTimeout()), this.queueTimeoutMs);
      const removeListener = onAbort(signal, () =>
        giveUp(() => this.countEnd(abortReason(signal as AbortSignal))),
      );
    });
  }

  private countEnd(reason: Error): Error {
    const isTimeout = reason instanceof AppError && reason.code === 'REQUEST_TIMEOUT';
    if (isTimeout) this.counts.timedOut += 1;
    else this.counts.cancelled += 1;
    return reason;
  }

  private reportOverload(): void {
    const nowMs = performance.now();
    if (nowMs - this.reportedAtMs < REPORT_INTERVAL_MS) return;
    this.reportedAtMs = nowMs;
    const { shed, queueTimeouts } = this.counts;
    const { active, queued } = this.queue;
    const refused = shed + queueTimeouts - this.reportedCount;
    this.reportedCount += refused;
    const now = `${active} run and ${queued} wait.${this.longestWaits()}`;
    this.logger.warn(`Overload: ${refused} requests refused since the last such line; ${now}`);
  }

  /** Describes flows for the log only: only operators may know their names. */
  private longestWaits(): string {
    const { top } = this.waits.report();
    if (top.length === 0) return '';
    const flows = top.map(({ flow, waits, totalMs }) => {
      const seconds = (totalMs / MS_PER_SECOND).toFixed(1);
      return `${flow} ${seconds} s in ${waits} waits`;
    });
    return ` Waited most since the start: ${flows.join(', ')}.`;
  }

  private shed(): AppError {
    this.counts.shed += 1;
    this.reportOverload();
    return new AppError('TOO_MANY_REQUESTS', 'Too many requests are waiting for their turn.', {
      retryAfterSeconds: this.retryAfterSeconds(),
    });
  }

  private queueTimeout(): AppError {
    this.counts.queueTimeouts += 1;
    this.reportOverload();
    return new AppError('QUEUE_TIMEOUT', 'The request waited too long for its turn.', {
      retryAfterSeconds: this.retryAfterSeconds(),
    });
  }
}

/** Limit of flows that are counted one by one; the least recent are added up. */
const MAX_FLOWS = 256;
const TOP_FLOWS = 10;

/** Statistics of waits in milliseconds. */
export interface FlowWait {
  flow: string;
  waits: number;
  totalMs: number;
  maxMs: number;
}

/** Waits for permits by flow, in bounded memory. A permit that was free is no wait. */
export class FlowWaits {
  private readonly others: FlowWait = { flow: 'others', waits: 0, totalMs: 0, maxMs: 0 };
  private readonly flows = new LRUCache<string, FlowWait>({
    max: MAX_FLOWS,
    dispose: (wait, _, reason) => {
      if (reason === 'evict') addTo(this.others, wait);
    },
  });
  private readonly all: FlowWait = { flow: 'all', waits: 0, totalMs: 0, maxMs: 0 };

  record(flow: string, waitedMs: number): void {
    const wait = { flow, waits: 1, totalMs: waitedMs, maxMs: waitedMs };
    addTo(this.all, wait);
    const known = this.flows.get(flow);
    if (known) addTo(known, wait);
    else this.flows.set(flow, wait);
  }

  /** Waits of all flows together, of the flows with the longest total, and of the others. */
  report(): { all: FlowWait; top: FlowWait[]; others: FlowWait } {
    const top = [...this.flows.values()]
      .sort((a, b) => b.totalMs - a.totalMs)
      .slice(0, TOP_FLOWS)
      .map((wait) => ({ ...wait }));
    return { all: { ...this.all }, top, others: { ...this.others } };
  }
}

function addTo(sum: FlowWait, { waits, totalMs, maxMs }: FlowWait): void {
  sum.waits += waits;
  sum.totalMs += totalMs;
  sum.maxMs = Math.max(sum.maxMs, maxMs);
}
