import { Inject, Injectable, Logger } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { concurrencyConfig } from '../platform/config/concurrency.config';
import { AppError } from '../platform/errors/app-error';
import { abortReason, abortable, onAbort } from '../platform/runtime/abort';
import { FairQueue, type Waiter } from './fair-queue';
import { type FlowOwner, flowsOf } from './flow';
import { type FlowWait, FlowWaits } from './flow-waits';

/** Cancelling takes a few milliseconds; an answer this much later finds the work over and its connection free. */
const CANCEL_GRACE_MS = 25;
const MS_PER_SECOND = 1000;
const MAX_RETRY_AFTER_SECONDS = 60;
/** How much one more measured turn counts in the mean that Retry-After is taken from. */
const SERVICE_WEIGHT = 0.05;

/** Refusals are logged together, at most one line in so many milliseconds. */
const REPORT_EVERY_MS = 10_000;

/** Who wants a turn, and for how long. */
export interface PermitRequest {
  flow: string;
  /** Aborts when nobody waits for the answer any more, with the AppError to give. */
  signal?: AbortSignal;
  /** The work itself tells the caller of an abort, as it has a turn of another kind in it: nobody needs to be told twice. */
  isNotified?: boolean;
}

/** `active`, `queued`, `flows` and `utilization` are of now, and counts and `waits` since the start. */
export interface PermitStatistics {
  active: number;
  queued: number;
  max: number;
  queueSize: number;
  /** Flows in which somebody waits. */
  flows: number;
  /** `active` of `max`, in percent. */
  utilization: number;
  granted: number;
  /** Refused because the queue was full. */
  shed: number;
  /** Waited for CONCURRENCY_QUEUE_TIMEOUT_MS in vain. */
  queueTimeouts: number;
  /** Were not done within REQUEST_TIMEOUT_MS, waiting or running. */
  timedOut: number;
  /** Their client left before the answer. */
  cancelled: number;
  /** Mean duration of a turn, the latest counting most, in milliseconds. */
  serviceMs: number;
  waits: { all: FlowWait; top: FlowWait[]; others: FlowWait };
}

/**
 * Turns to work: as many at once as CONCURRENCY_MAX_REQUESTS, the others wait in a flow for each organization and are
 * served in rotation. Every door calls this one; guard, interceptor and decorator (FairTurn) call it for REST handlers.
 */
@Injectable()
export class FairScheduler {
  private readonly logger = new Logger('Concurrency');
  private readonly queue: FairQueue;
  private readonly waits = new FlowWaits();
  /** How many run in each flow; flows in which none does are left out. */
  private readonly runningByFlow = new Map<string, number>();
  private readonly counts = { granted: 0, shed: 0, queueTimeouts: 0, timedOut: 0, cancelled: 0 };
  private serviceMs = 0;
  private reportedAtMs = -Infinity;
  private reportedCount = 0;

  constructor(
    @Inject(concurrencyConfig.KEY) private readonly config: ConfigType<typeof concurrencyConfig>,
  ) {
    this.queue = new FairQueue(config.maxRequests, config.enableQueue ? config.queueSize : 0);
  }

  /** How many wait for their turn. */
  get queued(): number {
    return this.queue.queued;
  }

  /** Whether all turns are taken and all places to wait for one: somebody is refused. */
  get isFull(): boolean {
    return this.queue.isFull;
  }

  /** How many there are at once. */
  protected get max(): number {
    return this.queue.max;
  }

  /**
   * Refuses at once what could not even wait in its flow.
   * @throws AppError TOO_MANY_REQUESTS with the time after which to retry.
   */
  assertCapacity(flow: string): void {
    if (!this.queue.hasCapacityFor(flow)) throw this.shed();
  }

  /**
   * Does `work` once it is its turn, and gives the turn back when the work is really over. When the signal aborts while
   * it waits, it leaves the queue; while it works, the caller is told at once, and the work is expected to end by the
   * same signal.
   * @throws AppError TOO_MANY_REQUESTS (the queue is full), QUEUE_TIMEOUT (waited too long); the signal's reason;
   * whatever `work` throws.
   */
  async run<T>(
    { flow, signal, isNotified: isTold }: PermitRequest,
    work: () => Promise<T>,
  ): Promise<T> {
    if (signal?.aborted) throw this.countEnd(abortReason(signal));
    if (!this.queue.dequeue()) await this.wait(flow, signal);
    this.counts.granted += 1;
    const running = this.execute(flow, work);
    if (!signal || isTold) return running;
    try {
      return await abortable(running, signal, CANCEL_GRACE_MS);
    } catch (error) {
      if (signal.aborted) this.countEnd(abortReason(signal));
      throw error;
    }
  }

  /** Sets how many turns there are beyond CONCURRENCY_MAX_REQUESTS: as many as requests hold that wait for another server. */
  setExtraPermits(count: number): void {
    this.resize(this.config.maxRequests + count);
  }

  /** Changes how many turns there are at once. */
  protected resize(maxRequests: number): void {
    this.queue.resize(maxRequests);
  }

  statistics(): PermitStatistics {
    const { active, queued, max, capacity, flowCount: flowCount } = this.queue;
    return {
      active,
      queued,
      max,
      queueSize: capacity,
      flows: flowCount,
      utilization: this.utilizationPercent(),
      ...this.counts,
      serviceMs: this.serviceMs,
      waits: this.waits.report(),
    };
  }

  /** Turns that are taken, in percent of those there are. */
  utilizationPercent(): number {
    return (100 * this.queue.active) / this.queue.max;
  }

  /** Turns that this holder's flows have taken, in percent of CONCURRENCY_MAX_REQUESTS: nothing of what others do. */
  utilizationOf(holder: FlowOwner): number {
    const turns = flowsOf(holder).reduce(
      (sum, flow) => sum + (this.runningByFlow.get(flow) ?? 0),
      0,
    );
    return (100 * turns) / this.config.maxRequests;
  }

  /** Seconds until those who wait now will have had their turns, by the mean duration of a turn: 1 to 60. */
  retryAfterSeconds(): number {
    const { queued, max } = this.queue;
    const seconds = Math.ceil(((queued + 1) * this.serviceMs) / max / MS_PER_SECOND);
    return Math.min(MAX_RETRY_AFTER_SECONDS, Math.max(1, seconds));
  }

  private async execute<T>(flow: string, work: () => Promise<T>): Promise<T> {
    const startedMs = performance.now();
    this.runningByFlow.set(flow, (this.runningByFlow.get(flow) ?? 0) + 1);
    try {
      return await work();
    } finally {
      const tookMs = performance.now() - startedMs;
      this.serviceMs += (this.serviceMs === 0 ? 1 : SERVICE_WEIGHT) * (tookMs - this.serviceMs);
      const left = (this.runningByFlow.get(flow) ?? 1) - 1;
      if (left === 0) this.runningByFlow.delete(flow);
      else this.runningByFlow.set(flow, left);
      this.queue.release();
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
      const granted = (): void => {
        end();
        resolve();
      };
      const displaced = (): void => {
        end();
        reject(this.shed());
      };
      const waiter = this.queue.enqueue(flow, granted, displaced);
      const giveUp = (error: () => Error): void => {
        if (!this.queue.remove(waiter as Waiter)) return;
        end();
        reject(error());
      };
      if (!waiter) return reject(this.shed());
      const timer = setTimeout(() => giveUp(() => this.queueTimeout()), this.config.queueTimeoutMs);
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
    if (nowMs - this.reportedAtMs < REPORT_EVERY_MS) return;
    this.reportedAtMs = nowMs;
    const { shed, queueTimeouts } = this.counts;
    const { active, queued } = this.queue;
    const refused = shed + queueTimeouts - this.reportedCount;
    this.reportedCount += refused;
    const now = `${active} run and ${queued} wait.${this.longestWaits()}`;
    this.logger.warn(`Overload: ${refused} requests refused since the last such line; ${now}`);
  }

  /** The flows that have waited most: a flood stands in its own. Here alone, as only operators may know their names. */
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
