import { Injectable } from '@nestjs/common';
import type { CustomTypesConfig, PoolClient } from 'pg';
import { Database } from '../../platform/database/database';
import { AppError } from '../../platform/errors/app-error';
import type { ResponseReservation } from '../../http/response-memory';
import { TOTAL_EXACT_UP_TO } from '../../pagination/page';
import { findEvent } from './find-event';
import { TenantVersions } from './tenant-versions';
import {
  findForeignPositions,
  type ForeignPositions,
  notYetPrimary,
  timelineChanged,
} from './log-position';
import { LogTimeline } from '../event/log-timeline';
import {
  countStatement,
  logPositionOf,
  pageStatement,
  type PageRequest,
  type Position,
  type Statement,
} from './page-statement';
import { PageWindows } from './page-windows';

/** Everything that is read about events; a signal that aborts cancels the read in PostgreSQL. Answers are JSON text as PostgreSQL made it (audit.statements.ts). */
@Injectable()
export class AuditQueries {
  private readonly windows = new PageWindows();

  constructor(
    private readonly database: Database,
    private readonly epochs: TenantVersions,
    private readonly timeline: LogTimeline = new LogTimeline(),
  ) {}

  /**
   * The next `limit` events of a list, as JSON text, in its order.
   * @throws AppError REQUEST_TOO_LARGE when they have more than `limits.maxBytes` together; what `limits.reservation`
   * throws, which grows with them; TIMELINE_CHANGED when the list is by sequence and goes on behind an event that is
   * another one now, or is not there.
   */
  async findPage(
    request: PageRequest,
    signal?: AbortSignal,
    limits: TextLimits = {},
  ): Promise<string[]> {
    if (request.organizations.length === 0) return [];
    const work = async (client: PoolClient) => {
      const page = this.readPage(client, request, limits);
      // On the same connection behind the page, in the same round trip: a position that holds then held for the page.
      const foreign = findForeign(client, request);
      foreign.catch(() => undefined); // awaited below, unless the page has failed
      return { found: await page, foreign: await foreign };
    };
    const { organizations } = request;
    let read = await this.read(organizations, signal, work);
    // A replica’s word is not enough to refuse a position.
    if (isForeign(read)) {
      read = await this.database.durability.reading(organizations, () =>
        this.database.withClient(work, signal),
      );
    }
    this.requireNotForeign(read.foreign, request);
    this.windows.learn(request, read.found);
    return read.found;
  }

  private async readPage(
    client: PoolClient,
    request: PageRequest,
    limits: TextLimits,
  ): Promise<string[]> {
    const found: string[] = [];
    const types = countedTypes(limits);
    for (const stretch of this.windows.of(request)) {
      const limit = request.limit - found.length;
      const statement = pageStatement({ ...request, ...stretch, limit });
      found.push(...(await rowsOf(client, { ...statement, types })));
      if (found.length === request.limit) break;
    }
    return found;
  }

  /**
   * Sees to it that a list by sequence goes on behind an event that is still the same, in what `client` sees: for reads
   * that have a snapshot of their own.
   * @throws AppError TIMELINE_CHANGED; DATABASE_UNAVAILABLE on a server that has not been promoted.
   */
  async requireSameTimeline(
    client: PoolClient,
    list: Pick<PageRequest, 'sort' | 'after'>,
  ): Promise<void> {
    this.requireNotForeign(await findForeign(client, list), list);
  }

  private requireNotForeign(
    { organizations, isInRecovery }: ForeignPositions,
    list: Pick<PageRequest, 'after'>,
  ): void {
    if (organizations.length === 0) return;
    if (isInRecovery) throw notYetPrimary();
    this.timeline.noteRefusedPosition();
    const { organizationId, sequence } = list.after ?? NO_POSITION;
    throw timelineChanged(organizationId, BigInt(sequence));
  }

  /** How many events a list has; at most TOTAL_EXACT_UP_TO + 1, which stands for "more". */
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

  /** One event by id, as JSON text. @throws AppError CONFLICT when several of the organizations have one. */
  async findById(
    organizations: readonly string[] | '*',
    id: string,
    signal?: AbortSignal,
  ): Promise<string | undefined> {
    if (organizations.length === 0) return undefined;
    return this.read(organizations, signal, (client) => findEvent(client, organizations, id));
  }

  /** Where the events with this id and timestamp stand: one in each organization at most. On the primary, as exports are. */
  async findPositions(
    organizations: readonly string[] | '*',
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
        text: `SELECT e.sequence::text AS sequence, e.organization_id AS "organizationId", ${RECORDED_AT} AS "recordedAt" FROM audit_event e
               WHERE e.timestamp = $1 AND e.id = $2 ${all ? '' : 'AND e.organization_id = ANY($3::text[])'} LIMIT 2`,
        values: all ? [timestamp, id] : [timestamp, id, visible],
      });
    const { rows } = await this.database.durability.reading(visible, () =>
      this.database.withClient(find, signal),
    );
    return rows.map((row) => ({ ...row, id, timestamp }));
  }

  /**
   * Resolves when what was read of these organizations before the call is durable.
   * @throws AppError DATABASE_UNAVAILABLE when that takes seconds.
   */
  whenDurable(organizations: readonly string[] | '*'): Promise<void> {
    return this.database.durability.whenSettled(organizations);
  }

  /**
   * On a replica only if it shows all that the primary does: an answer may be kept as that of the current epoch. Shows no
   * events that a failover may lose.
   */
  private read<T>(
    organizations: readonly string[] | '*',
    signal: AbortSignal | undefined,
    work: (client: PoolClient) => Promise<T>,
  ): Promise<T> {
    const isFresh = (replica: PoolClient) => this.epochs.isFresh(replica, organizations);
    return this.database.durability.reading(organizations, () =>
      this.database.withReader(work, { isFresh, signal }),
    );
  }
}

const RECORDED_AT = `to_char(e.recorded_at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
const NO_POSITION = { organizationId: '', sequence: '0' };
const NOTHING_FOREIGN: ForeignPositions = { organizations: [], isInRecovery: false };

/** Whether the position behind which a list goes on is of another timeline. Places in time are the same in each. */
async function findForeign(
  client: PoolClient,
  { sort, after }: Pick<PageRequest, 'sort' | 'after'>,
): Promise<ForeignPositions> {
  if (sort.field !== 'sequence' || !after) return NOTHING_FOREIGN;
  return findForeignPositions(client, new Map([[after.organizationId, logPositionOf(after)]]));
}

function isForeign({ foreign }: { foreign: ForeignPositions }): boolean {
  return foreign.organizations.length > 0;
}

/** A statement, and how its columns are read. */
type ReadStatement = Statement & { types?: CustomTypesConfig };

/** What the texts of one answer may take. */
export interface TextLimits {
  /** Bytes in UTF-8. */
  maxBytes?: number;
  /** Grows with the texts. */
  reservation?: ResponseReservation;
}

/** Shorter texts are counted by their characters: their bytes are three times as many at most. */
const SHORT_TEXT = 1024;

/**
 * Reads text as it is and counts it. The row that is one too many fails its statement, and pg keeps none that still
 * comes: however much that is, no more than `maxBytes` of it are held.
 */
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

async function rowsOf(client: PoolClient, statement: ReadStatement): Promise<string[]> {
  const { rows } = await client.query<[string]>({ ...statement, rowMode: 'array' });
  return rows.map(([json]) => json);
}
