import type { Organizations } from '../auth/principal';
import type { Database } from '../database/database';
import type { SidePool } from '../database/side-pool';
import { isTooLarge } from './audit-pages';
import { countedTypes } from './audit.queries';
import { MAX_BUFFERED_CHARACTERS, MAX_BUFFERED_EVENTS } from './feed-buffer';
import type { FeedPlaces } from './feed-cursor';
import { recordedEventOf, type RecordedEvent } from './feed-event';
import { FIND_EVERY_HEAD, FIND_FOLLOWED_HEADS, FIND_RECORDED } from './feed.statements';

/** Of one read: the next one brings the others. */
const MAX_ORGANIZATIONS = 200;
const MAX_EVENTS_OF_ONE = 200;
/** What one read may bring: every subscriber is given all of it at once, and more would cut those that keep up. */
const MAX_EVENTS = MAX_BUFFERED_EVENTS / 2;
const MAX_CHARACTERS = MAX_BUFFERED_CHARACTERS / 2;
const POOL = { max: 2, timeoutMs: 5000 };

/** What a read brought. */
export interface RecordedRead {
  /** In the order of each organization's sequence. */
  events: RecordedEvent[];
  /** Organizations that may have more. */
  unfinished: string[];
}

/** Reads what is recorded for those who follow it, from the primary and beside the large pool. */
export class RecordedReads {
  private readonly pool: SidePool;
  /** Events that the next read may bring: fewer where they are large. */
  private maxEvents = MAX_EVENTS;

  constructor(private readonly database: Database) {
    this.pool = database.sidePool('feed', POOL);
  }

  /** Organizations that the next read may look at. */
  get maxOrganizations(): number {
    return Math.min(MAX_ORGANIZATIONS, this.maxEvents);
  }

  /**
   * Some of the events behind these places: none, and fewer of them next time, when they are too large together. Those of
   * organizations in doubt (Durability) are left for a later read.
   * @throws AppError DATABASE_UNAVAILABLE, REQUEST_TIMEOUT.
   */
  async readBehind(places: FeedPlaces): Promise<RecordedRead> {
    const { durability } = this.database;
    const durable: FeedPlaces = new Map([...places].filter(([id]) => !durability.isInDoubt([id])));
    if (durable.size === 0) return { events: [], unfinished: [] };
    const { events, unfinished } = await this.readDurable(durable);
    const isShown = (id: string) => !durability.isInDoubt([id]); // which it was when the read began
    return {
      events: events.filter(({ organizationId }) => isShown(organizationId)),
      unfinished: unfinished.filter(isShown),
    };
  }

  private async readDurable(places: FeedPlaces): Promise<RecordedRead> {
    const limit = Math.min(MAX_EVENTS_OF_ONE, Math.floor(this.maxEvents / places.size));
    try {
      const texts = await this.find(places, limit);
      const characters = texts.reduce((sum, { length }) => sum + length, 0);
      if (characters <= MAX_CHARACTERS / 2) {
        this.maxEvents = Math.min(MAX_EVENTS, 2 * this.maxEvents);
      }
      const events = texts.map(recordedEventOf);
      return { events, unfinished: fullIn(events, limit) };
    } catch (error) {
      this.maxEvents = Math.ceil(this.maxEvents / 2); // perhaps they are too many to arrive in time
      if (!isTooLarge(error)) throw error;
      return { events: [], unfinished: [...places.keys()] };
    }
  }

  /** Like `headsOf`, but for numbers that a failover may lose. @throws AppError DATABASE_UNAVAILABLE, also while there are some. */
  durableHeadsOf(organizations: Organizations): Promise<FeedPlaces> {
    return this.database.durability.reading(organizations, () => this.headsOf(organizations));
  }

  /** The last numbers of these organizations; of all, of those that have any. @throws AppError DATABASE_UNAVAILABLE. */
  async headsOf(organizations: Organizations): Promise<FeedPlaces> {
    const statement =
      organizations === '*' ? FIND_EVERY_HEAD : { ...FIND_FOLLOWED_HEADS, values: [organizations] };
    return this.pool.withClient(async (client) => {
      const { rows } = await client.query<[string, string]>({ ...statement, rowMode: 'array' });
      return new Map(rows.map(([id, sequence]) => [id, BigInt(sequence)]));
    });
  }

  private find(places: FeedPlaces, limit: number): Promise<string[]> {
    const isOne = this.maxEvents === 1; // which comes whatever its size
    return this.pool.withClient(async (client) => {
      const { rows } = await client.query<[string]>({
        ...FIND_RECORDED,
        values: [[...places.keys()], [...places.values()].map(String), limit],
        rowMode: 'array',
        types: countedTypes(isOne ? {} : { maxBytes: MAX_CHARACTERS }),
      });
      return rows.map(([text]) => text);
    });
  }
}

/** The organizations of which there are as many events as were asked for. */
function fullIn(events: RecordedEvent[], limit: number): string[] {
  const counts = new Map<string, number>();
  for (const { organizationId } of events) {
    counts.set(organizationId, (counts.get(organizationId) ?? 0) + 1);
  }
  return [...counts].flatMap(([id, count]) => (count === limit ? [id] : []));
}
