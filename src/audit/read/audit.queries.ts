import { Injectable } from '@nestjs/common';
import type { CustomTypesConfig, PoolClient } from 'pg';
import type { Organizations } from '../../auth/principal';
import type { ResponseReservation } from '../../http/response-memory';
import { TOTAL_EXACT_UP_TO } from '../../pagination/page';
import { Database } from '../../platform/database/database';
import { AppError } from '../../platform/errors/app-error';
import { instantText } from '../event/audit.statements';
import { LogTimeline } from '../event/log-timeline';
import { SealedReads } from '../search/sealed-reads';
import { findEvent } from './event-lookup';
import { findEnds, findHeads, type LogPage, type LogPageRequest } from './log-page';
import { countStatement, type PageRequest, pageStatement, type Statement } from './page-statement';
import { PageWindows } from './page-windows';
import {
  findForeignPositions,
  type ForeignPositions,
  logPositionOf,
  NOTHING_FOREIGN,
  notYetPrimary,
  type Position,
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
    const byIndex = await this.sealed.findPage(client, request, (statement) =>
      rowsOf(client, { ...statement, types }),
    );
    if (byIndex) return byIndex;
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
      const byIndex = await this.sealed.count(client, request);
      if (byIndex !== undefined) return byIndex;
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

async function rowsOf(client: PoolClient, statement: ReadStatement): Promise<string[]> {
  const { rows } = await client.query<[string]>({ ...statement, rowMode: 'array' });
  return rows.map(([json]) => json);
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
