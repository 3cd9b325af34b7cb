import { Inject, Injectable, Logger, type OnApplicationBootstrap } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { randomUUID } from 'node:crypto';
import { Subject } from 'rxjs';
import { cacheConfig } from '../platform/config/settings';
import { valuesOf } from '../metrics/values-of';
import { RedisConnection } from '../platform/redis/redis-connection';
import type { Tenants } from './cache-key';

export interface Invalidated {
  pattern: string;
  /** Different entries removed, in all tiers. */
  invalidated: number;
  /** ISO 8601. */
  timestamp: string;
  tenants: Tenants;
}

/** Invalidations on every replica; without Redis, and while it is away, those of this one. */
@Injectable()
export class InvalidationFeed implements OnApplicationBootstrap {
  private readonly logger = new Logger(InvalidationFeed.name);
  private readonly replica = randomUUID();
  private readonly subject = new Subject<Invalidated>();
  private readonly channel: string;

  constructor(
    private readonly redis: RedisConnection,
    @Inject(cacheConfig.KEY) { keyPrefix }: ConfigType<typeof cacheConfig>,
  ) {
    this.channel = `${keyPrefix}-done`;
  }

  async onApplicationBootstrap(): Promise<void> {
    if (!this.redis.isConfigured) return;
    await this.redis.subscribe(this.channel, (message) => this.onMessage(message));
  }

  /** Invalidations from this call on, until the signal aborts. @throws AppError SLOW_CONSUMER. */
  follow(signal: AbortSignal): AsyncGenerator<Invalidated> {
    return valuesOf(this.subject, signal);
  }

  /** Notifies subscribers here and, without waiting, other replicas. */
  announce(done: Invalidated): void {
    this.subject.next(done);
    const message = JSON.stringify({ from: this.replica, done });
    this.redis
      .attempt((client) => client.publish(this.channel, message))
      .catch((error: unknown) => this.logger.warn('An invalidation was not announced', error));
  }

  private onMessage(message: string): void {
    try {
      const { from, done } = JSON.parse(message) as { from: string; done: Invalidated };
      if (from !== this.replica) this.subject.next(done);
    } catch {
      // Any client of Redis can send messages.
      this.logger.warn('A message about an invalidation could not be understood.');
    }
  }
}
