import { Injectable } from '@nestjs/common';
import { resolveOrganizations, type Organizations, type Principal } from '../../auth/principal';
import { TokenLife } from '../../auth/token-life';
import { SubscriptionLimiter, type SubscriptionKind } from '../../concurrency/subscription-limiter';
import { AppError } from '../../platform/errors/app-error';
import { onAbort } from '../../platform/runtime/abort';
import { parseInstant } from '../../platform/runtime/instant';
import { Lifecycle } from '../../platform/runtime/lifecycle';
import type { AuditEventFilter } from '../event/audit-event-filter';
import type { LogPositions } from '../read/log-position';
import { BackfillPages } from './backfill-pages';
import { EventTailer } from './event-tailer';
import { positionsIn } from './feed-cursor';
import { type FeedEvent, type FeedStatistics, Subscription } from './subscription';

export interface FeedRequest {
  filter: AuditEventFilter;
  /** Cursor of the subscriber's last event; `0` is the beginning of one organization. Absent: from now on. */
  after?: string;
  /** Recording time of that event (ISO 8601), if `after` is its number alone. */
  afterRecordedAt?: string;
  signal: AbortSignal;
  kind: SubscriptionKind;
}

/** Events of a feed. `begun` resolves once no later event will be missed, or rejects. */
export type Feed = AsyncGenerator<FeedEvent> & {
  begun: Promise<unknown>;
  /** Aborts at the end, when the last events may not be taken yet. */
  ended: AbortSignal;
};

@Injectable()
export class EventFeed {
  private readonly counts: FeedStatistics = {
    delivered: 0,
    ends: { left: 0, expired: 0, shutdown: 0, slow: 0, rewound: 0 },
  };

  constructor(
    private readonly tailer: EventTailer,
    private readonly pages: BackfillPages,
    private readonly limiter: SubscriptionLimiter,
    private readonly lifecycle: Lifecycle,
    private readonly tokens: TokenLife,
  ) {}

  statistics(): Readonly<FeedStatistics> {
    return this.counts;
  }

  /**
   * Follows the principal's events, none missed after `begun`, until its token expires, the signal aborts or the
   * process stops (another replica resumes from the cursor).
   * @throws AppError FORBIDDEN, INVALID_CURSOR, TOO_MANY_REQUESTS; from `begun` and the iteration TIMELINE_CHANGED (the
   * cursor, or a delivered event, is of another timeline), DATABASE_UNAVAILABLE; from the iteration UNAUTHENTICATED
   * (token expired), SLOW_CONSUMER (events are not taken as fast as they come).
   */
  follow(principal: Principal, request: FeedRequest): Feed {
    const { filter, after, signal, kind } = request;
    const organizations = resolveOrganizations(principal, filter.organizationIds);
    const from = after === undefined ? undefined : startOf(request, after, organizations);
    const log = { principal, organizations, filter, signal, from };
    const subscription = new Subscription(this.tailer, this.pages, log, this.counts);
    subscription.whenClosed(this.limiter.acquire(principal.subject, kind));
    this.closeWith(subscription, principal, signal);
    const begun = subscription.begin();
    begun.catch(() => subscription.close('left')); // reported by `begun`, and at the first event
    return Object.assign(subscription.deliver(begun), { begun, ended: subscription.ended });
  }

  private closeWith(subscription: Subscription, principal: Principal, signal: AbortSignal): void {
    subscription.whenClosed(this.lifecycle.onDraining(() => subscription.close('shutdown')));
    subscription.whenClosed(
      this.tokens.watch(principal, (reason) => subscription.close('expired', reason)),
    );
    subscription.whenClosed(onAbort(signal, () => subscription.close('left')));
  }
}

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
