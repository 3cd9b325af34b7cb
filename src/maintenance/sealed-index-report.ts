import type { ClientBase } from 'pg';
import type { MaintainedTables } from '../platform/database/maintained-tables';
import { findPartitions } from '../platform/database/partition-catalog';
import { findSeals } from '../platform/database/seals';
import { outermost, rangesOf } from './seal-plan';

/** Sums over all tables of sealed indexes, and of the events outside them. */
export interface SealedIndexFigures {
  indexes: number;
  bytes: number;
  /** Estimate of the events of partitions, those to come aside, that no index holds. */
  unsealedEvents: number;
}

export async function measureSealedIndexes(
  client: ClientBase,
  tables: MaintainedTables,
): Promise<SealedIndexFigures> {
  const figures: SealedIndexFigures = { indexes: 0, bytes: 0, unsealedEvents: 0 };
  for (const { table, sealedIndexes = [] } of tables.partitioned()) {
    if (sealedIndexes.length === 0) continue;
    const partitions = await findPartitions(client, table);
    const seals = (await findSeals(client, table, sealedIndexes, true)).filter(
      ({ isValid, isCurrent }) => isValid && isCurrent,
    );
    const { rows } = await client.query<{ oid: number; rows: number }>(
      `SELECT inhrelid::int8::float8 AS oid,
              greatest(c.reltuples, pg_stat_get_live_tuples(c.oid), 0)::float8 AS rows
       FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = $1::regclass`,
      [table],
    );
    const rowsOf = new Map(rows.map((row) => [row.oid, row.rows]));
    figures.indexes += seals.length;
    figures.bytes += seals.reduce((sum, { bytes }) => sum + bytes, 0);
    for (const { oid, isDetaching } of partitions) {
      if (isDetaching) continue;
      const own = seals.filter(({ partition }) => partition === oid);
      if (own.some(({ range }) => range === undefined)) continue;
      const held = outermost(rangesOf(own)).reduce((sum, range) => sum + range.rows, 0);
      figures.unsealedEvents += Math.max(0, Math.round((rowsOf.get(oid) ?? 0) - held));
    }
  }
  return figures;
}
