import { setTimeout as sleep } from 'node:timers/promises';
import type { Organizations, Principal } from '../../auth/principal';
import { flowKey } from '../../concurrency/fair-scheduler';
import { AppError } from '../../platform/errors/app-error';
import { formatInstant } from '../../platform/runtime/instant';
import type { AuditEventFilter } from '../event/audit-event-filter';
import { isTooLarge, TOO_LARGE_DIVISOR } from '../read/audit-pages';
import {
  BEGINNING,
  type LogPosition,
  type LogPositions,
  timelineChanged,
} from '../read/log-position';
import { logPositionOf, type Position, positionOf } from '../read/position';
import type { BackfillPages } from './backfill-pages';
import type { EventTailer } from './event-tailer';
import { FeedBuffer } from './feed-buffer';
import { feedCursor } from './feed-cursor';
import { eventTest, type RecordedEvent } from './recorded-event';

const PAGE = 500;
/** Failures after which a page is read again: many feeds resume at once when a replica stops. */
const TRANSIENT = new Set<string>(['TOO_MANY_REQUESTS', 'QUEUE_TIMEOUT', 'DATABASE_UNAVAILABLE']);
const MAX_RETRY_SECONDS = 5;

export interface FeedEvent {
  text: string;
  /** Null for more organizations than a cursor holds. Must be read before the next event is taken. */
  readonly cursor: string | null;
}

export type EndReason = 'left' | 'expired' | 'shutdown' | 'slow' | 'rewound';

export interface FeedStatistics {
  delivered: number;
  ends: Record<EndReason, number>;
}

interface SubscribedLog {
  principal: Principal;
  organizations: Organizations;
  filter: AuditEventFilter;
  signal: AbortSignal;
  /** Positions to resume from; without them the feed begins now. */
  from?: LogPositions | undefined;
}

/**
 * One subscriber's events in three phases: backfill (pages since the cursor), cutover (events in both the pages and the
 * buffer are delivered once), live. Each organization's events come by sequence, without gaps and repetitions.
 */
export class Subscription {
  private readonly buffer = new FeedBuffer();
  private readonly over = new AbortController();
  private readonly cleanups: (() => void)[] = [];
  private readonly isResumed: boolean;
  private positions: LogPositions;
  private end: { error?: AppError } | undefined;
  private isLive = false;

  constructor(
    private readonly tailer: EventTailer,
    private readonly pages: BackfillPages,
    private readonly source: SubscribedLog,
    private readonly statistics: FeedStatistics,
  ) {
    this.isResumed = source.from !== undefined;
    this.positions = source.from ?? new Map<string, LogPosition>();
  }

  /** Aborts at the end, when the last events may not be taken yet. */
  get ended(): AbortSignal {
    return this.over.signal;
  }

  close(reason: EndReason, error?: AppError): void {
    if (this.end) return;
    this.end = error ? { error } : {};
    for (const cleanup of this.cleanups.splice(0)) cleanup();
    this.statistics.ends[reason] += 1;
    this.buffer.close();
    this.over.abort();
  }

  whenClosed(cleanup: () => void): void {
    if (this.end) cleanup();
    else this.cleanups.push(cleanup);
  }

  /** Follows the log; resolves with the positions after which the buffer misses nothing. */
  async begin(): Promise<LogPositions> {
    const test = eventTest(this.source.filter);
    const { positions, unsubscribe } = await this.tailer.follow(this.source.organizations, {
      onEvent: (event) => {
        if (!test(event)) return;
        this.buffer.add(event);
        if (this.buffer.hasOverflowed && this.isLive) this.disconnectSlow();
      },
      onTimelineChange: (error) => this.close('rewound', error),
    });
    this.whenClosed(unsubscribe);
    // After `follow`, which notices later changes.
    if (!this.end && this.isResumed) await this.tailer.requireSameTimeline(this.positions);
    return positions;
  }

  async *deliver(begun: Promise<LogPositions>): AsyncGenerator<FeedEvent> {
    try {
      const positions = await begun;
      if (this.isResumed) yield* this.backfill(positions);
      else this.positions = positions;
      yield* this.resume();
    } finally {
      this.close('left');
    }
  }

  /** Reads from the cursor to `until`, where the buffer begins. */
  private async *backfill(until: LogPositions): AsyncGenerator<FeedEvent> {
    const { organizations } = this.source;
    const ids = organizations === '*' ? [] : organizations;
    for (let target = until; ; target = this.tailer.positionsOf(ids)) {
      for (const id of ids) yield* this.backfillOne(id, target.get(id) ?? BEGINNING);
      if (!this.buffer.hasOverflowed) return;
      // More events than a buffer holds: they are read from the database as well.
      this.buffer.clear();
    }
  }

  private async *backfillOne(
    organizationId: string,
    until: LogPosition,
  ): AsyncGenerator<FeedEvent> {
    const { positions } = this;
    const { filter, principal, signal } = this.source;
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
      const read = this.readUntilCaughtUp(() =>
        this.pages.read(request, flowKey(principal), signal),
      );
      const page = await read.catch((error: unknown) => {
        if (!isTooLarge(error) || limit === 1) throw error;
        return undefined;
      });
      if (!page) {
        limit = Math.ceil(limit / TOO_LARGE_DIVISOR);
        continue;
      }
      try {
        for (const text of page.texts) {
          positions.set(organizationId, logPositionOf(positionOf(text)));
          if (this.isOver()) return;
          yield this.delivered(text);
        }
      } finally {
        page.release();
      }
      if (page.texts.length < limit) {
        const reached = positions.get(organizationId) ?? BEGINNING;
        // The filter excludes the rest.
        if (reached.sequence < until.sequence) positions.set(organizationId, until);
      }
      if (page.isSmall) limit = Math.min(PAGE, 2 * limit);
    }
  }

  private async readUntilCaughtUp<T>(read: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await read();
      } catch (error) {
        const isTransient = error instanceof AppError && TRANSIENT.has(error.code);
        if (!isTransient || this.end) throw error;
        const seconds = Math.min(MAX_RETRY_SECONDS, error.retryAfterSeconds ?? 1);
        await sleep(1000 * seconds * (0.5 + Math.random()), undefined, { ref: false });
        if (this.isOver()) throw error;
      }
    }
  }

  private async *resume(): AsyncGenerator<FeedEvent> {
    const { buffer, positions } = this;
    this.isLive = true;
    for (;;) {
      if (this.isOver()) return;
      const event = buffer.take();
      if (event) {
        const { organizationId, sequence, recordedMicros, text } = event;
        const position = positions.get(organizationId) ?? BEGINNING;
        if (sequence <= position.sequence) {
          this.requireSameEvent(event, position);
          continue; // the backfill has delivered it
        }
        positions.set(organizationId, { sequence, recordedMicros });
        yield this.delivered(text);
      } else if (buffer.hasOverflowed) {
        this.disconnectSlow();
      } else {
        await buffer.changed();
      }
    }
  }

  /** Checks that a live event is the backfill's: else the log has changed between. */
  private requireSameEvent(
    { organizationId, sequence, recordedMicros }: RecordedEvent,
    position: LogPosition,
  ): void {
    const isSame = recordedMicros === (position.recordedMicros ?? recordedMicros);
    if (sequence !== position.sequence || isSame) return;
    this.close('rewound', timelineChanged(organizationId, sequence));
  }

  private disconnectSlow(): void {
    const detail = 'Events came faster than they were read. Go on from the last cursor.';
    this.close('slow', new AppError('SLOW_CONSUMER', detail));
  }

  private delivered(text: string): FeedEvent {
    this.statistics.delivered += 1;
    const { positions, source: log } = this;
    return {
      text,
      get cursor() {
        return feedCursor(log.organizations, positions);
      },
    };
  }

  private isOver(): boolean {
    if (this.end?.error) throw this.end.error;
    return this.end !== undefined;
  }
}

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
