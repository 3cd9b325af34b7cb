import { Injectable } from '@nestjs/common';
import { setTimeout as setTimeoutOf } from 'node:timers/promises';
import { resolveOrganizations, type Organizations, type Principal } from '../../auth/principal';
import { TokenLife } from '../../auth/token-life';
import { flowKey } from '../../concurrency/flow';
import { SubscriptionLimiter, type SubscriptionKind } from '../../concurrency/subscription-limiter';
import { AppError } from '../../platform/errors/app-error';
import { onAbort } from '../../platform/runtime/abort';
import { formatInstant, parseInstant } from '../../platform/runtime/instant';
import { Lifecycle } from '../../platform/runtime/lifecycle';
import type { AuditEventFilter } from '../event/audit-event-filter';
import { positionOf } from '../read/audit-event-page';
import { isTooLarge, TOO_LARGE_DIVISOR } from '../read/audit-pages';
import { BackfillPages } from './backfill-pages';
import { FeedBuffer } from './feed-buffer';
import { feedCursor, positionsIn } from './feed-cursor';
import { eventTest, type RecordedEvent } from './feed-event';
import { EventTailer, type Subscriber } from './event-tailer';
import {
  BEGINNING,
  type LogPosition,
  type LogPositions,
  timelineChanged,
} from '../read/log-position';
import { logPositionOf, type Position } from '../read/page-statement';

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
  /** When that event was recorded (ISO 8601), where `after` is its number alone. */
  afterRecordedAt?: string;
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
  positions: LogPositions;
  following?: Subscriber;
  /** Set once it is over: with an error to tell, or without. */
  end?: { error?: AppError };
  close: (reason: EndReason, error?: AppError) => void;
  over: AbortController;
  /** Everything comes through the buffer now. */
  isLive: boolean;
}

/** Why feeds end: their reader, their token, the process, a reader that is too slow, or a log on another timeline. */
type EndReason = 'left' | 'expired' | 'shutdown' | 'slow' | 'rewound';

/**
 * Events as they are recorded, for subscribers of every door. In three phases: backfill (what was recorded since the
 * cursor, page by page, in fair turns), cutover (what was recorded meanwhile has been kept in a buffer, and what both
 * hold is given once), live. In each organization the events come in the order of their sequence, none is left out and
 * none comes twice.
 */
@Injectable()
export class EventFeed {
  private delivered = 0;
  private readonly ends: Record<EndReason, number> = {
    left: 0,
    expired: 0,
    shutdown: 0,
    slow: 0,
    rewound: 0,
  };

  constructor(
    private readonly live: EventTailer,
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
   * @throws AppError FORBIDDEN, INVALID_CURSOR, TOO_MANY_REQUESTS; from `begun` and the iteration TIMELINE_CHANGED (the
   * cursor, or what has been given, is not of the log as it is now), DATABASE_UNAVAILABLE; and from the iteration
   * UNAUTHENTICATED (the token holds no longer), SLOW_CONSUMER (it does not take what comes).
   */
  follow(principal: Principal, request: FeedRequest): Feed {
    const { filter, after, signal, kind } = request;
    const organizations = resolveOrganizations(principal, filter.organizationIds);
    const from = after === undefined ? undefined : startOf(request, after, organizations);
    const subscription: Subscription = {
      principal,
      organizations,
      filter,
      signal,
      buffer: new FeedBuffer(),
      positions: from ?? new Map<string, LogPosition>(),
      close: () => undefined,
      over: new AbortController(),
      isLive: false,
    };
    this.open(subscription, kind);
    const begun = this.begin(subscription, from !== undefined);
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
      for (const stop of stops) stop();
      subscription.following?.leave();
      release();
      this.ends[reason] += 1;
      buffer.close();
      subscription.over.abort();
    };
    const stops = [
      this.lifecycle.onDraining(() => subscription.close('shutdown')),
      this.tokens.watch(principal, (reason) => subscription.close('expired', reason)),
    ];
    stops.push(onAbort(signal, () => subscription.close('left')));
  }

  private async begin(subscription: Subscription, isResumed: boolean): Promise<LogPositions> {
    const { organizations, buffer, filter } = subscription;
    const test = eventTest(filter);
    const following = await this.live.follow(organizations, {
      onEvent: (event) => {
        if (!test(event)) return;
        buffer.add(event);
        if (buffer.hasOverflowed && subscription.isLive) this.disconnectSlow(subscription);
      },
      onTimelineChange: (error) => subscription.close('rewound', error),
    });
    subscription.following = following;
    if (subscription.end) following.leave();
    // Behind the beginning of the following: what changes later is noticed by it.
    else if (isResumed) await this.live.requireSameTimeline(subscription.positions);
    return following.positions;
  }

  private async *deliver(
    subscription: Subscription,
    begun: Promise<LogPositions>,
    isResumed: boolean,
  ): AsyncGenerator<FeedEvent> {
    try {
      const positions = await begun;
      if (isResumed) yield* this.backfill(subscription, positions);
      else subscription.positions = positions;
      yield* this.resume(subscription);
    } finally {
      subscription.close('left');
    }
  }

  /** What lies between the subscriber's places and those from which on the buffer holds everything. */
  private async *backfill(
    subscription: Subscription,
    until: LogPositions,
  ): AsyncGenerator<FeedEvent> {
    const { organizations, buffer } = subscription;
    const ids = organizations === '*' ? [] : organizations;
    for (let target = until; ; target = this.live.positionsOf(ids)) {
      for (const id of ids) yield* this.backfillOne(subscription, id, target.get(id) ?? BEGINNING);
      if (!buffer.hasOverflowed) return;
      // More came meanwhile than is kept for one subscriber: it is read like the rest.
      buffer.clear();
    }
  }

  private async *backfillOne(
    subscription: Subscription,
    organizationId: string,
    until: LogPosition,
  ): AsyncGenerator<FeedEvent> {
    const { positions, principal, signal, filter } = subscription;
    let limit = PAGE;
    for (;;) {
      const position = positions.get(organizationId) ?? BEGINNING;
      if (position.sequence >= until.sequence) return;
      const request = {
        organizations: [organizationId],
        filter,
        sort: { field: 'sequence', direction: 'asc' } as const,
        after: pagePositionOf(organizationId, position),
        limit,
        offset: 0,
      };
      const read = this.readUntilCaughtUp(subscription, () =>
        this.pages.read(request, flowKey(principal), signal),
      );
      const page = await read.catch((error: unknown) => {
        if (!isTooLarge(error) || limit === 1) throw error;
        return undefined;
      });
      if (!page) limit = Math.ceil(limit / TOO_LARGE_DIVISOR);
      if (!page) continue;
      try {
        for (const text of page.texts) {
          positions.set(organizationId, logPositionOf(positionOf(text)));
          if (this.isOver(subscription)) return;
          yield this.eventOf(subscription, text);
        }
      } finally {
        page.release();
      }
      if (page.texts.length < limit) {
        const reached = positions.get(organizationId) ?? BEGINNING;
        // The filter passes over the rest.
        if (reached.sequence < until.sequence) positions.set(organizationId, until);
      }
      if (page.isSmall) limit = Math.min(PAGE, 2 * limit);
    }
  }

  /** Many may resume at once, when a replica has gone: who finds no room, or no database, comes again. */
  private async readUntilCaughtUp<T>(
    subscription: Subscription,
    read: () => Promise<T>,
  ): Promise<T> {
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

  private async *resume(subscription: Subscription): AsyncGenerator<FeedEvent> {
    const { buffer, positions } = subscription;
    subscription.isLive = true;
    for (;;) {
      if (this.isOver(subscription)) return;
      const event = buffer.take();
      if (event) {
        const { organizationId, sequence, recordedMicros, text } = event;
        const position = positions.get(organizationId) ?? BEGINNING;
        if (sequence <= position.sequence) {
          this.requireSameEvent(subscription, event, position);
          continue; // the backfill has given it
        }
        positions.set(organizationId, { sequence, recordedMicros });
        yield this.eventOf(subscription, text);
      } else if (buffer.hasOverflowed) {
        this.disconnectSlow(subscription);
      } else {
        await buffer.changed();
      }
    }
  }

  /** An event that the backfill has given comes live as well: as the same event, or the log has changed between. */
  private requireSameEvent(
    subscription: Subscription,
    { organizationId, sequence, recordedMicros }: RecordedEvent,
    position: LogPosition,
  ): void {
    const isSame = recordedMicros === (position.recordedMicros ?? recordedMicros);
    if (sequence !== position.sequence || isSame) return;
    subscription.close('rewound', timelineChanged(organizationId, sequence));
  }

  private disconnectSlow(subscription: Subscription): void {
    const detail = 'Events came faster than they were read. Go on from the last cursor.';
    subscription.close('slow', new AppError('SLOW_CONSUMER', detail));
  }

  private eventOf({ organizations, positions }: Subscription, text: string): FeedEvent {
    this.delivered += 1;
    return {
      text,
      get cursor() {
        return feedCursor(organizations, positions);
      },
    };
  }

  private isOver({ end }: Subscription): boolean {
    if (end?.error) throw end.error;
    return end !== undefined;
  }
}

/** Where a feed begins that goes on. */
function startOf(
  { afterRecordedAt }: FeedRequest,
  after: string,
  organizations: Organizations,
): LogPositions {
  const positions = positionsIn(after, organizations);
  if (afterRecordedAt === undefined) return positions;
  const recordedMicros = parseInstant(afterRecordedAt);
  const [only, ...others] = positions;
  if (recordedMicros === undefined || !only || others.length > 0) {
    const detail =
      'The time of recording goes with the `sequence` of an event of one organization, as an instant in ISO 8601.';
    throw new AppError('INVALID_CURSOR', detail);
  }
  const [organizationId, { sequence }] = only;
  return new Map([[organizationId, { sequence, recordedMicros }]]);
}

/** The same position as pages name it. */
function pagePositionOf(
  organizationId: string,
  { sequence, recordedMicros }: LogPosition,
): Position {
  return {
    organizationId,
    sequence: String(sequence),
    timestamp: '',
    id: '',
    ...(recordedMicros === undefined ? {} : { recordedAt: formatInstant(recordedMicros) }),
  };
}
