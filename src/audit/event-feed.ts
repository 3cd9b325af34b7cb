import { Injectable } from '@nestjs/common';
import { setTimeout as setTimeoutOf } from 'node:timers/promises';
import { resolveOrganizations, type Organizations, type Principal } from '../auth/principal';
import { TokenLife } from '../auth/token-life';
import { laneOf } from '../concurrency/lane';
import { SubscriptionLimiter, type SubscriptionKind } from '../concurrency/subscription-limiter';
import { AppError } from '../errors/app-error';
import { Lifecycle } from '../front/lifecycle';
import type { AuditEventFilter } from './audit-event-filter';
import { positionOf } from './audit-event-page';
import { isTooLarge } from './audit-pages';
import { BackfillPages } from './backfill-pages';
import { FeedBuffer } from './feed-buffer';
import { feedCursor, placesIn, type FeedPlaces } from './feed-cursor';
import { eventTest } from './feed-event';
import { LiveEvents, type Following } from './live-events';

/** Events of one page of a backfill. */
const PAGE = 500;
/** Failures after which a read is made again. */
const PASSING = new Set<string>(['TOO_MANY_REQUESTS', 'QUEUE_TIMEOUT', 'DATABASE_UNAVAILABLE']);
const MAX_REST_SECONDS = 5;

/** Which events somebody wants to be told of. */
export interface FeedRequest {
  filter: AuditEventFilter;
  /** The cursor of the last event that the subscriber has; `0` is the beginning of one organization. Left out: from now on. */
  after?: string;
  /** Ends the feed. */
  signal: AbortSignal;
  /** How it is read. */
  kind: SubscriptionKind;
}

/** An event of a feed. */
export interface FeedEvent {
  /** As JSON text, as pages give it. */
  text: string;
  /**
   * The feed goes on behind this event with it; null for more organizations than a cursor holds. Made when it is asked
   * for, which has to be before the next event is.
   */
  readonly cursor: string | null;
}

/** The events of a feed; `begun` resolves once no event that is recorded from then on will be missed, or says why not. */
export type Feed = AsyncGenerator<FeedEvent> & {
  begun: Promise<unknown>;
  /** Aborts when it is over, though its last events may not be taken yet. */
  ended: AbortSignal;
};

/** One subscriber. */
interface Subscription {
  principal: Principal;
  organizations: Organizations;
  filter: AuditEventFilter;
  signal: AbortSignal;
  buffer: FeedBuffer;
  /** How far it has come. */
  places: FeedPlaces;
  following?: Following;
  /** Set once it is over: with an error to tell, or without. */
  end?: { error?: AppError };
  close: (reason: EndReason, error?: AppError) => void;
  over: AbortController;
  /** Everything comes through the buffer now. */
  isLive: boolean;
}

/** Why feeds end: their reader, their token, the process, or a reader that is too slow. */
type EndReason = 'left' | 'expired' | 'shutdown' | 'slow';

/**
 * Events as they are recorded, for subscribers of every door. In three phases: backfill (what was recorded since the
 * cursor, page by page, in fair turns), cutover (what was recorded meanwhile has been kept in a buffer, and what both
 * hold is given once), live. In each organization the events come in the order of their sequence, none is left out and
 * none comes twice.
 */
@Injectable()
export class EventFeed {
  private delivered = 0;
  private readonly ends: Record<EndReason, number> = { left: 0, expired: 0, shutdown: 0, slow: 0 };

  constructor(
    private readonly live: LiveEvents,
    private readonly pages: BackfillPages,
    private readonly limiter: SubscriptionLimiter,
    private readonly lifecycle: Lifecycle,
    private readonly tokens: TokenLife,
  ) {}

  /** Events that were handed to subscribers since the start, and feeds that ended, by reason. */
  statistics(): { delivered: number; ends: Readonly<Record<string, number>> } {
    return { delivered: this.delivered, ends: this.ends };
  }

  /**
   * The events that this principal may see, for as long as its token holds, nobody ends it and the process is not told
   * to stop. It begins without being asked for its first event: what is recorded once `begun` has resolved is not
   * missed. Ends by itself when the signal aborts or the process stops: another replica goes on from the cursor.
   * @throws AppError FORBIDDEN, INVALID_CURSOR, TOO_MANY_REQUESTS; and from the iteration UNAUTHENTICATED (the token holds
   * no longer), SLOW_CONSUMER (it does not take what comes), DATABASE_UNAVAILABLE.
   */
  follow(principal: Principal, { filter, after, signal, kind }: FeedRequest): Feed {
    const organizations = resolveOrganizations(principal, filter.organizationIds);
    const from = after === undefined ? undefined : placesIn(after, organizations);
    const subscription: Subscription = {
      principal,
      organizations,
      filter,
      signal,
      buffer: new FeedBuffer(),
      places: from ?? new Map<string, bigint>(),
      close: () => undefined,
      over: new AbortController(),
      isLive: false,
    };
    this.open(subscription, kind);
    const begun = this.begin(subscription);
    begun.catch(() => subscription.close('left')); // told to whoever waits for it, or takes the first event
    return Object.assign(this.deliver(subscription, begun, from !== undefined), {
      begun,
      ended: subscription.over.signal,
    });
  }

  /** Takes a place for it, and sees to it that it ends when its token, its reader or the process does. */
  private open(subscription: Subscription, kind: SubscriptionKind): void {
    const { signal, principal, buffer } = subscription;
    const release = this.limiter.acquire(principal.subject, kind);
    subscription.close = (reason, error) => {
      if (subscription.end) return;
      subscription.end = error ? { error } : {};
      stopWatching();
      signal.removeEventListener('abort', onAbort);
      stopListening();
      subscription.following?.leave();
      release();
      this.ends[reason] += 1;
      buffer.close();
      subscription.over.abort();
    };
    const onAbort = (): void => subscription.close('left');
    const stopListening = this.lifecycle.onDraining(() => subscription.close('shutdown'));
    signal.addEventListener('abort', onAbort, { once: true });
    const stopWatching = this.tokens.watch(principal, (reason) =>
      subscription.close('expired', reason),
    );
    if (signal.aborted) onAbort();
  }

  private async begin(subscription: Subscription): Promise<FeedPlaces> {
    const { organizations, buffer, filter } = subscription;
    const test = eventTest(filter);
    const following = await this.live.follow(organizations, (event) => {
      if (!test(event)) return;
      buffer.add(event);
      if (buffer.hasOverflowed && subscription.isLive) this.cutSlow(subscription);
    });
    subscription.following = following;
    if (subscription.end) following.leave();
    return following.places;
  }

  private async *deliver(
    subscription: Subscription,
    begun: Promise<FeedPlaces>,
    isResumed: boolean,
  ): AsyncGenerator<FeedEvent> {
    try {
      const places = await begun;
      if (isResumed) yield* this.backfill(subscription, places);
      else subscription.places = places;
      yield* this.goOn(subscription);
    } finally {
      subscription.close('left');
    }
  }

  /** What lies between the subscriber's places and those from which on the buffer holds everything. */
  private async *backfill(
    subscription: Subscription,
    until: FeedPlaces,
  ): AsyncGenerator<FeedEvent> {
    const { organizations, buffer } = subscription;
    const ids = organizations === '*' ? [] : organizations;
    for (let target = until; ; target = this.live.placesOf(ids)) {
      for (const id of ids) yield* this.backfillOne(subscription, id, target.get(id) ?? 0n);
      if (!buffer.hasOverflowed) return;
      // More came meanwhile than is kept for one subscriber: it is read like the rest.
      buffer.clear();
    }
  }

  private async *backfillOne(
    subscription: Subscription,
    organizationId: string,
    until: bigint,
  ): AsyncGenerator<FeedEvent> {
    const { places, principal, signal, filter } = subscription;
    let limit = PAGE;
    while ((places.get(organizationId) ?? 0n) < until) {
      const place = String(places.get(organizationId) ?? 0n);
      const request = {
        organizations: [organizationId],
        filter,
        sort: { field: 'sequence', direction: 'asc' } as const,
        after: { sequence: place, organizationId, timestamp: '', id: '' },
        limit,
        offset: 0,
      };
      const read = this.readPatiently(subscription, () =>
        this.pages.read(request, laneOf(principal), signal),
      );
      const page = await read.catch((error: unknown) => {
        if (!isTooLarge(error) || limit === 1) throw error;
        return undefined;
      });
      if (!page) limit = Math.ceil(limit / 2);
      if (!page) continue;
      try {
        for (const text of page.texts) {
          places.set(organizationId, BigInt(positionOf(text).sequence));
          if (this.isOver(subscription)) return;
          yield this.eventOf(subscription, text);
        }
      } finally {
        page.release();
      }
      if (page.texts.length < limit) {
        const reached = places.get(organizationId) ?? 0n;
        if (reached < until) places.set(organizationId, until); // the filter passes over the rest
      }
      if (page.isSmall) limit = Math.min(PAGE, 2 * limit);
    }
  }

  /** Many may resume at once, when a replica has gone: who finds no room, or no database, comes again. */
  private async readPatiently<T>(subscription: Subscription, read: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await read();
      } catch (error) {
        const isPassing = error instanceof AppError && PASSING.has(error.code);
        if (!isPassing || subscription.end) throw error;
        const seconds = Math.min(MAX_REST_SECONDS, error.retryAfterSeconds ?? 1);
        await setTimeoutOf(1000 * seconds * (0.5 + Math.random()), undefined, { ref: false });
        if (this.isOver(subscription)) throw error;
      }
    }
  }

  private async *goOn(subscription: Subscription): AsyncGenerator<FeedEvent> {
    const { buffer, places } = subscription;
    subscription.isLive = true;
    for (;;) {
      if (this.isOver(subscription)) return;
      const event = buffer.take();
      if (event) {
        const { organizationId, sequence, text } = event;
        if (sequence <= (places.get(organizationId) ?? 0n)) continue; // the backfill has given it
        places.set(organizationId, sequence);
        yield this.eventOf(subscription, text);
      } else if (buffer.hasOverflowed) {
        this.cutSlow(subscription);
      } else {
        await buffer.changed();
      }
    }
  }

  private cutSlow(subscription: Subscription): void {
    const detail = 'Events came faster than they were read. Go on from the last cursor.';
    subscription.close('slow', new AppError('SLOW_CONSUMER', detail));
  }

  private eventOf({ organizations, places }: Subscription, text: string): FeedEvent {
    this.delivered += 1;
    return {
      text,
      get cursor() {
        return feedCursor(organizations, places);
      },
    };
  }

  private isOver({ end }: Subscription): boolean {
    if (end?.error) throw end.error;
    return end !== undefined;
  }
}
