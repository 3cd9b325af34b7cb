import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { concurrencyConfig } from '../platform/config/concurrency.config';
import { AppError } from '../platform/errors/app-error';

/** A subscription ends when its reader wants; who is refused may ask again soon. */
const RETRY_AFTER_SECONDS = 10;

/** How subscribers are reached: server-sent events, GraphQL over WebSockets, tRPC. */
export type SubscriptionKind = 'sse' | 'websocket' | 'trpc';

/** How many subscriptions may go on at once, together (SUBSCRIPTIONS_MAX) and for one holder (…_PER_PRINCIPAL). */
@Injectable()
export class SubscriptionLimiter {
  private readonly bySubject = new Map<string, number>();
  private readonly kinds: Record<SubscriptionKind, number> = { sse: 0, websocket: 0, trpc: 0 };
  private running = 0;

  constructor(
    @Inject(concurrencyConfig.KEY) private readonly config: ConfigType<typeof concurrencyConfig>,
  ) {}

  /** How many go on now. */
  get active(): number {
    return this.running;
  }

  /** How many go on now, by kind. */
  get activeByKind(): Readonly<Record<SubscriptionKind, number>> {
    return this.kinds;
  }

  /**
   * Takes a place for a subscription of `holder`; the function that it gives back returns it, once.
   * @throws AppError TOO_MANY_REQUESTS when there is none.
   */
  acquire(holder: string, kind: SubscriptionKind): () => void {
    const own = this.bySubject.get(holder) ?? 0;
    const { maxSubscriptions, maxSubscriptionsPerPrincipal } = this.config;
    if (own >= maxSubscriptionsPerPrincipal || this.running >= maxSubscriptions) {
      const whose = own >= maxSubscriptionsPerPrincipal ? 'This principal' : 'The service';
      throw new AppError('TOO_MANY_REQUESTS', `${whose} has as many subscriptions as it may.`, {
        retryAfterSeconds: RETRY_AFTER_SECONDS,
      });
    }
    this.running += 1;
    this.kinds[kind] += 1;
    this.bySubject.set(holder, own + 1);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.running -= 1;
      this.kinds[kind] -= 1;
      const left = (this.bySubject.get(holder) ?? 1) - 1;
      if (left === 0) this.bySubject.delete(holder);
      else this.bySubject.set(holder, left);
    };
  }
}
