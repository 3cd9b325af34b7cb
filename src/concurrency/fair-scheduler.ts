import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { concurrencyConfig } from '../platform/config/settings';
import { type FlowOwner, flowsOf } from './flow';
import { PermitPool, type PermitRequest, type PermitStatistics } from './permit-pool';

/**
 * Permits to handle requests of all adapters: CONCURRENCY_MAX_REQUESTS at once, the others wait in their organization's
 * flow.
 */
@Injectable()
export class FairScheduler {
  readonly permits: PermitPool;
  private readonly maxRequests: number;

  constructor(@Inject(concurrencyConfig.KEY) config: ConfigType<typeof concurrencyConfig>) {
    const { maxRequests, enableQueue, queueSize, queueTimeoutMs } = config;
    this.maxRequests = maxRequests;
    this.permits = new PermitPool({
      max: maxRequests,
      queueSize: enableQueue ? queueSize : 0,
      queueTimeoutMs,
    });
  }

  /** @throws AppError TOO_MANY_REQUESTS when a request of this flow could not even wait. */
  assertCapacity(flow: string): void {
    this.permits.assertCapacity(flow);
  }

  /** Runs `work` with a permit. @throws as PermitPool.run. */
  run<T>(request: PermitRequest, work: () => Promise<T>): Promise<T> {
    return this.permits.run(request, work);
  }

  /** Adds as many permits to CONCURRENCY_MAX_REQUESTS as requests hold that wait for another server. */
  setExtraPermits(count: number): void {
    this.permits.resize(this.maxRequests + count);
  }

  statistics(): PermitStatistics {
    return this.permits.statistics();
  }

  /** Percent of CONCURRENCY_MAX_REQUESTS in this holder's flows; discloses no other holder's load. */
  utilizationOf(holder: FlowOwner): number {
    const [flow, largeBodyFlow] = flowsOf(holder);
    const held = this.permits.heldBy(flow) + this.permits.heldBy(largeBodyFlow);
    return (100 * held) / this.maxRequests;
  }
}
