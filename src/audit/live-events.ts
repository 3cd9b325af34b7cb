import { Inject, Injectable, Logger, type BeforeApplicationShutdown } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { Organizations } from '../auth/principal';
import { cacheConfig } from '../config/cache.config';
import { Database } from '../database/database';
import { RedisConnection } from '../redis/redis-connection';
import { AuditWriter } from './audit-writer';
import type { RecordedEvent } from './feed-event';
import type { FeedPlaces } from './feed-cursor';
import { RecordedReads } from './recorded-reads';

/** The organizations of an announcement; none, if it is not one: anybody who can reach Redis can send messages. */
function organizationsIn(message: string): string[] {
  try {
    const named: unknown = JSON.parse(message);
    return Array.isArray(named) ? named.filter((id) => typeof id === 'string') : [];
  } catch {
    return [];
  }
}

/** Heads are looked at so often in any case: what no other replica announced, for want of Redis, is found by then. */
const POLL_MS = 1000;
/** Announcements of commits within so long go together. */
const ANNOUNCE_MS = 10;
export type EventListener = (event: RecordedEvent) => void;

/** Somebody who is told of each event behind `places`, until he leaves. */
export interface Following {
  places: FeedPlaces;
  leave: () => void;
}

/**
 * What is recorded, as it is recorded: each event is read once, however many wait for it, and given to all of them in the
 * order of its organization's sequence. The numbers are gapless in commit order, so reading on behind the last one
 * misses nothing. Commits of this process wake the reader, those of others announce themselves over Redis, and a look
 * at the heads every second finds what nobody announced.
 */
@Injectable()
export class LiveEvents implements BeforeApplicationShutdown {
  private readonly logger = new Logger('LiveEvents');
  private readonly reads: RecordedReads;
  private readonly listeners = new Map<string, Set<EventListener>>();
  private readonly ofEverything = new Set<EventListener>();
  /** The last number that was given out, of each organization that somebody follows. */
  private readonly places: FeedPlaces = new Map();
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
   * Tells `listener` of every event of these organizations with a number above `places`, which are those of now: no
   * event that is committed later has a lower one.
   * @throws AppError DATABASE_UNAVAILABLE.
   */
  async follow(organizations: Organizations, listener: EventListener): Promise<Following> {
    this.subscribe();
    const heads = await this.reads.durableHeadsOf(organizations);
    const ids = organizations === '*' ? [...heads.keys()] : organizations;
    const places: FeedPlaces = new Map();
    for (const id of ids) {
      const head = heads.get(id) ?? 0n;
      // Who follows everything is owed all of an organization that nobody has heard of before.
      if (this.ofEverything.size > 0 && !this.places.has(id)) {
        this.places.set(id, 0n);
        this.due.add(id);
      }
      const given = this.isFollowed(id) ? (this.places.get(id) ?? 0n) : undefined;
      if (given === undefined) this.places.set(id, head);
      // Somebody who asked later may have been answered sooner: what was given to him will not be given again.
      places.set(id, given !== undefined && given > head ? given : head);
    }
    if (organizations === '*') this.ofEverything.add(listener);
    else for (const id of organizations) this.listenersOf(id).add(listener);
    if (this.due.size > 0) this.readDue();
    this.polling ??= setInterval(() => this.poll(), POLL_MS).unref();
    return { places, leave: () => this.leave(organizations, listener) };
  }

  /** The numbers up to which events have been given out by now. */
  placesOf(organizations: readonly string[]): FeedPlaces {
    return new Map(organizations.map((id) => [id, this.places.get(id) ?? 0n]));
  }

  beforeApplicationShutdown(): void {
    clearInterval(this.polling);
    clearTimeout(this.announcing);
    this.due.clear();
  }

  private isFollowed(id: string): boolean {
    return this.places.has(id) && (this.ofEverything.size > 0 || this.listeners.has(id));
  }

  private listenersOf(id: string): Set<EventListener> {
    let found = this.listeners.get(id);
    if (!found) this.listeners.set(id, (found = new Set()));
    return found;
  }

  private leave(organizations: Organizations, listener: EventListener): void {
    if (organizations === '*') this.ofEverything.delete(listener);
    else {
      for (const id of organizations) {
        const found = this.listeners.get(id);
        found?.delete(listener);
        if (found?.size === 0) this.listeners.delete(id);
      }
    }
    for (const id of organizations === '*' ? [...this.places.keys()] : organizations) {
      if (this.ofEverything.size === 0 && !this.listeners.has(id)) this.places.delete(id);
    }
    if (this.places.size > 0 || this.ofEverything.size > 0) return;
    clearInterval(this.polling);
    this.polling = undefined;
  }

  private wake(organizations: Iterable<string>): void {
    for (const id of organizations) {
      if (this.ofEverything.size > 0 && !this.places.has(id)) this.places.set(id, 0n);
      if (this.places.has(id)) this.due.add(id);
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
      if (after.size === 0) continue;
      const { events, unfinished } = await this.reads.readBehind(after);
      for (const event of events) this.give(event, after.get(event.organizationId) ?? 0n);
      for (const id of unfinished) if (this.places.has(id)) this.due.add(id);
    }
  }

  /** Up to `count` of what is due and somebody still follows, with the numbers behind which it is to be read. */
  private takeDue(count: number): FeedPlaces {
    const after: FeedPlaces = new Map();
    for (const id of [...this.due].slice(0, count)) {
      this.due.delete(id);
      const place = this.places.get(id);
      if (place !== undefined) after.set(id, place);
    }
    return after;
  }

  /** Gives an event of a read behind `after` to all who follow. */
  private give(event: RecordedEvent, after: bigint): void {
    const { organizationId, sequence } = event;
    const place = this.places.get(organizationId);
    if (place === undefined || sequence <= place) return; // nobody is there any more, or began again meanwhile
    if (place < after) {
      this.due.add(organizationId); // began again further back: what lies between has not been read
      return;
    }
    this.places.set(organizationId, sequence);
    for (const listener of this.listeners.get(organizationId) ?? []) listener(event);
    for (const listener of this.ofEverything) listener(event);
  }

  private poll(): void {
    if (this.isPolling || this.places.size + this.ofEverything.size === 0) return;
    this.isPolling = true;
    const organizations = this.ofEverything.size > 0 ? '*' : [...this.places.keys()];
    // Places move on while the heads are on their way: only what was given out before cannot lie behind them.
    const before: FeedPlaces = new Map(this.places);
    this.reads
      .headsOf(organizations)
      .then((heads) => {
        for (const [id, head] of heads) this.noteLoss(id, head, before.get(id));
        this.wake([...heads].flatMap(([id, head]) => (this.isBehind(id, head) ? [id] : [])));
      })
      .catch((error: unknown) => this.report(error))
      .finally(() => {
        this.isPolling = false;
      });
  }

  /** A head that lies below what had been given out `before` it was asked for: the next numbers come a second time. */
  private noteLoss(id: string, head: bigint, before: bigint | undefined): void {
    if (before === undefined || head >= before || !this.places.has(id)) return;
    this.logger.warn(
      `The numbers of an organization went back from ${before} to ${head}: the database has lost commits.`,
    );
    this.places.set(id, head);
  }

  private isBehind(id: string, head: bigint): boolean {
    return head > (this.places.get(id) ?? 0n);
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
