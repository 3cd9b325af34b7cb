import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { concurrencyConfig } from '../platform/config/settings';
import { AppError } from '../platform/errors/app-error';
import { Quota } from '../platform/runtime/quota';

/** Retry-After of a refusal: subscriptions end at any time. */
const RETRY_AFTER_SECONDS = 10;

/** Protocols of subscriptions: server-sent events, GraphQL over WebSockets, tRPC. */
export type SubscriptionKind = 'sse' | 'websocket' | 'trpc';

/** Limits subscriptions of all owners (SUBSCRIPTIONS_MAX) and of one (…_PER_PRINCIPAL). */
@Injectable()
export class SubscriptionLimiter {
  private readonly subscriptions: Quota;
  private readonly kinds: Record<SubscriptionKind, number> = { sse: 0, websocket: 0, trpc: 0 };

  constructor(
    @Inject(concurrencyConfig.KEY)
    { maxSubscriptions, maxSubscriptionsPerPrincipal }: ConfigType<typeof concurrencyConfig>,
  ) {
    this.subscriptions = new Quota(maxSubscriptions, maxSubscriptionsPerPrincipal);
  }

  get active(): number {
    return this.subscriptions.taken;
  }

  get activeByKind(): Readonly<Record<SubscriptionKind, number>> {
    return this.kinds;
  }

  /**
   * Begins a subscription; the returned function ends it.
   * @throws AppError TOO_MANY_REQUESTS when there are too many, of this owner or of all.
   */
  acquire(owner: string, kind: SubscriptionKind): () => void {
    if (!this.subscriptions.acquire(owner)) {
      const isOwn = this.subscriptions.takenBy(owner) >= this.subscriptions.ownerLimit;
      throw new AppError(
        'TOO_MANY_REQUESTS',
        `${isOwn ? 'This principal' : 'The service'} has as many subscriptions as it may.`,
        { retryAfterSeconds: RETRY_AFTER_SECONDS },
      );
    }
    this.kinds[kind] += 1;
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.kinds[kind] -= 1;
      this.subscriptions.release(owner);
    };
  }
}
