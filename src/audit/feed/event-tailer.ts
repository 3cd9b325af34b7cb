import { Inject, Injectable, Logger, type BeforeApplicationShutdown } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { Organizations } from '../../auth/principal';
import { cacheConfig } from '../../platform/config/cache.config';
import { Database } from '../../platform/database/database';
import type { AppError } from '../../platform/errors/app-error';
import { RedisConnection } from '../../platform/redis/redis-connection';
import { AuditWriter } from '../write/audit-writer';
import type { RecordedEvent } from './feed-event';
import { MAX_RESUMABLE_ORGANIZATIONS } from './feed-cursor';
import {
  BEGINNING,
  type LogPosition,
  type LogPositions,
  timelineChanged,
} from '../read/log-position';
import { LogTimeline } from '../event/log-timeline';
import { type FollowedHead, RecordedReads } from '../read/recorded-reads';

/** The organizations of an announcement; none, if it is not one: anybody who can reach Redis can send messages. */
function organizationsIn(message: string): string[] {
  try {
    const named: unknown = JSON.parse(message);
    return Array.isArray(named) ? named.filter((id) => typeof id === 'string') : [];
  } catch {
    return [];
  }
}

/** The position that lies further on; of the same event, the one that knows which it is. */
function furthestOf(one: LogPosition, other: LogPosition): LogPosition {
  if (one.sequence !== other.sequence) return one.sequence > other.sequence ? one : other;
  return one.recordedMicros === undefined ? other : one;
}

/** Heads are looked at so often in any case: what no other replica announced, for want of Redis, is found by then. */
const POLL_MS = 1000;
/** Announcements of commits within so long go together. */
const ANNOUNCE_MS = 10;
/** A follower of events. */
export interface EventListener {
  onEvent: (event: RecordedEvent) => void;
  /** The log of one of its organizations is on another timeline: nothing more of it will come. Has to leave. */
  onTimelineChange: (error: AppError) => void;
}

/** A listener that is told of each event behind `positions`, until it leaves. */
export interface Subscriber {
  positions: LogPositions;
  leave: () => void;
}

/**
 * What is recorded, as it is recorded: each event is read once, however many wait for it, and given to all of them in the
 * order of its organization's sequence. The numbers are gapless in commit order, so reading on behind the last one
 * misses nothing. Commits of this process wake the reader, those of others announce themselves over Redis, and a look
 * at the heads every second finds what nobody announced.
 *
 * After a failover or a restore that lost commits numbers are given again. Every read therefore begins with the event at
 * the position itself: when it is another one, or a head lies below the position, all who follow that organization are
 * told so and get nothing more (docs/adr/0029-positions-across-timelines.md).
 */
@Injectable()
export class EventTailer implements BeforeApplicationShutdown {
  private readonly logger = new Logger('EventTailer');
  private readonly reads: RecordedReads;
  private readonly listeners = new Map<string, Set<EventListener>>();
  private readonly ofEverything = new Set<EventListener>();
  /** The last event that was given out, of each organization that is followed. The objects are never changed. */
  private readonly offsets: LogPositions = new Map();
  /** The head rows of these organizations as they were last looked at. */
  private readonly seenHeads = new Map<string, FollowedHead>();
  /** How often a log was found on another timeline: answers to what was asked before are of no use after. */
  private changes = 0;
  private readonly due = new Set<string>();
  private readonly unannounced = new Set<string>();
  private announcing: NodeJS.Timeout | undefined;
  private polling: NodeJS.Timeout | undefined;
  private isReading = false;
  private isPolling = false;
  private isSubscribed = false;
  private isAway = false;
  private readonly channel: string;

  constructor(
    database: Database,
    private readonly redis: RedisConnection,
    writer: AuditWriter,
    @Inject(cacheConfig.KEY) { keyPrefix }: ConfigType<typeof cacheConfig>,
    private readonly timeline: LogTimeline,
  ) {
    // The prefix of the cache keeps services that share a Redis apart.
    this.channel = `${keyPrefix}-events-recorded`;
    this.reads = new RecordedReads(database);
    writer.onCommit(({ organizations }) => {
      this.wake(organizations);
      this.announce(organizations);
    });
  }

  /**
   * Tells `listener` of every event of these organizations behind `positions`, which are those of now: no event that is
   * committed later has a lower number.
   * @throws AppError DATABASE_UNAVAILABLE.
   */
  async follow(organizations: Organizations, listener: EventListener): Promise<Subscriber> {
    this.subscribe();
    let last: LogPositions;
    let changes: number;
    do {
      ({ changes } = this);
      last = await this.reads.durably(organizations, () => this.lastPositionsOf(organizations));
    } while (changes !== this.changes);
    const ids = organizations === '*' ? [...last.keys()] : organizations;
    const positions: LogPositions = new Map();
    for (const id of ids) {
      const head = last.get(id) ?? BEGINNING;
      // Who follows everything is owed all of an organization that nobody has heard of before.
      if (this.ofEverything.size > 0 && !this.offsets.has(id)) {
        this.offsets.set(id, BEGINNING);
        this.due.add(id);
      }
      const given = this.isFollowed(id) ? (this.offsets.get(id) ?? BEGINNING) : undefined;
      if (given === undefined) this.startAt(id, head);
      // Somebody who asked later may have been answered sooner: what was given to him will not be given again.
      positions.set(id, given === undefined ? head : furthestOf(given, head));
    }
    if (organizations === '*') this.ofEverything.add(listener);
    else for (const id of organizations) this.listenersOf(id).add(listener);
    if (this.due.size > 0) this.readDue();
    this.polling ??= setInterval(() => this.poll(), POLL_MS).unref();
    return { positions, leave: () => this.unsubscribe(organizations, listener) };
  }

  /** The positions up to which events have been given out by now. */
  positionsOf(organizations: readonly string[]): LogPositions {
    return new Map(organizations.map((id) => [id, this.offsets.get(id) ?? BEGINNING]));
  }

  /**
   * Sees to it that positions that a reader has remembered are still of these logs.
   * @throws AppError TIMELINE_CHANGED, DATABASE_UNAVAILABLE.
   */
  async requireSameTimeline(positions: LogPositions): Promise<void> {
    const [foreign] = await this.reads.findForeign(positions);
    if (foreign === undefined) return;
    this.timeline.noteRefusedPosition();
    throw timelineChanged(foreign, positions.get(foreign)?.sequence ?? 0n);
  }

  private async lastPositionsOf(organizations: Organizations): Promise<LogPositions> {
    if (organizations !== '*' && organizations.length <= MAX_RESUMABLE_ORGANIZATIONS) {
      return this.reads.lastPositionsOf(organizations);
    }
    const { heads } = await this.reads.headsOf(organizations);
    return new Map([...heads].map(([id, { sequence }]) => [id, { sequence }]));
  }

  /** Begins to follow an organization. Which event its last one is the first read finds out, where that is not known. */
  private startAt(id: string, position: LogPosition): void {
    this.offsets.set(id, position);
    if (position.sequence > 0n && position.recordedMicros === undefined) this.due.add(id);
  }

  beforeApplicationShutdown(): void {
    clearInterval(this.polling);
    clearTimeout(this.announcing);
    this.due.clear();
  }

  private isFollowed(id: string): boolean {
    return this.offsets.has(id) && (this.ofEverything.size > 0 || this.listeners.has(id));
  }

  private listenersOf(id: string): Set<EventListener> {
    let found = this.listeners.get(id);
    if (!found) this.listeners.set(id, (found = new Set()));
    return found;
  }

  private unsubscribe(organizations: Organizations, listener: EventListener): void {
    if (organizations === '*') this.ofEverything.delete(listener);
    else {
      for (const id of organizations) {
        const found = this.listeners.get(id);
        found?.delete(listener);
        if (found?.size === 0) this.listeners.delete(id);
      }
    }
    for (const id of organizations === '*' ? [...this.offsets.keys()] : organizations) {
      if (this.ofEverything.size === 0 && !this.listeners.has(id)) this.forget(id);
    }
    if (this.offsets.size > 0 || this.ofEverything.size > 0) return;
    clearInterval(this.polling);
    this.polling = undefined;
  }

  private forget(id: string): void {
    this.offsets.delete(id);
    this.seenHeads.delete(id);
  }

  private wake(organizations: Iterable<string>): void {
    for (const id of organizations) {
      if (this.ofEverything.size > 0 && !this.offsets.has(id)) this.offsets.set(id, BEGINNING);
      if (this.offsets.has(id)) this.due.add(id);
    }
    if (this.due.size > 0) this.readDue();
  }

  /** Reads until nothing is due. What cannot be read now is tried again at the next look. */
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
      const after = this.takeDue(this.reads.maxOrganizations);
      if (after.size > 0) await this.readSome(after);
    }
  }

  /** What a failed read was to find is due again with the next look at the heads. */
  private async readSome(after: LogPositions): Promise<void> {
    try {
      const { events, unfinished, confirmed, foreign } = await this.reads.readBehind(after);
      for (const id of foreign) this.changeTimeline(id, after.get(id));
      for (const [id, recordedMicros] of confirmed) this.confirm(id, after.get(id), recordedMicros);
      for (const event of events) this.give(event, after.get(event.organizationId)?.sequence ?? 0n);
      for (const id of unfinished) if (this.offsets.has(id)) this.due.add(id);
    } catch (error) {
      for (const id of after.keys()) if (this.offsets.has(id)) this.due.add(id);
      throw error;
    }
  }

  /** Notes which event a position is at. */
  private confirm(id: string, position: LogPosition | undefined, recordedMicros: number): void {
    if (position === undefined || position.recordedMicros !== undefined) return;
    if (this.offsets.get(id) === position) this.offsets.set(id, { ...position, recordedMicros });
  }

  /** Up to `count` of what is due and somebody still follows, with the positions behind which it is to be read. */
  private takeDue(count: number): LogPositions {
    const after: LogPositions = new Map();
    for (const id of [...this.due].slice(0, count)) {
      this.due.delete(id);
      const place = this.offsets.get(id);
      if (place !== undefined) after.set(id, place);
    }
    return after;
  }

  /** Gives an event of a read behind `after` to all who follow. */
  private give(event: RecordedEvent, after: bigint): void {
    const { organizationId, sequence, recordedMicros } = event;
    const place = this.offsets.get(organizationId)?.sequence;
    if (place === undefined || sequence <= place) return; // nobody is there any more, or began again meanwhile
    if (place < after) {
      this.due.add(organizationId); // began again further back: what lies between has not been read
      return;
    }
    this.offsets.set(organizationId, { sequence, recordedMicros });
    for (const listener of this.listeners.get(organizationId) ?? []) listener.onEvent(event);
    for (const listener of this.ofEverything) listener.onEvent(event);
  }

  private poll(): void {
    if (this.isPolling || this.offsets.size + this.ofEverything.size === 0) return;
    this.isPolling = true;
    const organizations = this.ofEverything.size > 0 ? '*' : [...this.offsets.keys()];
    // Positions move on while the heads are on their way: only what was given out before cannot lie behind them.
    const before: LogPositions = new Map(this.offsets);
    const { changes } = this;
    this.reads
      .headsOf(organizations)
      .then(({ heads, isInRecovery }) => {
        // A standby that is not promoted yet may only lag behind.
        if (!isInRecovery && changes === this.changes) this.compareHeads(heads, before);
        this.wake([...heads].flatMap(([id, head]) => (this.isDue(id, head) ? [id] : [])));
      })
      .catch((error: unknown) => this.report(error))
      .finally(() => {
        this.isPolling = false;
      });
  }

  /** A head below what had been given out before it was asked for: its next numbers are given a second time. */
  private compareHeads(heads: ReadonlyMap<string, FollowedHead>, before: LogPositions): void {
    for (const [id, position] of before) {
      const sequence = heads.get(id)?.sequence ?? 0n;
      if (sequence < position.sequence) this.changeTimeline(id, position, sequence);
    }
  }

  /** Ends the feeds of an organization whose event at this position is not there any more. */
  private changeTimeline(id: string, position: LogPosition | undefined, head?: bigint): void {
    const place = this.offsets.get(id);
    // Begun again since: the position was another one's.
    if (!position || !place || place.sequence < position.sequence) return;
    this.forget(id);
    this.changes += 1;
    this.timeline.noteRewind(id, position.sequence, head);
    const error = timelineChanged(id, position.sequence);
    const listeners = [...(this.listeners.get(id) ?? []), ...this.ofEverything];
    this.listeners.delete(id);
    this.ofEverything.clear();
    for (const listener of listeners) listener.onTimelineChange(error);
  }

  /** Whether there is something to read: new events, or a head that moved without them, by retention or a lost commit. */
  private isDue(id: string, head: FollowedHead): boolean {
    const place = this.offsets.get(id);
    const seen = this.seenHeads.get(id);
    if (place) this.seenHeads.set(id, head);
    if (!place || head.sequence > place.sequence) return true;
    const isSame = head.sequence === place.sequence && seen?.sequence === head.sequence;
    return isSame && seen.micros !== head.micros;
  }

  private report(error: unknown): void {
    if (error === undefined) {
      if (this.isAway) this.logger.log('Events are read again for subscribers.');
      this.isAway = false;
    } else if (!this.isAway) {
      this.isAway = true;
      const reason = error instanceof Error ? error.message : 'unknown';
      this.logger.warn(`Events cannot be read for subscribers, who wait: ${reason}`);
    }
  }

  /** Tells other replicas; nobody waits for it, and what does not arrive is found by their next look. */
  private announce(organizations: Iterable<string>): void {
    if (!this.redis.isConfigured) return;
    for (const id of organizations) this.unannounced.add(id);
    this.announcing ??= setTimeout(() => {
      this.announcing = undefined;
      const message = JSON.stringify([...this.unannounced]);
      this.unannounced.clear();
      this.redis
        .attempt((client) => client.publish(this.channel, message))
        .catch((error: unknown) => this.report(error));
    }, ANNOUNCE_MS).unref();
  }

  private subscribe(): void {
    if (this.isSubscribed || !this.redis.isConfigured) return;
    this.isSubscribed = true;
    // It is made again by itself when Redis comes back.
    this.redis
      .subscribe(this.channel, (message) => {
        this.wake(organizationsIn(message));
      })
      .catch((error: unknown) => this.report(error));
  }
}
