import { Injectable } from '@nestjs/common';
import type { CustomTypesConfig, PoolClient } from 'pg';
import type { Organizations } from '../../auth/principal';
import type { ResponseReservation } from '../../http/response-memory';
import { TOTAL_EXACT_UP_TO } from '../../pagination/page';
import { Database } from '../../platform/database/database';
import { AppError } from '../../platform/errors/app-error';
import { formatInstant } from '../../platform/runtime/instant';
import { instantText } from '../event/audit.statements';
import { LogTimeline } from '../event/log-timeline';
import { SealedReads } from '../search/sealed-reads';
import { sealedStatement } from '../search/sealed-statement';
import { findEvent } from './event-lookup';
import { findEnds, findHeads, joinedEnds, type LogPage, type LogPageRequest } from './log-page';
import {
  countStatement,
  isFiltered,
  type PageRequest,
  pageStatement,
  type Statement,
} from './page-statement';
import { PageWindows } from './page-windows';
import {
  type End,
  portionCountStatement,
  type PortionRequest,
  type PortionRow,
  portionStatement,
} from './portion-statement';
import { PortionWalk } from './portion-walk';
import {
  findForeignPositions,
  findStoredLogs,
  type ForeignPositions,
  logPositionOf,
  type LogPositions,
  NOTHING_FOREIGN,
  notYetPrimary,
  type Position,
  timelineChanged,
} from './position';
import { ReadPace } from './read-pace';
import { TenantVersions } from './tenant-versions';

/** Bytes of a page that stays in memory until its reader takes it (streams, backfills). */
export const HELD_PAGE_BYTES = 2 * 1024 * 1024;

/** Divisor of a page's limit after it was too large: PostgreSQL has sent all of it by then. */
export const TOO_LARGE_DIVISOR = 8;

const NOWHERE: LogPositions = new Map();

/** Shorter texts are counted by characters: their bytes are at most three times as many. */
const SHORT_TEXT = 1024;

/** Events of a list in its order. */
export interface FoundList {
  texts: string[];
  /** True when the search ended for want of time. */
  isPartial?: true;
  /** Where a partial search ended: what is before is in `texts`. Absent where it did not begin, at the start of the list. */
  reached?: Position | undefined;
  /** Events that are still to be skipped after `reached`. */
  offset?: number;
}

export interface FoundCount {
  /** TOTAL_EXACT_UP_TO + 1 for more. */
  count: number;
  /** True when the count ended for want of time: there are at least so many. */
  isPartial: boolean;
}

export interface TextLimits {
  /** Bytes in UTF-8. */
  maxBytes?: number;
  reservation?: ResponseReservation;
}

/** Reads events as PostgreSQL's JSON text (EVENT_JSON). An aborting signal cancels the statement. */
@Injectable()
export class AuditQueries {
  private readonly windows = new PageWindows();

  constructor(
    private readonly database: Database,
    private readonly versions: TenantVersions,
    private readonly timeline: LogTimeline,
    private readonly sealed: SealedReads,
  ) {}

  /**
   * Reads the next `limit` events of a list in its order. A filtered one is searched in portions, at the pace given.
   * @throws AppError REQUEST_TOO_LARGE beyond `limits.maxBytes`; what `limits.reservation` throws as it grows;
   * TIMELINE_CHANGED when a list by sequence starts after an event that is another one now, or is missing.
   */
  async findPage(
    request: PageRequest,
    signal?: AbortSignal,
    limits: TextLimits = {},
    pace = ReadPace.unlimited(signal),
  ): Promise<FoundList> {
    if (request.organizations.length === 0) return { texts: [] };
    const list = isFiltered(request.filter)
      ? await this.search(request, limits, pace)
      : {
          texts: await this.readAfter(request, signal, (client) =>
            this.readPage(client, request, limits),
          ),
        };
    if (!list.reached) this.windows.learn(request, list.texts);
    return list;
  }

  /**
   * Searches a filtered list in portions. Where the first one does not fill the page, an index of the filter's values serves
   * what it can: of a list by time the sealed parts, of one by sequence all, if its matches are few.
   */
  private async search(
    request: PageRequest,
    limits: TextLimits,
    pace: ReadPace,
  ): Promise<FoundList> {
    const walk = new PortionWalk(request, this.windows.covered(request));
    const found = new FoundTexts(request);
    const rest = () => ({ ...request, ...walk.range(), ...found.missing() });
    const read = (own?: AbortSignal) =>
      this.readAfter(rest(), own, (client) =>
        this.readPortion(client, { ...rest(), rows: pace.rows }, limits, { found, pace }),
      );
    const findParts = (own?: AbortSignal) =>
      this.read(request.organizations, own, (client) => this.sealed.parts(client, request));
    for (let isFirst = true; ; isFirst = false) {
      const portion = await (isFirst ? pace.first(read) : pace.next(read));
      if (!portion) {
        const { texts, offset } = found;
        return { texts, isPartial: true, reached: walk.position(), offset };
      }
      found.add(portion);
      const isMore = walk.advance(portion.reached);
      if (found.isFull || !isMore) return { texts: found.texts };
      if (!isFirst) continue;
      if (walk.hasWindows) {
        const parts = await pace.attempt(findParts);
        if (parts) walk.use(parts);
      } else if (request.sort.field === 'sequence') {
        const sorted = await pace.attempt((own) =>
          this.readAfter(rest(), own, (client) => this.findSorted(client, rest(), limits, found)),
        );
        if (sorted) return { texts: [...found.texts, ...sorted] };
      }
    }
  }

  /** The rest of a list by sequence, by index; undefined where none serves it. */
  private findSorted(
    client: PoolClient,
    request: PageRequest,
    limits: TextLimits,
    found: FoundTexts,
  ): Promise<string[] | undefined> {
    const types = countedTypes(limits, found.bytes);
    return this.sealed.findSorted(client, request, (statement) =>
      rowsOf(client, { ...statement, types }),
    );
  }

  /** A read that starts after a position, which is checked on the same connection. */
  private async readAfter<T>(
    request: PageRequest,
    signal: AbortSignal | undefined,
    work: (client: PoolClient) => Promise<T>,
  ): Promise<T> {
    const { result } = await this.readChecked(request.organizations, signal, async (client) => {
      const result = work(client);
      // After the events: a position that holds then held for them.
      const foreign = findForeign(client, request);
      foreign.catch(() => undefined); // awaited below, unless the read has failed
      return { result: await result, foreign: await foreign };
    });
    return result;
  }

  private async readPortion(
    client: PoolClient,
    request: PortionRequest & Pick<ReturnType<PortionWalk['range']>, 'sealed'>,
    limits: TextLimits,
    { found, pace }: { found: FoundTexts; pace: ReadPace },
  ): Promise<Portion> {
    const startedMs = performance.now();
    const types = countedTypes(limits, found.bytes);
    const statement = statementOf(request);
    const { rows } = await client.query<PortionRow>({ ...statement, types, rowMode: 'array' });
    pace.note(performance.now() - startedMs);
    const { end, ...portion } = portionOf(rows, request);
    return { ...portion, reached: end && (await positionAt(client, end)) };
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
    pace = ReadPace.unlimited(signal),
  ): Promise<LogPage> {
    if (isFiltered(request.filter)) return this.searchLog(request, limits, pace);
    const page = pageOfLog(request);
    const work = async (client: PoolClient) => {
      const reading = [
        findHeads(client, request.organizations),
        this.readPage(client, page, limits),
        findForeign(client, page),
      ] as const;
      for (const one of reading) one.catch(() => undefined); // awaited below, unless another has failed
      const [heads, found, foreign] = [await reading[0], await reading[1], await reading[2]];
      const texts = found.slice(0, request.limit);
      const isMore = found.length > request.limit;
      const ends = await findEnds(client, request, { texts, isMore, heads });
      if (request.backward) texts.reverse();
      return { texts, isMore, ...ends, foreign };
    };
    return this.readChecked(request.organizations, signal, work);
  }

  /** Each portion is a page of the log, which begins where the one before it ended. */
  private async searchLog(
    request: LogPageRequest,
    limits: TextLimits,
    pace: ReadPace,
  ): Promise<LogPage> {
    const { backward, limit, organizations } = request;
    const found = new FoundTexts(pageOfLog(request));
    let from = request.from;
    let ends: Pick<LogPage, 'before' | 'after'> = { before: from, after: from ?? NOWHERE };
    type Find = (client: PoolClient, page: PortionRequest) => Promise<Portion | undefined>;
    const readBy = (find: Find) => (own?: AbortSignal) =>
      this.readChecked(organizations, own, async (client) => {
        const missing = found.missing();
        const part = { ...request, ...missing, from };
        const page = { ...pageOfLog(part), ...missing, rows: pace.rows };
        const reading = [
          findHeads(client, organizations),
          find(client, page),
          findForeign(client, page),
        ] as const;
        for (const one of reading) one.catch(() => undefined); // awaited below, unless another has failed
        const [heads, portion, foreign] = [await reading[0], await reading[1], await reading[2]];
        if (!portion) return { foreign };
        const isFull = portion.texts.length === missing.limit;
        const texts = isFull ? portion.texts.slice(0, -1) : portion.texts;
        const { reached } = portion;
        const isMore = isFull || reached !== undefined;
        const ends = await findEnds(client, part, { texts, isMore, heads, reached });
        return { portion, foreign, ends };
      });
    const walk = readBy((client, page) => this.readPortion(client, page, limits, { found, pace }));
    const sort = readBy(async (client, page) => {
      const texts = await this.findSorted(client, page, limits, found);
      return texts && { texts, skipped: page.offset };
    });
    let isPartial: boolean;
    for (let reads = 0; ; reads += 1) {
      const part =
        reads === 0
          ? await pace.first(walk)
          : ((reads === 1 ? ended(await pace.attempt(sort)) : undefined) ??
            (await pace.next(walk)));
      isPartial = part === undefined;
      if (!part?.portion) break;
      const isEmpty = found.texts.length === 0;
      found.add(part.portion);
      ends = joinedEnds(ends, part.ends, { backward, isEmpty });
      if (found.isFull || !part.portion.reached) break;
      from = backward ? part.ends.before : part.ends.after;
    }
    const texts = found.texts.slice(0, limit);
    if (backward) texts.reverse();
    return { texts, isMore: found.isFull, isPartial, offset: found.offset, ...ends };
  }

  /** A read that starts after positions. A replica may lag: only the primary refuses one. */
  private async readChecked<T extends { foreign: ForeignPositions }>(
    organizations: Organizations,
    signal: AbortSignal | undefined,
    work: (client: PoolClient) => Promise<T>,
  ): Promise<T> {
    let read = await this.read(organizations, signal, work);
    if (read.foreign.positions.length > 0) {
      read = await this.database.unconfirmedCommits.readConfirmed(organizations, () =>
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

  /**
   * Counts the events of a list, up to TOTAL_EXACT_UP_TO + 1, which stands for "more". A filtered one is counted in
   * portions, at the pace given.
   */
  async count(
    request: Omit<PageRequest, 'limit' | 'offset' | 'after'>,
    signal?: AbortSignal,
    pace = ReadPace.unlimited(signal),
  ): Promise<FoundCount> {
    if (request.organizations.length === 0) return { count: 0, isPartial: false };
    if (isFiltered(request.filter)) return this.countMatching(request, pace);
    return this.read(request.organizations, signal, async (client) => {
      const result = await client.query<[number]>({ ...countStatement(request), rowMode: 'array' });
      return { count: countUpToMore(result.rows[0]?.[0] ?? 0), isPartial: false };
    });
  }

  private async countMatching(
    { organizations, filter }: Omit<PageRequest, 'limit' | 'offset' | 'after'>,
    pace: ReadPace,
  ): Promise<FoundCount> {
    const sort = { field: 'timestamp', direction: 'desc' } as const;
    const list = { organizations, filter, sort, limit: 0, offset: 0 };
    const walk = new PortionWalk(list, 0);
    const read = (own?: AbortSignal) =>
      this.read(organizations, own, async (client) => {
        const startedMs = performance.now();
        const statement = portionCountStatement({ ...list, ...walk.range(), rows: pace.rows });
        const { rows } = await client.query<[string, string | null]>({
          ...statement,
          rowMode: 'array',
        });
        pace.note(performance.now() - startedMs);
        const [counted = '0', end = null] = rows[0] ?? [];
        const reached = end === null ? undefined : await positionAt(client, JSON.parse(end) as End);
        return { counted: Number(counted), reached };
      });
    let count = 0;
    for (let isFirst = true; ; isFirst = false) {
      const part = await (isFirst ? pace.first(read) : pace.next(read));
      if (!part) return { count, isPartial: true };
      count += part.counted;
      const isMore = walk.advance(part.reached);
      if (count > TOTAL_EXACT_UP_TO || !isMore) {
        return { count: countUpToMore(count), isPartial: false };
      }
      if (!isFirst) continue;
      const byIndex = await pace.attempt((own) =>
        this.read(organizations, own, (client) => this.sealed.count(client, list)),
      );
      if (byIndex !== undefined) return { count: countUpToMore(byIndex), isPartial: false };
    }
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
    const { rows } = await this.database.unconfirmedCommits.readConfirmed(visible, () =>
      this.database.withClient(find, signal),
    );
    return rows.map((row) => ({ ...row, id, timestamp }));
  }

  /** The last sequence of an organization, from the primary; 0 without events. */
  async findLastSequence(organizationId: string, signal?: AbortSignal): Promise<bigint> {
    const heads = await this.database.unconfirmedCommits.readConfirmed([organizationId], () =>
      this.database.withClient((client) => findHeads(client, [organizationId]), signal),
    );
    return heads.get(organizationId) ?? 0n;
  }

  /**
   * Resolves when earlier reads of these organizations are durable.
   * @throws AppError DATABASE_UNAVAILABLE when that takes seconds.
   */
  whenDurable(organizations: Organizations): Promise<void> {
    return this.database.unconfirmedCommits.whenConfirmed(organizations);
  }

  /**
   * Reads from a replica only if it shows all that the primary does, as the result may be cached under the current
   * version, and no events that a failover may lose.
   */
  read<T>(
    organizations: Organizations,
    signal: AbortSignal | undefined,
    work: (client: PoolClient) => Promise<T>,
  ): Promise<T> {
    const isFresh = (replica: PoolClient) => this.versions.isFresh(replica, organizations);
    return this.database.unconfirmedCommits.readConfirmed(organizations, () =>
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

type ReadStatement = Statement & { types?: CustomTypesConfig };

/** What one portion of a search has found. */
interface Portion {
  texts: string[];
  /** The last row that was looked at; absent when the page is full, or at the end of the range. */
  reached?: Position | undefined;
  /** Matching events that were skipped for the offset. */
  skipped: number;
}

function statementOf({
  sealed,
  organizations,
  ...request
}: PortionRequest & Pick<ReturnType<PortionWalk['range']>, 'sealed'>): Statement {
  if (!sealed || organizations === '*') return portionStatement({ ...request, organizations });
  const { limit, rows } = request;
  const look = Math.max(limit, Math.ceil(rows / sealed.ranges.length));
  return sealedStatement({ ...request, ...sealed, organizations }, limit, look);
}

function portionOf(
  rows: readonly PortionRow[],
  { limit, offset }: PortionRequest,
): Omit<Portion, 'reached'> & { end?: End } {
  const texts: string[] = [];
  for (const [event, end, place] of rows) {
    if (event !== null) texts.push(event);
    if (texts.length === limit) break;
    if (end !== null) {
      return { texts, end: JSON.parse(end) as End, skipped: Math.min(offset, Number(place)) };
    }
  }
  return { texts, skipped: offset };
}

/** The position of the row with this key. In lists by sequence its event is looked up, which identifies it. */
async function positionAt(
  client: PoolClient,
  { timestamp, id, organizationId, sequence }: End,
): Promise<Position> {
  if (timestamp !== null && id !== null) return { timestamp, id, organizationId, sequence: '0' };
  const sought = sequence ?? '0';
  const { logs } = await findStoredLogs(client, [organizationId], [sought]);
  const { nearest } = logs.get(organizationId) ?? {};
  const recordedAt = nearest && formatInstant(nearest.recordedMicros);
  return {
    timestamp: recordedAt ?? formatInstant(0),
    sequence: sought,
    id: nearest?.id ?? '',
    organizationId,
    ...(recordedAt === undefined ? {} : { recordedAt }),
  };
}

/** The events of a page, as its portions bring them. */
class FoundTexts {
  readonly texts: string[] = [];
  bytes = 0;
  offset: number;
  private readonly limit: number;

  constructor({ limit, offset }: Pick<PageRequest, 'limit' | 'offset'>) {
    this.limit = limit;
    this.offset = offset;
  }

  get isFull(): boolean {
    return this.texts.length >= this.limit;
  }

  missing(): Pick<PageRequest, 'limit' | 'offset'> {
    return { limit: this.limit - this.texts.length, offset: this.offset };
  }

  add({ texts, skipped }: Portion): void {
    for (const text of texts) {
      this.texts.push(text);
      this.bytes += Buffer.byteLength(text);
    }
    this.offset -= skipped;
  }
}

/** A read that found something to go by. */
function ended<T extends { portion?: Portion }>(part: T | undefined): T | undefined {
  return part?.portion ? part : undefined;
}

/** The request for the events of a page of a log, and one more, which shows whether there is a next page. */
function pageOfLog({
  organizations,
  filter,
  from,
  backward,
  limit,
  offset,
}: LogPageRequest): PageRequest {
  return {
    organizations,
    filter,
    offset,
    sort: { field: 'sequence', direction: backward ? 'desc' : 'asc' },
    positions: from,
    limit: limit + 1,
  };
}

function countUpToMore(count: number): number {
  return Math.min(count, TOTAL_EXACT_UP_TO + 1);
}

async function rowsOf(client: PoolClient, statement: ReadStatement): Promise<string[]> {
  const { rows } = await client.query<[string]>({ ...statement, rowMode: 'array' });
  return rows.map(([json]) => json);
}

/** Counts text as read. The row beyond `maxBytes` fails its statement, and pg discards the following ones. */
export function countedTypes(
  { maxBytes = Infinity, reservation }: TextLimits,
  readBefore = 0,
): CustomTypesConfig {
  let bytes = readBefore;
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
