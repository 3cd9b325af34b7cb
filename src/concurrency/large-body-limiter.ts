import { type BeforeApplicationShutdown, Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { concurrencyConfig } from '../platform/config/concurrency.config';
import { SMALL_BYTES } from '../http/body-memory-limiter';
import { FairScheduler, type PermitRequest } from './fair-scheduler';
import { hasLargeBodyPermit, type FlowRequest, noteLargeBodyPermit } from './flow';
import { InFlight } from './in-flight';

/** Two that are written (AuditWriter), and one that is made ready for it. */
const AT_ONCE = 3;
/** How often it is looked whether some take long. */
const SAMPLE_INTERVAL_MS = 100;

/** Whose body it is, how many bytes, and until when somebody waits. */
export interface BodyPermit {
  bytes: number;
  flow: string;
  signal: AbortSignal;
}

/**
 * Turns for requests with large bodies, before their turns to work. What is made of such a body takes several times the
 * room of its bytes and milliseconds of the event loop: few are worked at, and the others wait as bytes, without keeping
 * anybody else from a turn to work (docs/adr/0027-few-large-bodies-at-once.md). Those that take long do not count, as they
 * wait for PostgreSQL, maybe for a lock that concerns nobody else. As many may be here as may work and wait in all.
 */
@Injectable()
export class LargeBodyLimiter extends FairScheduler implements BeforeApplicationShutdown {
  private readonly running = new InFlight();
  private readonly sampling = setInterval(() => this.sample(), SAMPLE_INTERVAL_MS).unref();
  private readonly atOnce: number;
  private readonly most: number;

  constructor(@Inject(concurrencyConfig.KEY) config: ConfigType<typeof concurrencyConfig>) {
    const { maxRequests, enableQueue, queueSize } = config;
    const atOnce = Math.min(AT_ONCE, maxRequests);
    const waiting = maxRequests - atOnce + (enableQueue ? queueSize : 0);
    super({ ...config, maxRequests: atOnce, queueSize: waiting, enableQueue: true });
    this.atOnce = atOnce;
    this.most = maxRequests;
  }

  override run<T>(turn: PermitRequest, work: () => Promise<T>): Promise<T> {
    return super.run(turn, () => this.running.during(work));
  }

  /**
   * Does what is to be done with the body of a request, whose length is in bytes: of a large one when it is its turn, which
   * is noted on the request (flowOfRequest). A request has one such turn, however many of its parts ask for it.
   * @throws what `run` and `work` throw.
   */
  async workAt<T>(
    request: FlowRequest,
    { bytes, flow, signal }: BodyPermit,
    work: () => Promise<T>,
  ): Promise<T> {
    if (bytes <= SMALL_BYTES || hasLargeBodyPermit(request)) return work();
    return this.run({ flow, signal, isNotified: true }, () => {
      noteLargeBodyPermit(request);
      return work();
    });
  }

  beforeApplicationShutdown(): void {
    clearInterval(this.sampling);
  }

  private sample(): void {
    this.resize(Math.min(this.most, this.atOnce + this.running.countLong()));
  }
}
