import { Inject, Injectable, Logger } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { concurrencyConfig } from '../platform/config/concurrency.config';
import { AppError } from '../platform/errors/app-error';
import { reasonOf, unlessAborted } from '../platform/runtime/abort';
import { FairQueue, type Waiter } from './fair-queue';
import { type LaneHolder, lanesOf } from './flow';
import { type LaneWait, LaneWaits } from './flow-waits';

/** Cancelling takes a few milliseconds; an answer this much later finds the work over and its connection free. */
const CANCEL_GRACE_MS = 25;
const MS_PER_SECOND = 1000;
const MAX_RETRY_AFTER_SECONDS = 60;
/** How much one more measured turn counts in the mean that Retry-After is taken from. */
const SERVICE_WEIGHT = 0.05;

/** Refusals are logged together, at most one line in so many milliseconds. */
const REPORT_EVERY_MS = 10_000;

/** Who wants a turn, and for how long. */
export interface TurnRequest {
  lane: string;
  /** Aborts when nobody waits for the answer any more, with the AppError to give. */
  signal?: AbortSignal;
  /** The work itself tells the caller of an abort, as it has a turn of another kind in it: nobody needs to be told twice. */
  isTold?: boolean;
}

/** `active`, `queued`, `lanes` and `utilization` are of now, and counts and `waits` since the start. */
export interface TurnStatistics {
  active: number;
  queued: number;
  max: number;
  queueSize: number;
  /** Lanes in which somebody waits. */
  lanes: number;
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
  waits: { all: LaneWait; top: LaneWait[]; others: LaneWait };
}

/**
 * Turns to work: as many at once as CONCURRENCY_MAX_REQUESTS, the others wait in a lane for each organization and are
 * served in rotation. Every door calls this one; guard, interceptor and decorator (FairTurn) call it for REST handlers.
 */
@Injectable()
export class FairTurns {
  private readonly logger = new Logger('Concurrency');
  private readonly queue: FairQueue;
  private readonly waits = new LaneWaits();
  /** How many run in each lane; lanes in which none does are left out. */
  private readonly runningByLane = new Map<string, number>();
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
   * Refuses at once what could not even wait in its lane.
   * @throws AppError TOO_MANY_REQUESTS with the time after which to retry.
   */
  requireRoom(lane: string): void {
    if (!this.queue.hasRoomFor(lane)) throw this.shed();
  }

  /**
   * Does `work` once it is its turn, and gives the turn back when the work is really over. When the signal aborts while
   * it waits, it leaves the queue; while it works, the caller is told at once, and the work is expected to end by the
   * same signal.
   * @throws AppError TOO_MANY_REQUESTS (the queue is full), QUEUE_TIMEOUT (waited too long); the signal's reason;
   * whatever `work` throws.
   */
  async run<T>({ lane, signal, isTold }: TurnRequest, work: () => Promise<T>): Promise<T> {
    if (signal?.aborted) throw this.countEnd(reasonOf(signal));
    if (!this.queue.take()) await this.wait(lane, signal);
    this.counts.granted += 1;
    const running = this.carryOut(lane, work);
    if (!signal || isTold) return running;
    try {
      return await unlessAborted(running, signal, CANCEL_GRACE_MS);
    } catch (error) {
      if (signal.aborted) this.countEnd(reasonOf(signal));
      throw error;
    }
  }

  /** Sets how many turns there are beyond CONCURRENCY_MAX_REQUESTS: as many as requests hold that wait for another server. */
  setExtraTurns(count: number): void {
    this.resize(this.config.maxRequests + count);
  }

  /** Changes how many turns there are at once. */
  protected resize(maxRequests: number): void {
    this.queue.resize(maxRequests);
  }

  statistics(): TurnStatistics {
    const { active, queued, max, capacity, laneCount } = this.queue;
    return {
      active,
      queued,
      max,
      queueSize: capacity,
      lanes: laneCount,
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

  /** Turns that this holder's lanes have taken, in percent of CONCURRENCY_MAX_REQUESTS: nothing of what others do. */
  utilizationOf(holder: LaneHolder): number {
    const turns = lanesOf(holder).reduce(
      (sum, lane) => sum + (this.runningByLane.get(lane) ?? 0),
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

  private async carryOut<T>(lane: string, work: () => Promise<T>): Promise<T> {
    const startedMs = performance.now();
    this.runningByLane.set(lane, (this.runningByLane.get(lane) ?? 0) + 1);
    try {
      return await work();
    } finally {
      const tookMs = performance.now() - startedMs;
      this.serviceMs += (this.serviceMs === 0 ? 1 : SERVICE_WEIGHT) * (tookMs - this.serviceMs);
      const left = (this.runningByLane.get(lane) ?? 1) - 1;
      if (left === 0) this.runningByLane.delete(lane);
      else this.runningByLane.set(lane, left);
      this.queue.release();
    }
  }

  private wait(lane: string, signal: AbortSignal | undefined): Promise<void> {
    const startedMs = performance.now();
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', leave);
        this.waits.record(lane, performance.now() - startedMs);
      };
      const granted = (): void => {
        end();
        resolve();
      };
      const displaced = (): void => {
        end();
        reject(this.shed());
      };
      const waiter = this.queue.join(lane, granted, displaced);
      const giveUp = (error: () => Error): void => {
        if (!this.queue.leave(waiter as Waiter)) return;
        end();
        reject(error());
      };
      const leave = (): void => giveUp(() => this.countEnd(reasonOf(signal as AbortSignal)));
      if (!waiter) return reject(this.shed());
      const timer = setTimeout(() => giveUp(() => this.queueTimeout()), this.config.queueTimeoutMs);
      signal?.addEventListener('abort', leave, { once: true });
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

  /** The lanes that have waited most: a flood stands in its own. Here alone, as only operators may know their names. */
  private longestWaits(): string {
    const { top } = this.waits.report();
    if (top.length === 0) return '';
    const lanes = top.map(({ lane, waits, totalMs }) => {
      const seconds = (totalMs / MS_PER_SECOND).toFixed(1);
      return `${lane} ${seconds} s in ${waits} waits`;
    });
    return ` Waited most since the start: ${lanes.join(', ')}.`;
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
