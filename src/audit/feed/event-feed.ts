import { Injectable } from '@nestjs/common';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Organizations,
  type Principal,
  principalKey,
  resolveOrganizations,
} from '../../auth/principal';
import { TokenLife } from '../../auth/token-life';
import { flowKey } from '../../concurrency/fair-scheduler';
import { type SubscriptionKind, SubscriptionLimiter } from '../../concurrency/subscription-limiter';
import { ResponseMemory } from '../../http/response-memory';
import { AppError } from '../../platform/errors/app-error';
import { onAbort } from '../../platform/runtime/abort';
import { formatInstant, parseInstant } from '../../platform/runtime/instant';
import { Lifecycle } from '../../platform/runtime/lifecycle';
import type { AuditEventFilter } from '../event/audit-event-filter';
import {
  AuditQueries,
  HELD_PAGE_BYTES,
  isTooLarge,
  TOO_LARGE_DIVISOR,
} from '../read/audit.queries';
import type { PageRequest } from '../read/page-statement';
import {
  BEGINNING,
  type LogPosition,
  logPositionOf,
  type LogPositions,
  type Position,
  positionOf,
  timelineChanged,
} from '../read/position';
import { ReadScheduler } from '../read/read-scheduler';
import { EventTailer } from './event-tailer';
import { eventTest, type RecordedEvent } from '../event/event-test';
import { FeedBuffer } from './feed-buffer';
import { feedCursor, hasWatermark, positionsIn, scopeOf, watermarkPositionIn } from './feed-cursor';
import type { Watermark } from './watermark';
import { organizationHash, type WatermarkPosition } from './watermark-cursor';
import { WatermarkProgress } from './watermark-progress';

const PAGE = 500;
/** Failures after which a page is read again, as many feeds resume at once when a replica stops. */
const TRANSIENT = new Set<string>(['TOO_MANY_REQUESTS', 'QUEUE_TIMEOUT', 'DATABASE_UNAVAILABLE']);
const MAX_RETRY_SECONDS = 5;
/** Age of the first watermark of a feed: nearly all transactions that began to write before it have ended. */
const FIRST_WATERMARK_MICROS = 30_000_000;

/** Bytes of a page without memory for responses; a single event of any size is read. */
const SMALL_PAGE_BYTES = 64 * 1024;
/** Upper bound of a character in V8's strings. */
const COPIES = 2;

interface BackfillPage {
  texts: string[];
  /** Where the search ended for want of time. */
  reached?: Position | undefined;
  isSmall: boolean;
  /** Has to be called when the subscriber has taken the page, or has ended. */
  release: () => void;
}

export interface FeedRequest {
  filter: AuditEventFilter;
  /** Cursor of the subscriber's last event; `0` is the beginning of one organization, and undefined is now. */
  after?: string;
  /** Recording time of that event (ISO 8601), when `after` is only its sequence. */
  afterRecordedAt?: string;
  signal: AbortSignal;
  kind: SubscriptionKind;
}

/** Events of a feed. `begun` resolves when no later event can be missed, or rejects. */
export type Feed = AsyncGenerator<FeedEvent> & {
  begun: Promise<unknown>;
  /** Aborts at the end of the feed; its last events may not be taken yet. */
  ended: AbortSignal;
};

export interface FeedEvent {
  text: string;
  /** Has to be read before the next event is taken. */
  readonly cursor: string;
}

export type EndReason = 'left' | 'expired' | 'shutdown' | 'slow' | 'rewound' | 'failed';

export interface FeedStatistics {
  delivered: number;
  ends: Record<EndReason, number>;
}

interface SubscribedLog {
  organizations: Organizations;
  filter: AuditEventFilter;
  readPage: (request: PageRequest) => Promise<BackfillPage>;
  /** Position after which the feed resumes; without it the feed begins now. */
  from?: LogPositions | WatermarkPosition | undefined;
}

/** Live feeds of events, limited for each principal, and the pages with which they catch up. */
@Injectable()
export class EventFeed {
  private readonly counts: FeedStatistics = {
    delivered: 0,
    ends: { left: 0, expired: 0, shutdown: 0, slow: 0, rewound: 0, failed: 0 },
  };

  constructor(
    private readonly tailer: EventTailer,
    private readonly queries: AuditQueries,
    private readonly scheduler: ReadScheduler,
    private readonly memory: ResponseMemory,
    private readonly limiter: SubscriptionLimiter,
    private readonly lifecycle: Lifecycle,
    private readonly tokens: TokenLife,
  ) {}

  statistics(): Readonly<FeedStatistics> {
    return this.counts;
  }

  /**
   * Follows the principal's events, and misses none after `begun`. The feed ends when the token expires, the signal
   * aborts, or the process stops (another replica resumes from the cursor).
   * @throws AppError FORBIDDEN, INVALID_CURSOR, TOO_MANY_REQUESTS; from `begun` and the iteration TIMELINE_CHANGED (the
   * cursor, or a delivered event, is of another timeline), DATABASE_UNAVAILABLE; from the iteration UNAUTHENTICATED
   * (token expired), SLOW_CONSUMER (events are not taken as fast as they come), INTERNAL (events cannot be read).
   */
  follow(principal: Principal, request: FeedRequest): Feed {
    const { filter, after, signal, kind } = request;
    const organizations = resolveOrganizations(principal, filter.organizationIds);
    const from = after === undefined ? undefined : startOf(request, after, organizations);
    const readPage = (page: PageRequest) => this.readPage(page, flowKey(principal), signal);
    const log = { organizations, filter, from, readPage };
    const subscription = new Subscription(this.tailer, log, this.counts);
    subscription.whenClosed(this.limiter.acquire(principalKey(principal), kind));
    subscription.whenClosed(this.lifecycle.onDraining(() => subscription.close('shutdown')));
    subscription.whenClosed(
      this.tokens.watch(principal, (reason) => subscription.close('expired', reason)),
    );
    subscription.whenClosed(onAbort(signal, () => subscription.close('left')));
    const begun = subscription.begin();
    begun.catch(() => subscription.close('left')); // `begun` and the first event report it
    return Object.assign(subscription.deliver(begun), { begun, ended: subscription.ended });
  }

  /**
   * Reads a page for a feed that catches up; its memory is reserved until the subscriber has taken it.
   * @throws AppError REQUEST_TOO_LARGE when smaller pages are necessary; errors of the read.
   */
  private async readPage(
    request: PageRequest,
    flow: string,
    signal: AbortSignal,
  ): Promise<BackfillPage> {
    const reservation = this.memory.tryReserve(COPIES * HELD_PAGE_BYTES);
    const maxBytes = reservation || request.limit === 1 ? HELD_PAGE_BYTES : SMALL_PAGE_BYTES;
    try {
      const { texts, reached } = await this.scheduler.read({ flow, signal }, (pace) =>
        this.queries.findPage(request, signal, { maxBytes }, pace),
      );
      const characters = texts.reduce((sum, { length }) => sum + length, 0);
      reservation?.resize(COPIES * Math.min(HELD_PAGE_BYTES, characters));
      return {
        texts,
        reached,
        isSmall: 4 * characters <= maxBytes,
        release: () => reservation?.release(),
      };
    } catch (error) {
      reservation?.release();
      throw error;
    }
  }
}

/**
 * Events of one subscriber in three phases: backfill (pages since the cursor), cutover (events that are both in pages and
 * in the buffer are delivered once), live. The events of an organization come by sequence, without gaps or repetitions.
 */
class Subscription {
  private readonly buffer = new FeedBuffer();
  private readonly over = new AbortController();
  private readonly cleanups: (() => void)[] = [];
  private readonly isResumed: boolean;
  /** Progress of a feed of many organizations, or of all. */
  private readonly progress: WatermarkProgress | undefined;
  private positions: LogPositions;
  private end: { error?: AppError } | undefined;
  private isLive = false;

  constructor(
    private readonly tailer: EventTailer,
    private readonly source: SubscribedLog,
    private readonly statistics: FeedStatistics,
  ) {
    const { organizations, from } = source;
    this.isResumed = from !== undefined;
    this.progress = hasWatermark(organizations)
      ? new WatermarkProgress(scopeOf(organizations))
      : undefined;
    this.positions = from instanceof Map ? from : new Map<string, LogPosition>();
  }

  /** Aborts at the end of the feed; its last events may not be taken yet. */
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

  /** Follows the log; resolves with the positions after which the buffer has every event. */
  async begin(): Promise<LogPositions> {
    const test = eventTest(this.source.filter);
    const { positions, unsubscribe } = await this.tailer.follow(this.source.organizations, {
      onEvent: (event) => {
        if (!test(event)) return;
        this.buffer.add(event);
        if (this.buffer.hasOverflowed && this.isLive) this.disconnectSlow();
      },
      onEnd: (error) => this.close(error.code === 'TIMELINE_CHANGED' ? 'rewound' : 'failed', error),
      onWatermark: (watermark) => {
        if (this.isLive) this.progress?.announce(watermark, this.buffer.size);
      },
    });
    this.whenClosed(unsubscribe);
    if (this.end) return positions;
    // Checked after `follow`, which notices later changes.
    if (this.progress) await this.beginAtWatermark(this.progress, positions);
    else if (this.isResumed) await this.tailer.requireSameTimeline(this.positions);
    return positions;
  }

  /** Finds the positions at which a feed of many organizations begins or resumes; `now` are those where the buffer begins. */
  private async beginAtWatermark(progress: WatermarkProgress, now: LogPositions): Promise<void> {
    const { organizations, from } = this.source;
    if (!from || from instanceof Map) {
      const micros = await this.tailer.momentBefore(FIRST_WATERMARK_MICROS);
      const { high, changed } = await this.tailer.reachedAt(organizations, micros);
      progress.begin({ micros, sum: high });
      for (const [id, { last }] of changed) {
        // Later events have yet to be delivered.
        if (last && last.sequence <= (now.get(id) ?? BEGINNING).sequence) progress.note(id, last);
      }
      return;
    }
    const { watermark, exceptions } = from;
    const { low, high, changed } = await this.tailer.reachedAt(organizations, watermark.micros);
    const delivered: LogPositions = new Map();
    for (const id of changed.keys()) {
      const position = exceptions.get(organizationHash(id));
      if (position) delivered.set(id, position);
    }
    await this.tailer.requireSameTimeline(delivered);
    if (delivered.size < exceptions.size || watermark.sum < low || watermark.sum > high) {
      this.tailer.noteRefusedPosition();
      throw logsChanged(watermark);
    }
    this.positions = new Map(now);
    for (const [id, reached] of changed) {
      const own = delivered.get(id);
      const isLater = own !== undefined && own.sequence > reached.high;
      this.positions.set(id, isLater ? own : { sequence: reached.high });
    }
    progress.begin(watermark);
    for (const [id, position] of delivered) progress.note(id, position);
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

  /** Reads the pages from the cursor to `until`, where the buffer begins. */
  private async *backfill(until: LogPositions): AsyncGenerator<FeedEvent> {
    const { organizations } = this.source;
    for (let target = until; ; target = this.tailer.positionsOf(organizations)) {
      const ids = organizations === '*' ? target.keys() : organizations;
      for (const id of ids) yield* this.backfillOne(id, target.get(id) ?? BEGINNING);
      if (!this.buffer.hasOverflowed) return;
      // The buffer cannot hold so many events: they are read from the database as well.
      this.buffer.clear();
    }
  }

  private async *backfillOne(
    organizationId: string,
    until: LogPosition,
  ): AsyncGenerator<FeedEvent> {
    const { positions } = this;
    const { filter, readPage } = this.source;
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
      const page = await this.readUntilCaughtUp(() => readPage(request)).catch((error: unknown) => {
        if (!isTooLarge(error) || limit === 1) throw error;
        return undefined;
      });
      if (!page) {
        limit = Math.ceil(limit / TOO_LARGE_DIVISOR);
        continue;
      }
      try {
        for (const text of page.texts) {
          const reached = logPositionOf(positionOf(text));
          positions.set(organizationId, reached);
          this.progress?.note(organizationId, reached);
          if (this.isOver()) return;
          yield this.delivered(text);
        }
      } finally {
        page.release();
      }
      if (page.reached) {
        positions.set(organizationId, logPositionOf(page.reached));
      } else if (page.texts.length < limit) {
        const reached = positions.get(organizationId) ?? BEGINNING;
        // The filter excludes the other events.
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
        this.progress?.taken();
        const { organizationId, sequence, recordedMicros, text } = event;
        const position = positions.get(organizationId) ?? BEGINNING;
        if (sequence <= position.sequence) {
          this.requireSameEvent(event, position);
          continue; // the backfill has delivered it
        }
        positions.set(organizationId, { sequence, recordedMicros });
        this.progress?.note(organizationId, { sequence, recordedMicros });
        yield this.delivered(text);
      } else if (buffer.hasOverflowed) {
        this.disconnectSlow();
      } else {
        await buffer.changed();
      }
    }
  }

  /** Checks that an event is the same in backfill and buffer: otherwise the log has changed meanwhile. */
  private requireSameEvent(
    { organizationId, sequence, recordedMicros }: RecordedEvent,
    position: LogPosition,
  ): void {
    const isSame = recordedMicros === (position.recordedMicros ?? recordedMicros);
    if (sequence !== position.sequence || isSame) return;
    this.close('rewound', timelineChanged({ organizationId, sequence }));
  }

  private disconnectSlow(): void {
    const detail = 'Events came faster than they were read. Go on from the last cursor.';
    this.close('slow', new AppError('SLOW_CONSUMER', detail));
  }

  private delivered(text: string): FeedEvent {
    this.statistics.delivered += 1;
    const { positions, progress, source } = this;
    const { organizations } = source;
    return {
      text,
      get cursor() {
        if (progress || organizations === '*') return progress?.cursor() ?? '';
        return feedCursor(organizations, positions);
      },
    };
  }

  private isOver(): boolean {
    if (this.end?.error) throw this.end.error;
    return this.end !== undefined;
  }
}

/** Creates the error for a position that does not fit the logs of many organizations. */
function logsChanged({ micros }: Watermark): AppError {
  return new AppError(
    'TIMELINE_CHANGED',
    'The logs of these organizations are not those of this position (the database lost commits in a failover or a restore, ' +
      'or its clock was set back). Begin again without a position, and read what is missing from lists: everything that was ' +
      `recorded up to ${formatInstant(micros)} had been delivered.`,
  );
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

function startOf(
  { afterRecordedAt }: FeedRequest,
  after: string,
  organizations: Organizations,
): LogPositions | WatermarkPosition {
  const isOfMany = organizations === '*' || hasWatermark(organizations);
  if (isOfMany && afterRecordedAt === undefined) return watermarkPositionIn(after, organizations);
  const positions: LogPositions = isOfMany
    ? new Map<string, LogPosition>()
    : positionsIn(after, organizations);
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
