import { createHash, randomBytes } from 'node:crypto';
import type { ClientBase } from 'pg';
import { boundText, type TimeRange } from './partition-ranges';
import type { Partition } from './partition-catalog';

/**
 * An index that is built behind the writes, over ranges of a partitioned table that have cooled down ("seals"): of a
 * whole partition, or of a range of `timestamp` within one that still grows. PostgreSQL itself keeps a seal exact for
 * rows that arrive late.
 */
export interface SealedIndex {
  /** Lower-case letters, at most ten. */
  key: string;
  /** What follows the table in CREATE INDEX: `USING btree (…)`. Immutable expressions of its columns. */
  definition: string;
  /** Condition of the rows that it holds; absent for all. */
  where?: string;
}

/** A seal in the catalogue. */
export interface Seal {
  /** Name, quoted where needed for a statement. */
  name: string;
  /** Oid of its partition. */
  partition: number;
  key: string;
  /** False for the definition of another version of the service. */
  isCurrent: boolean;
  /** False while it is built, and after an interrupted build. */
  isValid: boolean;
  /** The range that it covers; absent for the whole partition. */
  range?: TimeRange;
  /** Rows at its build (an estimate). */
  rows: number;
  bytes: number;
}

/** A range of time that is sealed; statements must bound `timestamp` by literals of it, unless it is of whole partitions. */
export interface SealedRange extends TimeRange {
  /** True for one or more whole partitions, neighbours joined. */
  isWhole: boolean;
}

const HASH_CHARACTERS = 6;

/** Hash of a definition: a changed one is another index. */
function hashOf({ definition, where = '' }: SealedIndex): string {
  return createHash('sha256')
    .update(`${definition} ${where}`)
    .digest('hex')
    .slice(0, HASH_CHARACTERS);
}

/** Regular expression of PostgreSQL for names of sealed indexes. */
export const SEALED_NAME = '_seal_[a-z]+_[0-9a-f]{6}_[0-9a-f]{4,8}';

const prefixOf = (table: string) => `${table}_seal_`;

/** Milliseconds in base 36, `n` before negative ones: eight characters in this century. */
function codeOf(ms: number): string {
  return `${ms < 0 ? 'n' : ''}${Math.abs(ms).toString(36)}`;
}

function msOf(code: string): number {
  return code.startsWith('n') && code.length > 1
    ? -parseInt(code.slice(1), 36)
    : parseInt(code, 36);
}

/**
 * CREATE INDEX of a seal, and its name: table, key, hash of the definition, a random part, as a detached partition keeps
 * its own, and the range. At most 63 characters for tables of up to 16.
 * @param range in whole milliseconds; absent for the whole partition.
 */
export function createSeal(
  table: string,
  index: SealedIndex,
  partition: string,
  range?: TimeRange,
): { name: string; statement: string } {
  // Of partial ones the bounds tell most apart already.
  const random = randomBytes(range ? 2 : 4).toString('hex');
  const bounds = range ? `_${codeOf(range.lowerMs)}_${codeOf(range.upperMs)}` : '';
  const name = `${prefixOf(table)}${index.key}_${hashOf(index)}_${random}${bounds}`;
  // New rows are tested against the upper bound alone: it fails, and PostgreSQL evaluates conditions in this order.
  const conditions = [
    ...(range
      ? [`timestamp < '${boundText(range.upperMs)}'`, `timestamp >= '${boundText(range.lowerMs)}'`]
      : []),
    ...(index.where === undefined ? [] : [index.where]),
  ];
  const where = conditions.length > 0 ? ` WHERE ${conditions.join(' AND ')}` : '';
  return {
    name,
    statement: `CREATE INDEX CONCURRENTLY ${name} ON ${partition} ${index.definition}${where}`,
  };
}

interface Row {
  name: string;
  relname: string;
  partition: number;
  isValid: boolean;
  rows: number;
  bytes: number;
}

/** The seals of a table's partitions, also invalid ones and those of other definitions. */
export async function findSeals(
  client: ClientBase,
  table: string,
  indexes: readonly SealedIndex[],
  withBytes = false,
): Promise<Seal[]> {
  const { rows } = await client.query<Row>(
    `SELECT c.oid::regclass::text AS name, c.relname, x.indrelid::int8::float8 AS partition,
            x.indisvalid AS "isValid", greatest(c.reltuples, 0)::float8 AS rows,
            ${withBytes ? 'pg_relation_size(c.oid)::float8' : '0'} AS bytes
     FROM pg_inherits i JOIN pg_index x ON x.indrelid = i.inhrelid JOIN pg_class c ON c.oid = x.indexrelid
     WHERE i.inhparent = $1::regclass AND NOT i.inhdetachpending AND starts_with(c.relname, $2)`,
    [table, prefixOf(table)],
  );
  const hashes = new Map(indexes.map((index) => [index.key, hashOf(index)]));
  return rows.flatMap(({ relname, ...row }) => {
    const parsed = SEAL_NAME.exec(relname.slice(prefixOf(table).length));
    if (!parsed) return []; // a leftover of REINDEX, or an operator's
    const [, key = '', hash, from, to] = parsed;
    const range =
      from === undefined || to === undefined
        ? {}
        : { range: { lowerMs: msOf(from), upperMs: msOf(to) } };
    return [{ ...row, key, isCurrent: hashes.get(key) === hash, ...range }];
  });
}

const SEAL_NAME = /^([a-z]+)_([0-9a-f]{6})_[0-9a-f]{4,8}(?:_(n?[0-9a-z]+)_(n?[0-9a-z]+))?$/;

/**
 * The sealed ranges of one index, oldest first and without overlaps. Time before a sealed partition that no partition has
 * is part of its range, so that it needs no read of its own: where a partition is made there, a read of the range is right
 * all the same, and slower until the ranges are read again.
 */
export function sealedRanges(
  partitions: readonly Partition[],
  seals: readonly Seal[],
  key: string,
): SealedRange[] {
  const own = seals.filter((seal) => seal.key === key && seal.isCurrent && seal.isValid);
  const found: SealedRange[] = [];
  let beforeMs = -Infinity;
  for (const { oid, upperMs, isDetaching } of partitions) {
    if (isDetaching) continue;
    const lowerMs = beforeMs;
    beforeMs = upperMs ?? Infinity;
    const ofPartition = own.filter(({ partition }) => partition === oid);
    if (ofPartition.some(({ range }) => range === undefined)) {
      found.push({ lowerMs, upperMs: upperMs ?? Infinity, isWhole: true });
      continue;
    }
    const ranges = ofPartition.flatMap(({ range }) => (range ? [range] : []));
    found.push(...withoutOverlaps(ranges).map((range) => ({ ...range, isWhole: false })));
  }
  return joined(found);
}

/** While ranges are merged, the merged one and its parts are both there: the larger counts. */
function withoutOverlaps(ranges: readonly TimeRange[]): TimeRange[] {
  const largestFirst = [...ranges].sort(
    (a, b) => b.upperMs - b.lowerMs - (a.upperMs - a.lowerMs) || a.lowerMs - b.lowerMs,
  );
  const kept: TimeRange[] = [];
  for (const range of largestFirst) {
    const isFree = kept.every(
      (one) => range.upperMs <= one.lowerMs || one.upperMs <= range.lowerMs,
    );
    if (isFree) kept.push(range);
  }
  return kept;
}

function joined(ranges: readonly SealedRange[]): SealedRange[] {
  const result: SealedRange[] = [];
  for (const range of [...ranges].sort((a, b) => a.lowerMs - b.lowerMs)) {
    const last = result.at(-1);
    if (last?.isWhole && range.isWhole && last.upperMs === range.lowerMs) {
      last.upperMs = range.upperMs;
    } else result.push({ ...range });
  }
  return result;
}

/** The ranges that are sealed for both; a part of whole partitions is one of whole partitions. */
export function intersectRanges(
  some: readonly SealedRange[],
  others: readonly SealedRange[],
): SealedRange[] {
  return some.flatMap((one) =>
    others.flatMap((other) => {
      const lowerMs = Math.max(one.lowerMs, other.lowerMs);
      const upperMs = Math.min(one.upperMs, other.upperMs);
      return lowerMs < upperMs ? [{ lowerMs, upperMs, isWhole: one.isWhole && other.isWhole }] : [];
    }),
  );
}
