import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { concurrencyConfig } from '../platform/config/settings';
import { SMALL_BODY_BYTES } from '../http/body-memory-limiter';
import { EventLoopPressure } from './event-loop-pressure';
import { hasLargeBodyPermit, type FlowRequest, noteLargeBodyPermit } from './flow';
import { InFlight } from './in-flight';
import { PermitPool } from './permit-pool';

/** Two that are written (AuditWriter), and one that is prepared. */
const MAX_AT_ONCE = 3;

/** Body of so many bytes, whose request waits in `flow` until `signal` aborts. */
export interface BodyPermit {
  bytes: number;
  flow: string;
  signal: AbortSignal;
}

/**
 * Permits for large bodies, before the permits to work. Parsing takes several times a body's memory and milliseconds of
 * the event loop: few are parsed at once, the others wait as bytes (docs/adr/0027-few-large-bodies-at-once.md). Long
 * ones do not count, as they wait for PostgreSQL, maybe for a lock of one organization.
 */
@Injectable()
export class LargeBodyLimiter {
  readonly permits: PermitPool;
  private readonly running = new InFlight();

  constructor(
    @Inject(concurrencyConfig.KEY) config: ConfigType<typeof concurrencyConfig>,
    pressure: EventLoopPressure,
  ) {
    const { maxRequests, enableQueue, queueSize, queueTimeoutMs } = config;
    const max = Math.min(MAX_AT_ONCE, maxRequests);
    const waiting = maxRequests - max + (enableQueue ? queueSize : 0);
    this.permits = new PermitPool({ max, queueSize: waiting, queueTimeoutMs });
    pressure.onSample(() => {
      this.permits.resize(Math.min(maxRequests, max + this.running.countLong()));
    });
  }

  /**
   * Runs `work` on a body: a large one with a permit, noted on the request (flowOfRequest) for all of its parts.
   * @throws as PermitPool.run.
   */
  async run<T>(
    request: FlowRequest,
    { bytes, flow, signal }: BodyPermit,
    work: () => Promise<T>,
  ): Promise<T> {
    if (bytes <= SMALL_BODY_BYTES || hasLargeBodyPermit(request)) return work();
    return this.permits.run({ flow, signal, isNotified: true }, () => {
      noteLargeBodyPermit(request);
      return this.running.during(work);
    });
  }
}
