import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { concurrencyConfig } from '../platform/config/settings';
import {
  OutOfResponseMemory,
  ResponseMemory,
  type ResponseReservation,
} from '../http/response-memory';
import { PermitPool, type PermitRequest } from './permit-pool';

/**
 * Permits to exceed the shared response memory, one at a time and round robin between organizations. A request that waits
 * for a permit holds none of this memory.
 */
export class ResponsePermitPool {
  readonly permits: PermitPool;

  constructor(
    config: ConfigType<typeof concurrencyConfig>,
    private readonly memory: ResponseMemory,
  ) {
    const { maxRequests, enableQueue, queueSize, queueTimeoutMs } = config;
    const waiting = maxRequests + (enableQueue ? queueSize : 0);
    this.permits = new PermitPool({ max: 1, queueSize: waiting, queueTimeoutMs });
  }

  /**
   * Runs `work` with a reservation of shared memory, and again with a permit when that memory is used up.
   * @throws AppError TOO_MANY_REQUESTS, QUEUE_TIMEOUT; the reason of the signal; errors of `work`.
   */
  async withReservation<T>(
    request: PermitRequest,
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
    const reservation = await this.acquire(request);
    try {
      return await work(reservation);
    } finally {
      reservation.settle();
    }
  }

  /**
   * Waits for a permit. The caller has to release the reservation, also after an abort of the signal.
   * @throws as withReservation.
   */
  acquire(request: PermitRequest): Promise<ResponseReservation> {
    return new Promise((resolve, reject) => {
      const hold = (): Promise<void> => {
        const reservation = this.memory.reserve(true);
        const released = new Promise<void>((done) => (reservation.onRelease = done));
        resolve(reservation);
        return released;
      };
      this.permits.run({ ...request, isNotified: true }, hold).catch(reject);
    });
  }
}

/** Permits for large responses, of two kinds, so that holders never wait for each other in a cycle. */
@Injectable()
export class ResponsePermits {
  /** Permits to read a page. Their holders never wait for the other kind. */
  readonly reads: ResponsePermitPool;
  /**
   * Permits to compose a response of parsed pages (GraphQL, tRPC). Their holders may wait for a permit to read; a request
   * releases the memory of its reads before it waits for this kind.
   */
  readonly compositions: ResponsePermitPool;

  constructor(
    @Inject(concurrencyConfig.KEY) config: ConfigType<typeof concurrencyConfig>,
    memory: ResponseMemory,
  ) {
    this.reads = new ResponsePermitPool(config, memory);
    this.compositions = new ResponsePermitPool(config, memory);
  }
}
