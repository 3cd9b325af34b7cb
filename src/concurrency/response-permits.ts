import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { concurrencyConfig } from '../platform/config/concurrency.config';
import {
  ResponseMemory,
  type ResponseReservation,
  OutOfResponseMemory,
} from '../http/response-memory';
import { FairScheduler, type PermitRequest } from './fair-scheduler';

/**
 * Permits to go beyond the shared memory for answers, one at a time and in rotation between organizations. As many may
 * wait for it as may work and wait in all; they hold no memory of this kind meanwhile.
 */
abstract class ResponsePermits extends FairScheduler {
  constructor(
    config: ConfigType<typeof concurrencyConfig>,
    private readonly memory: ResponseMemory,
  ) {
    const { maxRequests, enableQueue, queueSize } = config;
    const waiting = maxRequests + (enableQueue ? queueSize : 0);
    super({ ...config, maxRequests: 1, queueSize: waiting, enableQueue: true });
  }

  /**
   * Does `work` with a reservation in the shared memory; when that is used up, once more with a permit, which is held
   * for as long as its reservation.
   * @throws AppError TOO_MANY_REQUESTS, QUEUE_TIMEOUT; the reason of the signal; what `work` throws.
   */
  async within<T>(
    turn: PermitRequest,
    work: (reservation: ResponseReservation) => Promise<T>,
  ): Promise<T> {
    const shared = this.memory.reserve();
    try {
      const made = await work(shared);
      shared.settle();
      return made;
    } catch (error) {
      shared.release();
      if (!(error instanceof OutOfResponseMemory)) throw error;
    }
    return this.alone(turn, work);
  }

  /**
   * Waits for a permit and gives its reservation. The caller releases it, also when the signal has aborted meanwhile.
   * @throws as within.
   */
  acquire(turn: PermitRequest): Promise<ResponseReservation> {
    return new Promise((resolve, reject) => {
      const hold = (): Promise<void> => {
        const reservation = this.memory.reserve(true);
        const released = new Promise<void>((done) => (reservation.onRelease = done));
        resolve(reservation);
        return released;
      };
      this.run({ ...turn, isNotified: true }, hold).catch(reject);
    });
  }

  private async alone<T>(
    turn: PermitRequest,
    work: (reservation: ResponseReservation) => Promise<T>,
  ): Promise<T> {
    const reservation = await this.acquire(turn);
    try {
      return await work(reservation);
    } finally {
      reservation.settle();
    }
  }
}

/** Permits to read a page. Their holders never wait for one of the other kind. */
@Injectable()
export class ReadPermits extends ResponsePermits {
  constructor(
    @Inject(concurrencyConfig.KEY) config: ConfigType<typeof concurrencyConfig>,
    memory: ResponseMemory,
  ) {
    super(config, memory);
  }
}

/**
 * Permits to make an answer of pages that are parsed and written again (GraphQL, tRPC). Their holders may wait for one to
 * read, and let go of what they have read before they wait for one of this kind.
 */
@Injectable()
export class CompositionPermits extends ResponsePermits {
  constructor(
    @Inject(concurrencyConfig.KEY) config: ConfigType<typeof concurrencyConfig>,
    memory: ResponseMemory,
  ) {
    super(config, memory);
  }
}
