import type { PoolClient } from 'pg';
import type { PageRequest } from './page-statement';
import {
  BEGINNING,
  findStoredLogs,
  type LogPosition,
  logPositionOf,
  type LogPositions,
  type Position,
  positionOf,
} from './position';

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
  /** True when the search ended for want of time, at `after` or, backward, at `before`. */
  isPartial?: boolean;
  /** Events that are still to be skipped from there on. */
  offset?: number;
  before?: LogPositions | undefined;
  after: LogPositions;
}

/** Last sequences of organizations ($1) that have events. */
const FIND_LAST_SEQUENCES = {
  name: 'audit-find-last-sequences',
  text: `SELECT organization_id, last_sequence::text FROM audit_organization WHERE organization_id = ANY($1::text[])`,
};

export async function findHeads(
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
  /** In the order of reading, which is descending for `backward`. */
  texts: readonly string[];
  isMore: boolean;
  /** The last row that was looked at, if that is further than the last event. */
  reached?: Position | undefined;
  /** As they were before the page. */
  heads: ReadonlyMap<string, bigint>;
}

/** The positions at the ends of a page that was read on the same connection. */
export async function findEnds(
  client: PoolClient,
  { organizations, from, backward, offset }: LogPageRequest,
  { texts, isMore, reached, heads }: ReadLogPage,
): Promise<Pick<LogPage, 'before' | 'after'>> {
  const events = texts.map(positionOf);
  const last = new Map(events.map((event) => [event.organizationId, logPositionOf(event)]));
  const known = [from ?? new Map<string, LogPosition>(), last, positionsOf(reached)];
  const [begin, end] = [events[0], reached ?? events.at(-1)];
  const headOf = (id: string) => heads.get(id) ?? 0n;
  const startOf = (id: string) => from?.get(id)?.sequence ?? 0n;
  const positionsAt = async (sequenceOf: (id: string) => bigint) =>
    findPositionsAt(client, new Map(organizations.map((id) => [id, sequenceOf(id)])), known);
  if (backward) {
    const preceding = (id: string) => least(startOf(id), precedingSequence(end, id));
    // A portion may have only the event that shows that there is more.
    const before = end ? await positionsAt(preceding) : from;
    return { before: isMore ? before : undefined, after: from ?? new Map<string, LogPosition>() };
  }
  const passed = (id: string) => {
    const sequence = isMore ? least(headOf(id), passedSequence(end, id)) : headOf(id);
    return greatest(startOf(id), greatest(sequence, last.get(id)?.sequence ?? 0n));
  };
  const after = await positionsAt(passed);
  if (offset === 0) return { before: from, after };
  // The events that an offset skips precede the page: one without events is after all of them.
  if (!begin) return { before: after, after };
  const skipped = (id: string) =>
    greatest(startOf(id), least(headOf(id), precedingSequence(begin, id)));
  return { before: await positionsAt(skipped), after };
}

function positionsOf(event: Position | undefined): LogPositions {
  return new Map(event ? [[event.organizationId, logPositionOf(event)]] : []);
}

/**
 * The ends of a page whose next portion has these: forward it ends where the portion does and begins where its first event
 * was found, backward the other way round.
 */
export function joinedEnds(
  page: Pick<LogPage, 'before' | 'after'>,
  portion: Pick<LogPage, 'before' | 'after'>,
  { backward, isEmpty }: { backward: boolean; isEmpty: boolean },
): Pick<LogPage, 'before' | 'after'> {
  if (backward) return { before: portion.before, after: page.after };
  return { before: isEmpty ? portion.before : page.before, after: portion.after };
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
