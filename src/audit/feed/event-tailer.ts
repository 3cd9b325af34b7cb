import { type BeforeApplicationShutdown, Inject, Injectable, Logger } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { Organizations } from '../../auth/principal';
import { cacheConfig } from '../../platform/config/settings';
import { Database } from '../../platform/database/database';
import { toDatabaseError } from '../../platform/database/database-errors';
import type { AppError } from '../../platform/errors/app-error';
import { RedisConnection } from '../../platform/redis/redis-connection';
import { LogTimeline } from '../event/log-timeline';
import { BEGINNING, type LogPosition, type LogPositions, timelineChanged } from '../read/position';
import { AuditWriter } from '../write/audit-writer';
import { EventLogReader, type FollowedHead, type ReachedLogs } from './event-log-reader';
import type { RecordedEvent } from '../event/event-test';
import { hasWatermark } from './feed-cursor';
import { type ClockSample, type Watermark, Watermarks } from './watermark';

/** Interval of polls, which find commits of other replicas without Redis. */
const POLL_MS = 1000;
/** Time in which commits share a message to other replicas. */
const ANNOUNCE_MS = 10;
/** Codes of faults that pass, during which feeds wait. */
const PASSING = new Set<string>(['DATABASE_UNAVAILABLE', 'REQUEST_TIMEOUT']);
/** Number of other faults in succession that ends the feeds; a single one may come from a change of the schema. */
const LASTING_FAULTS = 3;

export interface EventListener {
  onEvent: (event: RecordedEvent) => void;
  /** Called at the end of the feed: TIMELINE_CHANGED, or events cannot be read. The listener has to unsubscribe. */
  onEnd: (error: AppError) => void;
  /** Called with each watermark, for feeds of many organizations: `onEvent` has got all events up to it. */
  onWatermark?: (watermark: Watermark) => void;
}

export interface Subscriber {
  positions: LogPositions;
  unsubscribe: () => void;
}

/**
 * Reads each event once, and delivers it to all listeners by sequence, which is gapless in commit order: a read after the
 * last sequence misses nothing. Commits of this process start a read, other replicas announce theirs over Redis, and a
 * poll of the heads finds any others.
 *
 * After a failover or restore, sequences may be assigned again: every read begins with the event at the position. When
 * that is another event, or a head is below the position, the feeds of the organization end
 * (docs/adr/0029-positions-across-timelines.md).
 */
@Injectable()
export class EventTailer implements BeforeApplicationShutdown {
  private readonly logger = new Logger('EventTailer');
  private readonly log: EventLogReader;
  private readonly listeners = new Map<string, Set<EventListener>>();
  private readonly listenersToAll = new Set<EventListener>();
  /** Listeners to many organizations, which get watermarks. */
  private readonly watermarkListeners = new Map<EventListener, Organizations>();
  private readonly watermarks = new Watermarks();
  /** Watermark whose events are not all delivered yet, with the sequences that have to be reached. */
  private awaited: { micros: number; sequences: Map<string, bigint> } | undefined;
  /** Last delivered event of each followed organization; the objects are immutable. */
  private readonly offsets: LogPositions = new Map();
  private readonly seenHeads = new Map<string, FollowedHead>();
  /** Number of timeline changes; the results of reads that began before a change are discarded. */
  private changes = 0;
  private readonly due = new Set<string>();
  private polling: NodeJS.Timeout | undefined;
  private isReading = false;
  private isPolling = false;
  private isFailing = false;
  private lastingFaults = 0;
  private readonly announcements: CommitAnnouncements;

  constructor(
    database: Database,
    redis: RedisConnection,
    writer: AuditWriter,
    @Inject(cacheConfig.KEY) { keyPrefix }: ConfigType<typeof cacheConfig>,
    private readonly timeline: LogTimeline,
  ) {
    // The prefix of the cache distinguishes services that share a Redis.
    this.announcements = new CommitAnnouncements(redis, `${keyPrefix}-events-recorded`, (error) =>
      this.report(error),
    );
    this.log = new EventLogReader(database);
    writer.onCommit(({ organizations }) => {
      this.wake(organizations);
      this.announcements.announce(organizations);
    });
  }

  /**
   * Delivers all events of these organizations after the resulting positions: no later commit has a lower sequence.
   * @throws AppError DATABASE_UNAVAILABLE.
   */
  async follow(organizations: Organizations, listener: EventListener): Promise<Subscriber> {
    this.announcements.subscribe((ids) => this.wake(ids));
    let last: LogPositions;
    let newestMicros: number;
    let changes: number;
    do {
      ({ changes } = this);
      const found = await this.log.durably(organizations, () =>
        this.lastPositionsOf(organizations),
      );
      ({ last, newestMicros } = found);
    } while (changes !== this.changes);
    const ids = organizations === '*' ? [...last.keys()] : organizations;
    const positions: LogPositions = new Map();
    for (const id of ids) {
      const head = last.get(id) ?? BEGINNING;
      // Listeners to all organizations get every event of one that is new to this process.
      if (this.listenersToAll.size > 0 && !this.offsets.has(id)) {
        this.offsets.set(id, BEGINNING);
        this.due.add(id);
      }
      const delivered = this.isFollowed(id) ? (this.offsets.get(id) ?? BEGINNING) : undefined;
      if (delivered === undefined) this.startAt(id, head);
      // The events of a later call that was served sooner are not delivered again.
      positions.set(id, delivered === undefined ? head : furthestOf(delivered, head));
    }
    if (hasWatermark(organizations)) {
      // This process does not know the sequences at earlier times.
      this.watermarks.beginAt(newestMicros);
      this.awaited = undefined;
      this.watermarkListeners.set(listener, organizations);
    }
    if (organizations === '*') this.listenersToAll.add(listener);
    else for (const id of organizations) this.listenersOf(id).add(listener);
    if (this.due.size > 0) this.readDue();
    this.polling ??= setInterval(() => this.poll(), POLL_MS).unref();
    return { positions, unsubscribe: () => this.unsubscribe(organizations, listener) };
  }

  positionsOf(organizations: Organizations): LogPositions {
    if (organizations === '*') return new Map(this.offsets);
    return new Map(organizations.map((id) => [id, this.offsets.get(id) ?? BEGINNING]));
  }

  /**
   * Checks that the positions of a resuming subscriber belong to these logs.
   * @throws AppError TIMELINE_CHANGED, DATABASE_UNAVAILABLE.
   */
  async requireSameTimeline(positions: LogPositions): Promise<void> {
    const [foreign] = await this.log.findForeign(positions);
    if (foreign === undefined) return;
    this.timeline.noteRefusedPosition();
    throw timelineChanged(foreign);
  }

  /** Returns a past moment (microseconds since 1970) by PostgreSQL's clock. @throws AppError DATABASE_UNAVAILABLE. */
  async momentBefore(micros: number): Promise<number> {
    return (await this.log.sampleClock()).micros - micros;
  }

  /** Finds the sequences of organizations at a moment. @throws AppError DATABASE_UNAVAILABLE. */
  reachedAt(organizations: Organizations, micros: number): Promise<ReachedLogs> {
    return this.log.reachedAt(organizations, micros);
  }

  /** Counts a position that was refused. */
  noteRefusedPosition(): void {
    this.timeline.noteRefusedPosition();
  }

  private async lastPositionsOf(
    organizations: Organizations,
  ): Promise<{ last: LogPositions; newestMicros: number }> {
    if (organizations !== '*' && !hasWatermark(organizations)) {
      return { last: await this.log.lastPositionsOf(organizations), newestMicros: 0 };
    }
    const { heads } = await this.log.headsOf(organizations);
    const last = new Map([...heads].map(([id, { sequence }]) => [id, { sequence }]));
    const newestMicros = [...heads.values()].reduce(
      (most, { micros }) => Math.max(most, micros),
      0,
    );
    return { last, newestMicros };
  }

  /** Follows an organization; the first read finds the identity of the event at its position, if unknown. */
  private startAt(id: string, position: LogPosition): void {
    this.offsets.set(id, position);
    if (position.sequence > 0n && position.recordedMicros === undefined) this.due.add(id);
  }

  beforeApplicationShutdown(): void {
    clearInterval(this.polling);
    this.announcements.stop();
    this.due.clear();
  }

  private isFollowed(id: string): boolean {
    return this.offsets.has(id) && (this.listenersToAll.size > 0 || this.listeners.has(id));
  }

  private listenersOf(id: string): Set<EventListener> {
    let found = this.listeners.get(id);
    if (!found) this.listeners.set(id, (found = new Set()));
    return found;
  }

  private unsubscribe(organizations: Organizations, listener: EventListener): void {
    this.watermarkListeners.delete(listener);
    if (this.watermarkListeners.size === 0) this.stopMarks();
    if (organizations === '*') this.listenersToAll.delete(listener);
    else {
      for (const id of organizations) {
        const found = this.listeners.get(id);
        found?.delete(listener);
        if (found?.size === 0) this.listeners.delete(id);
      }
    }
    for (const id of organizations === '*' ? [...this.offsets.keys()] : organizations) {
      if (this.listenersToAll.size === 0 && !this.listeners.has(id)) this.forget(id);
    }
    if (this.offsets.size > 0 || this.listenersToAll.size > 0) return;
    clearInterval(this.polling);
    this.polling = undefined;
  }

  private forget(id: string): void {
    this.offsets.delete(id);
    this.seenHeads.delete(id);
    this.watermarks.drop(id);
  }

  private stopMarks(): void {
    this.watermarks.stop();
    this.awaited = undefined;
  }

  private wake(organizations: Iterable<string>): void {
    for (const id of organizations) {
      if (this.listenersToAll.size > 0 && !this.offsets.has(id)) this.offsets.set(id, BEGINNING);
      if (this.offsets.has(id)) this.due.add(id);
    }
    if (this.due.size > 0) this.readDue();
  }

  /** Reads until nothing is due; after a failure the next poll retries. */
  private readDue(): void {
    if (this.isReading) return;
    this.isReading = true;
    this.readAll()
      .then(() => this.report(undefined))
      .catch((error: unknown) => this.report(error))
      .finally(() => {
        this.isReading = false;
      });
  }

  private async readAll(): Promise<void> {
    while (this.due.size > 0) {
      const after = this.takeDue(this.log.maxOrganizations);
      if (after.size > 0) await this.readSome(after);
    }
  }

  private async readSome(after: LogPositions): Promise<void> {
    try {
      const { events, unfinished, confirmed, foreign } = await this.log.readAfter(after);
      for (const { organizationId: id, head } of foreign) {
        this.changeTimeline(id, after.get(id), head);
      }
      for (const [id, recordedMicros] of confirmed) this.confirm(id, after.get(id), recordedMicros);
      for (const event of events)
        this.deliver(event, after.get(event.organizationId)?.sequence ?? 0n);
      for (const id of unfinished) if (this.offsets.has(id)) this.due.add(id);
    } catch (error) {
      for (const id of after.keys()) if (this.offsets.has(id)) this.due.add(id);
      throw error;
    }
  }

  private confirm(id: string, position: LogPosition | undefined, recordedMicros: number): void {
    if (position === undefined || position.recordedMicros !== undefined) return;
    if (this.offsets.get(id) === position) this.offsets.set(id, { ...position, recordedMicros });
  }

  private takeDue(count: number): LogPositions {
    const after: LogPositions = new Map();
    for (const id of [...this.due].slice(0, count)) {
      this.due.delete(id);
      const offset = this.offsets.get(id);
      if (offset !== undefined) after.set(id, offset);
    }
    return after;
  }

  private deliver(event: RecordedEvent, after: bigint): void {
    const { organizationId, sequence, recordedMicros } = event;
    const offset = this.offsets.get(organizationId)?.sequence;
    if (offset === undefined || sequence <= offset) return; // no listener is left, or it began again
    if (offset < after) {
      this.due.add(organizationId); // events between the earlier position and this one are missing
      return;
    }
    this.offsets.set(organizationId, { sequence, recordedMicros });
    if (this.watermarkListeners.size > 0) {
      this.watermarks.note(organizationId, { sequence, micros: recordedMicros }, offset);
    }
    for (const listener of this.listeners.get(organizationId) ?? []) listener.onEvent(event);
    for (const listener of this.listenersToAll) listener.onEvent(event);
  }

  private poll(): void {
    if (this.isPolling || this.offsets.size + this.listenersToAll.size === 0) return;
    this.isPolling = true;
    this.readHeads()
      .catch((error: unknown) => this.report(error))
      .finally(() => {
        this.isPolling = false;
      });
  }

  private async readHeads(): Promise<void> {
    const organizations = this.listenersToAll.size > 0 ? '*' : [...this.offsets.keys()];
    // Positions advance during the poll: only the earlier ones cannot be above a head.
    const before: LogPositions = new Map(this.offsets);
    const { changes } = this;
    // Read before the heads, which then show the commits of all transactions that have ended in this sample.
    const sample = this.watermarkListeners.size > 0 ? await this.log.sampleClock() : undefined;
    const { heads, isInRecovery } = await this.log.headsOf(organizations);
    // A standby may only lag.
    if (!isInRecovery && changes === this.changes) this.compareHeads(heads, before);
    this.wake([...heads].flatMap(([id, head]) => (this.isDue(id, head) ? [id] : [])));
    if (sample && !isInRecovery && changes === this.changes) this.takeSample(sample, heads);
  }

  private takeSample(sample: ClockSample, heads: ReadonlyMap<string, FollowedHead>): void {
    const micros = this.watermarks.close(sample);
    if (micros !== undefined && !this.awaited) {
      const sequences = new Map([...heads].map(([id, { sequence }]) => [id, sequence]));
      this.awaited = { micros, sequences };
    }
    if (!this.awaited) return;
    const { sequences } = this.awaited;
    for (const [id, sequence] of sequences) {
      const offset = this.offsets.get(id);
      if (!offset || offset.sequence >= sequence) sequences.delete(id);
    }
    if (sequences.size > 0) return; // the next poll delivers it
    this.announceMark(this.awaited.micros);
    this.awaited = undefined;
  }

  private announceMark(micros: number): void {
    let ofAll: bigint | undefined;
    for (const [listener, organizations] of [...this.watermarkListeners]) {
      const sum =
        organizations === '*'
          ? (ofAll ??= this.sumAt(this.offsets.keys(), micros))
          : this.sumAt(organizations, micros);
      listener.onWatermark?.({ micros, sum });
    }
    this.watermarks.passed(micros);
  }

  private sumAt(organizations: Iterable<string>, micros: number): bigint {
    let sum = 0n;
    for (const id of organizations) {
      const delivered = this.offsets.get(id)?.sequence ?? 0n;
      sum += this.watermarks.sequenceAt(id, micros, delivered);
    }
    return sum;
  }

  /** Finds heads below the earlier positions, after which sequences are assigned a second time. */
  private compareHeads(heads: ReadonlyMap<string, FollowedHead>, before: LogPositions): void {
    for (const [id, position] of before) {
      const sequence = heads.get(id)?.sequence ?? 0n;
      if (sequence < position.sequence) this.changeTimeline(id, position, sequence);
    }
  }

  /** Ends the feeds of an organization whose event at this position is lost. */
  private changeTimeline(id: string, position: LogPosition | undefined, head?: bigint): void {
    const offset = this.offsets.get(id);
    // The position belonged to earlier feeds.
    if (!position || !offset || offset.sequence < position.sequence) return;
    this.forget(id);
    this.changes += 1;
    this.timeline.noteRewind(id, position.sequence, head);
    const error = timelineChanged({ organizationId: id, sequence: position.sequence, head });
    const listeners = [...(this.listeners.get(id) ?? []), ...this.listenersToAll];
    this.listeners.delete(id);
    this.listenersToAll.clear();
    for (const listener of listeners) listener.onEnd(error);
  }

  /** Finds heads with new events, and heads that retention or a lost commit has moved without events. */
  private isDue(id: string, head: FollowedHead): boolean {
    const offset = this.offsets.get(id);
    const seen = this.seenHeads.get(id);
    if (offset) this.seenHeads.set(id, head);
    if (!offset || head.sequence > offset.sequence) return true;
    const isSame = head.sequence === offset.sequence && seen?.sequence === head.sequence;
    return isSame && seen.micros !== head.micros;
  }

  /** Ends all feeds: waiting does not help, and a silent feed would look like a log without events. */
  private endAll(error: AppError): void {
    const all = new Set([...this.listeners.values()].flatMap((found) => [...found]));
    for (const listener of this.listenersToAll) all.add(listener);
    this.listeners.clear();
    this.listenersToAll.clear();
    this.due.clear();
    for (const id of [...this.offsets.keys()]) this.forget(id);
    this.changes += 1;
    for (const listener of all) listener.onEnd(error);
  }

  private report(error: unknown): void {
    const fault = error === undefined ? undefined : toDatabaseError(error);
    const isLasting = fault !== undefined && !PASSING.has(fault.code);
    this.lastingFaults = isLasting ? this.lastingFaults + 1 : 0;
    if (fault && this.lastingFaults >= LASTING_FAULTS) {
      this.lastingFaults = 0;
      this.endAll(fault);
    }
    if (error === undefined) {
      if (this.isFailing) this.logger.log('Events are read again for subscribers.');
      this.isFailing = false;
    } else if (!this.isFailing) {
      this.isFailing = true;
      const reason = error instanceof Error ? error.message : 'unknown';
      this.logger.warn(`Events cannot be read for subscribers, who wait: ${reason}`);
    }
  }
}

/** Returns the later position; of two for the same event, the one with its identity. */
function furthestOf(one: LogPosition, other: LogPosition): LogPosition {
  if (one.sequence !== other.sequence) return one.sequence > other.sequence ? one : other;
  return one.recordedMicros === undefined ? other : one;
}

/** Announces commits to other replicas over Redis. The next poll of EventTailer finds lost messages. */
class CommitAnnouncements {
  private readonly unannounced = new Set<string>();
  private timer: NodeJS.Timeout | undefined;
  private isSubscribed = false;

  constructor(
    private readonly redis: RedisConnection,
    private readonly channel: string,
    private readonly onError: (error: unknown) => void,
  ) {}

  announce(organizations: Iterable<string>): void {
    if (!this.redis.isConfigured) return;
    for (const id of organizations) this.unannounced.add(id);
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      const message = JSON.stringify([...this.unannounced]);
      this.unannounced.clear();
      this.redis.attempt((client) => client.publish(this.channel, message)).catch(this.onError);
    }, ANNOUNCE_MS).unref();
  }

  /** Calls `listener` with the organizations of each announcement; called once. */
  subscribe(listener: (organizations: string[]) => void): void {
    if (this.isSubscribed || !this.redis.isConfigured) return;
    this.isSubscribed = true;
    // The connection subscribes again when Redis returns.
    this.redis
      .subscribe(this.channel, (message) => listener(organizationsIn(message)))
      .catch(this.onError);
  }

  stop(): void {
    clearTimeout(this.timer);
  }
}

/** Parses a message; empty for a malformed one, which any client of the Redis may publish. */
function organizationsIn(message: string): string[] {
  try {
    const named: unknown = JSON.parse(message);
    return Array.isArray(named) ? named.filter((id) => typeof id === 'string') : [];
  } catch {
    return [];
  }
}
