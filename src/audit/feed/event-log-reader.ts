import type { Organizations } from '../../auth/principal';
import type { DedicatedPool } from '../../platform/database/dedicated-pool';
import type { Database } from '../../platform/database/database';
import { EVENT_JSON } from '../event/audit.statements';
import { countedTypes, isTooLarge } from '../read/audit.queries';
import {
  findForeignPositions,
  findLastPositions,
  type ForeignPosition,
  type LogPositions,
  microsOf,
  notYetPrimary,
} from '../read/position';
import { MAX_BUFFERED_CHARACTERS, MAX_BUFFERED_EVENTS } from './feed-buffer';
import { type RecordedEvent, recordedEventOf } from '../event/event-test';
import { findReachedAt, type ReachedSequence } from './log-at-moment';
import type { ClockSample } from './watermark';

/**
 * Finds the next events of organizations ($1) after these sequences ($2), at most $3 of each, in order. The event at the
 * sequence itself comes first, without text: its recording time identifies it.
 */
export const FIND_RECORDED = {
  name: 'audit-find-recorded-behind',
  text: `SELECT e.json, CASE WHEN e.json IS NULL THEN t.organization_id END, CASE WHEN e.json IS NULL THEN (${microsOf('e')})::text END
         FROM unnest($1::text[], $2::bigint[]) AS t (organization_id, after)
         CROSS JOIN LATERAL (
           SELECT CASE WHEN e.sequence > t.after THEN ${EVENT_JSON} END AS json, e.sequence, e.recorded_at
           FROM audit_event e
           WHERE e.organization_id = t.organization_id COLLATE "C" AND e.sequence >= t.after
           ORDER BY e.sequence LIMIT $3 + 1
         ) e
         ORDER BY t.organization_id, e.sequence`,
};

const HEADS = `SELECT organization_id, last_sequence::text, (${microsOf('audit_organization')})::text, pg_is_in_recovery()
         FROM audit_organization`;

const FIND_FOLLOWED_HEADS = {
  name: 'audit-find-followed-heads',
  text: `${HEADS} WHERE organization_id = ANY($1::text[])`,
};

const FIND_EVERY_HEAD = { name: 'audit-find-every-head', text: HEADS };

/** Reads the clock, and then a snapshot: its oldest running transaction, and the next one. */
const FIND_CLOCK_SAMPLE = {
  name: 'audit-find-clock-sample',
  text: `SELECT (extract(epoch FROM now()) * 1000000)::bigint::text, pg_snapshot_xmin(s)::text, pg_snapshot_xmax(s)::text
         FROM pg_current_snapshot() AS s`,
};

const MAX_ORGANIZATIONS = 200;
const MAX_EVENTS_OF_ONE = 200;
/** Limit of events in a read: subscribers get them all at once, and more would overflow the buffers of fast ones. */
const MAX_EVENTS = MAX_BUFFERED_EVENTS / 2;
const MAX_CHARACTERS = MAX_BUFFERED_CHARACTERS / 2;
const POOL = { max: 2, timeoutMs: 5000 };

export interface RecordedRead {
  /** Events of each organization are ordered by sequence. */
  events: RecordedEvent[];
  unfinished: string[];
  /** Recording times of the events at the given positions that still exist. */
  confirmed: ReadonlyMap<string, number>;
  /** Positions of another log; `events` has none of their organizations. */
  foreign: ForeignPosition[];
}

const NOTHING_READ: RecordedRead = {
  events: [],
  unfinished: [],
  confirmed: new Map(),
  foreign: [],
};

export interface FollowedHead {
  sequence: bigint;
  micros: number;
}

/** Sums of the sequences of organizations at a moment (ReachedSequence). */
export interface ReachedLogs {
  low: bigint;
  high: bigint;
  changed: ReadonlyMap<string, ReachedSequence>;
}

interface Found {
  texts: string[];
  confirmed: Map<string, number>;
}

/** Reads new events and heads from the primary, through a separate pool. */
export class EventLogReader {
  private readonly pool: DedicatedPool;
  private maxEvents = MAX_EVENTS;

  constructor(private readonly database: Database) {
    this.pool = database.dedicatedPool('feed', POOL);
  }

  get maxOrganizations(): number {
    return Math.min(MAX_ORGANIZATIONS, this.maxEvents);
  }

  /**
   * Reads some events after these positions, without those of unconfirmed commits (UnconfirmedCommits). When they are too
   * large together it reads none, and the next read has fewer.
   * @throws AppError DATABASE_UNAVAILABLE, REQUEST_TIMEOUT.
   */
  async readAfter(positions: LogPositions): Promise<RecordedRead> {
    const { unconfirmedCommits } = this.database;
    const durable: LogPositions = new Map(
      [...positions].filter(([id]) => !unconfirmedCommits.affect([id])),
    );
    if (durable.size === 0) return NOTHING_READ;
    const { events, unfinished, ...rest } = await this.readDurable(durable);
    const isShown = (id: string) => !unconfirmedCommits.affect([id]); // as it was when the read began
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
      const doubtful = unconfirmedOf(positions, confirmed);
      if (doubtful.size === 0) return { events, unfinished, confirmed, foreign: [] };
      const foreign = await this.findForeign(doubtful);
      // The events came from another server than this right one, and are read again.
      const lost = new Set(foreign.map(({ organizationId }) => organizationId));
      const again = [...doubtful.keys()].filter((id) => confirmed.has(id) && !lost.has(id));
      const left = new Set([...lost, ...again]);
      return {
        events: events.filter(({ organizationId }) => !left.has(organizationId)),
        unfinished: [...unfinished, ...again],
        confirmed,
        foreign,
      };
    } catch (error) {
      this.maxEvents = Math.ceil(this.maxEvents / 2); // fewer may arrive in time
      if (!isTooLarge(error)) throw error;
      return { ...NOTHING_READ, unfinished: [...positions.keys()] };
    }
  }

  /**
   * Runs a read without events that a failover may lose.
   * @throws AppError DATABASE_UNAVAILABLE while commits are unconfirmed (UnconfirmedCommits); errors of `work`.
   */
  durably<T>(organizations: Organizations, work: () => Promise<T>): Promise<T> {
    return this.database.unconfirmedCommits.readConfirmed(organizations, work);
  }

  /**
   * Finds the positions that are not of these organizations' log.
   * @throws AppError DATABASE_UNAVAILABLE, also when a standby finds some.
   */
  async findForeign(positions: LogPositions): Promise<ForeignPosition[]> {
    return this.pool.withClient(async (client) => {
      const found = await findForeignPositions(client, positions);
      if (found.positions.length > 0 && found.isInRecovery) throw notYetPrimary();
      return found.positions;
    });
  }

  /** Reads the last positions, with the identity of their events. @throws AppError DATABASE_UNAVAILABLE. */
  lastPositionsOf(organizations: readonly string[]): Promise<LogPositions> {
    return this.pool.withClient((client) => findLastPositions(client, organizations));
  }

  /**
   * Reads the heads of these organizations, or of all with events; `isInRecovery`: the server may lag.
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

  /** @throws AppError DATABASE_UNAVAILABLE. */
  sampleClock(): Promise<ClockSample> {
    return this.pool.withClient(async (client) => {
      const { rows } = await client.query<[string, string, string]>({
        ...FIND_CLOCK_SAMPLE,
        rowMode: 'array',
      });
      const [micros, oldest, next] = rows[0] ?? ['0', '0', '0'];
      return { micros: Number(micros), oldest: BigInt(oldest), next: BigInt(next) };
    });
  }

  /**
   * Finds the sequences of these organizations at a moment: their sum, and each of the organizations with later events.
   * @throws AppError DATABASE_UNAVAILABLE, also for a standby.
   */
  async reachedAt(organizations: Organizations, micros: number): Promise<ReachedLogs> {
    const { heads, isInRecovery } = await this.headsOf(organizations);
    if (isInRecovery) throw notYetPrimary();
    const later = [...heads].filter(([, head]) => head.micros > micros);
    const unchanged = [...heads.values()].filter((head) => head.micros <= micros);
    const rest = unchanged.reduce((sum, { sequence }) => sum + sequence, 0n);
    const sought = new Map(later.map(([id, { sequence }]) => [id, sequence]));
    const changed = await this.pool.withClient((client) => findReachedAt(client, sought, micros));
    const found = [...changed.values()];
    return {
      low: found.reduce((sum, { low }) => sum + low, rest),
      high: found.reduce((sum, { high }) => sum + high, rest),
      changed,
    };
  }

  private find(positions: LogPositions, limit: number): Promise<Found> {
    const isOne = this.maxEvents === 1; // an event of any size is read
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

/** Finds positions whose event is another one, or missing: retention may have removed it. */
function unconfirmedOf(
  positions: LogPositions,
  confirmed: ReadonlyMap<string, number>,
): LogPositions {
  const doubtful: LogPositions = new Map();
  for (const [id, position] of positions) {
    const micros = confirmed.get(id);
    const isFound = micros !== undefined && micros === (position.recordedMicros ?? micros);
    if (position.sequence > 0n && !isFound) doubtful.set(id, position);
  }
  return doubtful;
}

function fullIn(events: RecordedEvent[], limit: number): string[] {
  const counts = new Map<string, number>();
  for (const { organizationId } of events) {
    counts.set(organizationId, (counts.get(organizationId) ?? 0) + 1);
  }
  return [...counts].flatMap(([id, count]) => (count >= limit ? [id] : []));
}
