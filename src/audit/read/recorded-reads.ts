import type { Organizations } from '../../auth/principal';
import type { Database } from '../../platform/database/database';
import type { DedicatedPool } from '../../platform/database/dedicated-pool';
import { isTooLarge } from './audit-pages';
import { countedTypes } from './audit.queries';
import { MAX_BUFFERED_CHARACTERS, MAX_BUFFERED_EVENTS } from '../feed/feed-buffer';
import { recordedEventOf, type RecordedEvent } from '../feed/feed-event';
import { FIND_EVERY_HEAD, FIND_FOLLOWED_HEADS, FIND_RECORDED } from '../feed/feed.statements';
import {
  findForeignPositions,
  findLastPositions,
  type LogPositions,
  notYetPrimary,
} from './log-position';

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
  /** When the events at the positions behind which was read were recorded, of those that are still there. */
  confirmed: ReadonlyMap<string, number>;
  /** Organizations whose log is not the one that their position was taken from; none of their events are among `events`. */
  foreign: string[];
}

const NOTHING_READ: RecordedRead = {
  events: [],
  unfinished: [],
  confirmed: new Map(),
  foreign: [],
};

/** The head row of an organization. */
export interface FollowedHead {
  sequence: bigint;
  /** When it moved last: microseconds since 1970, 0 when that is not known. */
  micros: number;
}

/** What a read found at one organization's position. */
interface Found {
  texts: string[];
  confirmed: Map<string, number>;
}

/** Reads what is recorded for those who follow it, from the primary and beside the large pool. */
export class RecordedReads {
  private readonly pool: DedicatedPool;
  /** Events that the next read may bring: fewer where they are large. */
  private maxEvents = MAX_EVENTS;

  constructor(private readonly database: Database) {
    this.pool = database.dedicatedPool('feed', POOL);
  }

  /** Organizations that the next read may look at. */
  get maxOrganizations(): number {
    return Math.min(MAX_ORGANIZATIONS, this.maxEvents);
  }

  /**
   * Some of the events behind these positions: none, and fewer of them next time, when they are too large together. Those
   * of organizations in doubt (Durability) are left for a later read.
   * @throws AppError DATABASE_UNAVAILABLE, REQUEST_TIMEOUT.
   */
  async readBehind(positions: LogPositions): Promise<RecordedRead> {
    const { durability } = this.database;
    const durable: LogPositions = new Map(
      [...positions].filter(([id]) => !durability.isInDoubt([id])),
    );
    if (durable.size === 0) return NOTHING_READ;
    const { events, unfinished, ...rest } = await this.readDurable(durable);
    const isShown = (id: string) => !durability.isInDoubt([id]); // which it was when the read began
    return {
      ...rest,
      events: events.filter(({ organizationId }) => isShown(organizationId)),
      unfinished: unfinished.filter(isShown),
    };
  }

  private async readDurable(positions: LogPositions): Promise<RecordedRead> {
    const limit = Math.min(MAX_EVENTS_OF_ONE, Math.floor(this.maxEvents / positions.size));
    try {
      const { texts, confirmed } = await this.find(positions, limit);
      const characters = texts.reduce((sum, { length }) => sum + length, 0);
      if (characters <= MAX_CHARACTERS / 2) {
        this.maxEvents = Math.min(MAX_EVENTS, 2 * this.maxEvents);
      }
      const events = texts.map(recordedEventOf);
      const unfinished = fullIn(events, limit);
      const doubtful = doubtfulOf(positions, confirmed);
      if (doubtful.size === 0) return { events, unfinished, confirmed, foreign: [] };
      const foreign = await this.findForeign(doubtful);
      // Another event there first and the right one now: another server answered. What it gave is read again.
      const again = [...doubtful.keys()].filter((id) => confirmed.has(id) && !foreign.includes(id));
      const left = new Set([...foreign, ...again]);
      return {
        events: events.filter(({ organizationId }) => !left.has(organizationId)),
        unfinished: [...unfinished, ...again],
        confirmed,
        foreign,
      };
    } catch (error) {
      this.maxEvents = Math.ceil(this.maxEvents / 2); // perhaps they are too many to arrive in time
      if (!isTooLarge(error)) throw error;
      return { events: [], unfinished: [...positions.keys()], confirmed: new Map(), foreign: [] };
    }
  }

  /**
   * Runs a read of these organizations so that it shows nothing that a failover may lose.
   * @throws AppError DATABASE_UNAVAILABLE while they are in doubt (Durability); what `work` throws.
   */
  durably<T>(organizations: Organizations, work: () => Promise<T>): Promise<T> {
    return this.database.durability.reading(organizations, work);
  }

  /**
   * The organizations whose log is not the one that these positions were taken from.
   * @throws AppError DATABASE_UNAVAILABLE, also when a server says so that has not been promoted yet.
   */
  async findForeign(positions: LogPositions): Promise<string[]> {
    return this.pool.withClient(async (client) => {
      const { organizations, isInRecovery } = await findForeignPositions(client, positions);
      if (organizations.length > 0 && isInRecovery) throw notYetPrimary();
      return organizations;
    });
  }

  /** The last positions of these organizations with the identity of their events. @throws AppError DATABASE_UNAVAILABLE. */
  lastPositionsOf(organizations: readonly string[]): Promise<LogPositions> {
    return this.pool.withClient((client) => findLastPositions(client, organizations));
  }

  /**
   * The heads of these organizations, and whether the server replays the log of another one, behind which it may lag;
   * of all organizations, of those that have any events.
   * @throws AppError DATABASE_UNAVAILABLE.
   */
  async headsOf(
    organizations: Organizations,
  ): Promise<{ heads: Map<string, FollowedHead>; isInRecovery: boolean }> {
    const statement =
      organizations === '*' ? FIND_EVERY_HEAD : { ...FIND_FOLLOWED_HEADS, values: [organizations] };
    return this.pool.withClient(async (client) => {
      const { rows } = await client.query<[string, string, string, boolean]>({
        ...statement,
        rowMode: 'array',
      });
      const heads = new Map(
        rows.map(([id, sequence, micros]) => [
          id,
          { sequence: BigInt(sequence), micros: Number(micros) },
        ]),
      );
      return { heads, isInRecovery: rows[0]?.[3] ?? false };
    });
  }

  private find(positions: LogPositions, limit: number): Promise<Found> {
    const isOne = this.maxEvents === 1; // which comes whatever its size
    const numbers = [...positions.values()].map(({ sequence }) => String(sequence));
    return this.pool.withClient(async (client) => {
      const { rows } = await client.query<[string | null, string, string]>({
        ...FIND_RECORDED,
        values: [[...positions.keys()], numbers, limit],
        rowMode: 'array',
        types: countedTypes(isOne ? {} : { maxBytes: MAX_CHARACTERS }),
      });
      const found: Found = { texts: [], confirmed: new Map() };
      for (const [text, organizationId, micros] of rows) {
        if (text === null) found.confirmed.set(organizationId, Number(micros));
        else found.texts.push(text);
      }
      return found;
    });
  }
}

/** The positions whose own event was not found where it was, or is another one: retention may have removed it. */
function doubtfulOf(positions: LogPositions, confirmed: ReadonlyMap<string, number>): LogPositions {
  const doubtful: LogPositions = new Map();
  for (const [id, position] of positions) {
    const micros = confirmed.get(id);
    const isFound = micros !== undefined && micros === (position.recordedMicros ?? micros);
    if (position.sequence > 0n && !isFound) doubtful.set(id, position);
  }
  return doubtful;
}

/** The organizations of which there are as many events as were asked for. */
function fullIn(events: RecordedEvent[], limit: number): string[] {
  const counts = new Map<string, number>();
  for (const { organizationId } of events) {
    counts.set(organizationId, (counts.get(organizationId) ?? 0) + 1);
  }
  return [...counts].flatMap(([id, count]) => (count >= limit ? [id] : []));
}
