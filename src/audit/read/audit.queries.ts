import { Injectable } from '@nestjs/common';
import type { CustomTypesConfig, PoolClient } from 'pg';
import type { Organizations } from '../../auth/principal';
import type { ResponseReservation } from '../../http/response-memory';
import { TOTAL_EXACT_UP_TO } from '../../pagination/page';
import { Database } from '../../platform/database/database';
import { AppError } from '../../platform/errors/app-error';
import { EVENT_JSON, instantText } from '../event/audit.statements';
import { LogTimeline } from '../event/log-timeline';
import { millisecondOf } from '../event/uuid7';
import { countStatement, type PageRequest, pageStatement, type Statement } from './page-statement';
import { PageWindows } from './page-windows';
import {
  BEGINNING,
  findForeignPositions,
  findStoredLogs,
  type ForeignPositions,
  type LogPosition,
  logPositionOf,
  type LogPositions,
  NOTHING_FOREIGN,
  notYetPrimary,
  type Position,
  positionOf,
  timelineChanged,
} from './position';
import { TenantVersions } from './tenant-versions';

/** Bytes of a page that stays in memory until its reader takes it (streams, backfills). */
export const HELD_PAGE_BYTES = 2 * 1024 * 1024;

/** Divisor of a page's limit after it was too large: PostgreSQL has sent all of it by then. */
export const TOO_LARGE_DIVISOR = 8;

/** Shorter texts are counted by characters: their bytes are at most three times as many. */
const SHORT_TEXT = 1024;

export interface TextLimits {
  /** Bytes in UTF-8. */
  maxBytes?: number;
  reservation?: ResponseReservation;
}

/** A page of a list in the order of recording: ascending by sequence, of named organizations. */
export interface LogPageRequest extends Pick<PageRequest, 'filter' | 'limit' | 'offset'> {
  organizations: readonly string[];
  /** Without positions the page begins at the beginning of the list. */
  from?: LogPositions | undefined;
  /** The events up to and with `from`, instead of those after it. */
  backward: boolean;
}

/**
 * Events in the list's order, and the positions of all organizations at the two ends of the page: what is after
 * `after` has not been in it, nor in pages before it. An end is absent where the list has none, or nothing to go on from.
 */
export interface LogPage {
  texts: string[];
  isMore: boolean;
  before?: LogPositions | undefined;
  after: LogPositions;
}

/** Reads events as PostgreSQL's JSON text (EVENT_JSON). An aborting signal cancels the statement. */
@Injectable()
export class AuditQueries {
  private readonly windows = new PageWindows();

  constructor(
    private readonly database: Database,
    private readonly versions: TenantVersions,
    private readonly timeline: LogTimeline,
  ) {}

  /**
   * Reads the next `limit` events of a list in its order.
   * @throws AppError REQUEST_TOO_LARGE beyond `limits.maxBytes`; what `limits.reservation` throws as it grows;
   * TIMELINE_CHANGED when a list by sequence starts after an event that is another one now, or is missing.
   */
  async findPage(
    request: PageRequest,
    signal?: AbortSignal,
    limits: TextLimits = {},
  ): Promise<string[]> {
    if (request.organizations.length === 0) return [];
    const work = async (client: PoolClient) => {
      const page = this.readPage(client, request, limits);
      // Same connection and round trip, after the page: a position that holds then held for the page.
      const foreign = findForeign(client, request);
      foreign.catch(() => undefined); // awaited below, unless the page has failed
      return { found: await page, foreign: await foreign };
    };
    const { found } = await this.readChecked(request.organizations, signal, work);
    this.windows.learn(request, found);
    return found;
  }

  /**
   * Reads a page in the order of recording. The heads are read before the events: every event up to them is in the
   * page, in pages before it, or excluded by the filter.
   * @throws AppError as findPage.
   */
  async findLogPage(
    request: LogPageRequest,
    signal?: AbortSignal,
    limits: TextLimits = {},
  ): Promise<LogPage> {
    const { organizations, filter, from, backward, limit, offset } = request;
    const page: PageRequest = {
      organizations,
      filter,
      offset,
      sort: { field: 'sequence', direction: backward ? 'desc' : 'asc' },
      positions: from,
      limit: limit + 1, // one more shows whether there is a next page
    };
    const work = async (client: PoolClient) => {
      const reading = [
        findHeads(client, organizations),
        this.readPage(client, page, limits),
        findForeign(client, page),
      ] as const;
      for (const one of reading) one.catch(() => undefined); // awaited below, unless another has failed
      const [heads, found, foreign] = [await reading[0], await reading[1], await reading[2]];
      const texts = found.slice(0, limit);
      if (backward) texts.reverse();
      const isMore = found.length > limit;
      const ends = await findEnds(client, request, { texts, isMore, heads });
      return { texts, isMore, ...ends, foreign };
    };
    return this.readChecked(organizations, signal, work);
  }

  /** A read that starts after positions. A replica may lag: only the primary refuses one. */
  private async readChecked<T extends { foreign: ForeignPositions }>(
    organizations: Organizations,
    signal: AbortSignal | undefined,
    work: (client: PoolClient) => Promise<T>,
  ): Promise<T> {
    let read = await this.read(organizations, signal, work);
    if (read.foreign.positions.length > 0) {
      read = await this.database.durability.reading(organizations, () =>
        this.database.withClient(work, signal),
      );
    }
    this.requireNotForeign(read.foreign);
    return read;
  }

  private async readPage(
    client: PoolClient,
    request: PageRequest,
    limits: TextLimits,
  ): Promise<string[]> {
    const found: string[] = [];
    const types = countedTypes(limits);
    for (const window of this.windows.of(request)) {
      const limit = request.limit - found.length;
      const statement = pageStatement({ ...request, ...window, limit });
      found.push(...(await rowsOf(client, { ...statement, types })));
      if (found.length === request.limit) break;
    }
    return found;
  }

  /**
   * Checks in a reader's own snapshot that a list by sequence starts after the event that `client` sees there.
   * @throws AppError TIMELINE_CHANGED; DATABASE_UNAVAILABLE on a server that has not been promoted.
   */
  async requireSameTimeline(
    client: PoolClient,
    list: Pick<PageRequest, 'sort' | 'after' | 'positions'>,
  ): Promise<void> {
    this.requireNotForeign(await findForeign(client, list));
  }

  private requireNotForeign({ positions: [first], isInRecovery }: ForeignPositions): void {
    if (!first) return;
    if (isInRecovery) throw notYetPrimary();
    this.timeline.noteRefusedPosition();
    throw timelineChanged(first);
  }

  /** Counts the events of a list, up to TOTAL_EXACT_UP_TO + 1, which stands for "more". */
  async count(
    request: Omit<PageRequest, 'limit' | 'offset' | 'after'>,
    signal?: AbortSignal,
  ): Promise<number> {
    if (request.organizations.length === 0) return 0;
    return this.read(request.organizations, signal, async (client) => {
      const result = await client.query<[number]>({ ...countStatement(request), rowMode: 'array' });
      return Math.min(result.rows[0]?.[0] ?? 0, TOTAL_EXACT_UP_TO + 1);
    });
  }

  /** Finds one event by id. @throws AppError CONFLICT when several of the organizations have one. */
  async findById(
    organizations: Organizations,
    id: string,
    signal?: AbortSignal,
  ): Promise<string | undefined> {
    if (organizations.length === 0) return undefined;
    return this.read(organizations, signal, (client) => findEvent(client, organizations, id));
  }

  /** Positions of events with this id and timestamp, one per organization, from the primary, as exports read it. */
  async findPositions(
    organizations: Organizations,
    named: Pick<Position, 'id' | 'timestamp'> & { organizationId: string | undefined },
    signal?: AbortSignal,
  ): Promise<Position[]> {
    const { id, timestamp, organizationId } = named;
    const visible =
      organizationId === undefined
        ? organizations
        : organizations === '*' || organizations.includes(organizationId)
          ? [organizationId]
          : [];
    const all = visible === '*';
    const find = (client: PoolClient) =>
      client.query<Pick<Position, 'sequence' | 'organizationId' | 'recordedAt'>>({
        text: `SELECT e.sequence::text AS sequence, e.organization_id AS "organizationId", ${instantText('e.recorded_at')} AS "recordedAt" FROM audit_event e
               WHERE e.timestamp = $1 AND e.id = $2 ${all ? '' : 'AND e.organization_id = ANY($3::text[])'} LIMIT 2`,
        values: all ? [timestamp, id] : [timestamp, id, visible],
      });
    const { rows } = await this.database.durability.reading(visible, () =>
      this.database.withClient(find, signal),
    );
    return rows.map((row) => ({ ...row, id, timestamp }));
  }

  /** The last sequence of an organization, from the primary; 0 without events. */
  async findLastSequence(organizationId: string, signal?: AbortSignal): Promise<bigint> {
    const heads = await this.database.durability.reading([organizationId], () =>
      this.database.withClient((client) => findHeads(client, [organizationId]), signal),
    );
    return heads.get(organizationId) ?? 0n;
  }

  /**
   * Resolves when earlier reads of these organizations are durable.
   * @throws AppError DATABASE_UNAVAILABLE when that takes seconds.
   */
  whenDurable(organizations: Organizations): Promise<void> {
    return this.database.durability.whenSettled(organizations);
  }

  /**
   * Reads from a replica only if it shows all that the primary does, as the result may be cached under the current
   * version, and no events that a failover may lose.
   */
  private read<T>(
    organizations: Organizations,
    signal: AbortSignal | undefined,
    work: (client: PoolClient) => Promise<T>,
  ): Promise<T> {
    const isFresh = (replica: PoolClient) => this.versions.isFresh(replica, organizations);
    return this.database.durability.reading(organizations, () =>
      this.database.withReader(work, { isFresh, signal }),
    );
  }
}

/** Checks where a list by sequence starts. Positions in time are the same on each timeline. */
async function findForeign(
  client: PoolClient,
  { sort, after, positions }: Pick<PageRequest, 'sort' | 'after' | 'positions'>,
): Promise<ForeignPositions> {
  if (sort.field !== 'sequence') return NOTHING_FOREIGN;
  if (positions) return findForeignPositions(client, positions);
  if (!after) return NOTHING_FOREIGN;
  return findForeignPositions(client, new Map([[after.organizationId, logPositionOf(after)]]));
}

/** Last sequences of organizations ($1) that have events. */
const FIND_LAST_SEQUENCES = {
  name: 'audit-find-last-sequences',
  text: `SELECT organization_id, last_sequence::text FROM audit_organization WHERE organization_id = ANY($1::text[])`,
};

async function findHeads(
  client: PoolClient,
  organizations: readonly string[],
): Promise<Map<string, bigint>> {
  const { rows } = await client.query<[string, string]>({
    ...FIND_LAST_SEQUENCES,
    values: [organizations],
    rowMode: 'array',
  });
  return new Map(rows.map(([id, sequence]) => [id, BigInt(sequence)]));
}

interface ReadLogPage {
  texts: readonly string[];
  isMore: boolean;
  /** As they were before the page. */
  heads: ReadonlyMap<string, bigint>;
}

/** The positions at the ends of a page that was read on the same connection. */
async function findEnds(
  client: PoolClient,
  { organizations, from, backward, offset }: LogPageRequest,
  { texts, isMore, heads }: ReadLogPage,
): Promise<Pick<LogPage, 'before' | 'after'>> {
  const events = texts.map(positionOf);
  const last = new Map(events.map((event) => [event.organizationId, logPositionOf(event)]));
  const known = [from ?? new Map<string, LogPosition>(), last];
  const [begin, end] = [events[0], events.at(-1)];
  const headOf = (id: string) => heads.get(id) ?? 0n;
  const startOf = (id: string) => from?.get(id)?.sequence ?? 0n;
  const positionsAt = async (sequenceOf: (id: string) => bigint) =>
    findPositionsAt(client, new Map(organizations.map((id) => [id, sequenceOf(id)])), known);
  if (backward) {
    const isBegun = !isMore || !begin;
    const before = (id: string) => least(startOf(id), precedingSequence(begin, id));
    return {
      before: isBegun ? undefined : await positionsAt(before),
      after: from ?? new Map<string, LogPosition>(),
    };
  }
  // The events before an offset were skipped: they precede the page.
  const isOffset = !from && offset > 0 && begin !== undefined;
  const skipped = (id: string) => least(headOf(id), precedingSequence(begin, id));
  const before = isOffset ? await positionsAt(skipped) : from;
  const after = (id: string) => {
    const passed = isMore ? least(headOf(id), passedSequence(end, id)) : headOf(id);
    return greatest(startOf(id), greatest(passed, last.get(id)?.sequence ?? 0n));
  };
  return { before, after: await positionsAt(after) };
}

/** The last sequence of an organization before an event, in the order of sequence and organization. */
function precedingSequence(event: Position | undefined, organizationId: string): bigint {
  if (!event) return 0n;
  const isBefore = compareIds(organizationId, event.organizationId) < 0;
  return BigInt(event.sequence) - (isBefore ? 0n : 1n);
}

/** The last sequence of an organization up to and with an event, in the order of sequence and organization. */
function passedSequence(event: Position | undefined, organizationId: string): bigint {
  if (!event) return 0n;
  const isPassed = compareIds(organizationId, event.organizationId) <= 0;
  return BigInt(event.sequence) - (isPassed ? 0n : 1n);
}

/** As the collation "C" compares. */
function compareIds(one: string, other: string): number {
  return Buffer.compare(Buffer.from(one), Buffer.from(other));
}

const least = (one: bigint, other: bigint): bigint => (one < other ? one : other);
const greatest = (one: bigint, other: bigint): bigint => (one > other ? one : other);

/**
 * The events at these sequences, or the last ones before them that retention has left. Positions that are known need
 * no statement.
 */
async function findPositionsAt(
  client: PoolClient,
  sequences: ReadonlyMap<string, bigint>,
  known: readonly LogPositions[],
): Promise<LogPositions> {
  const positions: LogPositions = new Map();
  const sought: string[] = [];
  for (const [id, sequence] of sequences) {
    const found = known.map((some) => some.get(id)).find((one) => one?.sequence === sequence);
    if (sequence === 0n) positions.set(id, BEGINNING);
    else if (found) positions.set(id, found);
    else sought.push(id);
  }
  if (sought.length === 0) return positions;
  const numbers = sought.map((id) => String(sequences.get(id)));
  const { logs } = await findStoredLogs(client, sought, numbers);
  for (const id of sought) {
    const nearest = logs.get(id)?.nearest;
    const { sequence, recordedMicros } = nearest ?? BEGINNING;
    positions.set(id, { sequence, recordedMicros });
  }
  return positions;
}

type ReadStatement = Statement & { types?: CustomTypesConfig };

async function rowsOf(client: PoolClient, statement: ReadStatement): Promise<string[]> {
  const { rows } = await client.query<[string]>({ ...statement, rowMode: 'array' });
  return rows.map(([json]) => json);
}

/** Limit of organizations in an error message. */
const MAX_NAMED = 10;

/** JSON text of the event, unless several organizations have one: copies may have 256 KiB each. */
const JSON_OF_ONE = `CASE WHEN min(e.organization_id) OVER () = max(e.organization_id) OVER () THEN ${EVENT_JSON} END`;

/** `json` is null for several organizations and in rows of audit_client_event_id. */
interface FoundRow {
  organizationId: string;
  json: string | null;
  isEvent: boolean;
}

/**
 * The event with this id. An id is unique only within its organization, and client ids may look like the service's:
 * events of the id's millisecond and client ids are both read.
 * @throws AppError CONFLICT, naming the organizations, when several have an event with this id.
 */
async function findEvent(
  client: PoolClient,
  organizations: Organizations,
  id: string,
): Promise<string | undefined> {
  const range = millisecondOf(id);
  const near = range ? await foundRows(client, byRange(organizations, id, range)) : [];
  const events = near.filter(({ isEvent }) => isEvent);
  const [first] = events;
  if (first && near.every(({ organizationId }) => organizationId === first.organizationId)) {
    return first.json ?? undefined;
  }
  const chosen = await foundRows(client, byClientId(organizations, id));
  const holders = new Map([...events, ...chosen].map((row) => [row.organizationId, row.json]));
  if (holders.size > 1) throw heldBySeveral([...holders.keys()]);
  const [json] = holders.values();
  return json ?? undefined;
}

function heldBySeveral(ids: string[]): AppError {
  const named = ids.slice(0, MAX_NAMED).sort();
  const more = ids.length > MAX_NAMED ? ' and others' : '';
  const message = `must name one of ${named.map((id) => JSON.stringify(id)).join(', ')}${more}`;
  return new AppError(
    'CONFLICT',
    'Several organizations of this token have an event with this id: say which one is meant.',
    { errors: [{ path: 'organization_ids', message }] },
  );
}

async function foundRows(client: PoolClient, statement: Statement): Promise<FoundRow[]> {
  const { rows } = await client.query<[string, string | null, boolean]>({
    ...statement,
    rowMode: 'array',
  });
  return rows.map(([organizationId, json, isEvent]) => ({ organizationId, json, isEvent }));
}

/** Events of the millisecond; client ids come from an index without partitions. */
function byRange(
  organizations: Organizations,
  id: string,
  { from, to }: { from: string; to: string },
): Statement {
  const all = organizations === '*';
  return {
    name: all ? 'audit-by-range-all' : 'audit-by-range',
    text: `(SELECT e.organization_id, ${JSON_OF_ONE}, true FROM audit_event e
            WHERE e.id = $1 AND e.timestamp >= $2 AND e.timestamp < $3
            ${all ? '' : 'AND e.organization_id = ANY($4::text[])'}
            LIMIT ${MAX_NAMED + 1})
           UNION ALL
           (SELECT c.organization_id, NULL, false FROM audit_client_event_id c
            WHERE c.id = $1 ${all ? '' : 'AND c.organization_id = ANY($4::text[])'}
            LIMIT ${MAX_NAMED + 1})`,
    values: all ? [id, from, to] : [id, from, to, organizations],
  };
}

function byClientId(organizations: Organizations, id: string): Statement {
  const all = organizations === '*';
  return {
    name: all ? 'audit-by-client-id-all' : 'audit-by-client-id',
    text: `SELECT e.organization_id, ${JSON_OF_ONE}, true FROM audit_client_event_id c
           CROSS JOIN LATERAL (
             SELECT * FROM audit_event e
             WHERE e.organization_id = c.organization_id AND e.timestamp = c.timestamp AND e.id = c.id
           ) e
           WHERE c.id = $1 ${all ? '' : 'AND c.organization_id = ANY($2::text[])'}
           LIMIT ${MAX_NAMED + 1}`,
    values: all ? [id] : [id, organizations],
  };
}

/** Counts text as read. The row beyond `maxBytes` fails its statement, and pg discards the following ones. */
export function countedTypes({ maxBytes = Infinity, reservation }: TextLimits): CustomTypesConfig {
  let bytes = 0;
  const count = (text: string): string => {
    bytes += text.length > SHORT_TEXT ? Buffer.byteLength(text) : text.length;
    if (bytes > maxBytes) throw pageTooLarge(maxBytes);
    reservation?.resizeForRows(bytes);
    return text;
  };
  return { getTypeParser: () => count };
}

function pageTooLarge(maxBytes: number): AppError {
  const size = `${Math.floor(maxBytes / (1024 * 1024))} MiB`;
  return new AppError(
    'REQUEST_TOO_LARGE',
    `The page would be larger than ${size}: ask for fewer events with \`limit\`, or export them (/audit/events/stream).`,
    { errors: [{ path: 'limit', message: `must be lower: these events have more than ${size}` }] },
  );
}

/** Refusal of a page for its size: one of fewer events may fit. */
export function isTooLarge(error: unknown): boolean {
  return error instanceof AppError && error.code === 'REQUEST_TOO_LARGE';
}
