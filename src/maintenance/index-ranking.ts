import type { ClientBase } from 'pg';
import type { IndexOptimizationDto } from './dto/optimization-result.dto';
import { OWN_RELATIONS } from './own-relations';

/** With fewer scans of its table an unused index proves nothing. */
const LEAST_TABLE_SCANS = 1000;
const LEAST_BYTES = 1024 * 1024;
/** Sequential scans that each read this many rows lack an index. */
const LONG_SCAN_ROWS = 50_000;
const MANY_SCANS = 100;

export interface IndexUsage {
  /** Indexes that were never used, and hold no constraint. */
  unused: number;
  suggestions: IndexOptimizationDto[];
}

interface UnusedIndex {
  index: string;
  table: string;
  partitions: number;
  sizeBytes: number;
  tableScans: number;
}

interface ScannedTable {
  table: string;
  scans: number;
  rows: number;
  indexScans: number;
  sizeBytes: number;
}

/**
 * Ranks indexes by PostgreSQL's counters. Partitions count together: an index unused in an old month serves the newest.
 * Indexes of constraints do more than being read.
 */
export async function rankIndexes(client: ClientBase): Promise<IndexUsage> {
  const since = await statisticsSince(client);
  const unused = await findUnused(client);
  const scanned = await findScanned(client);
  return {
    unused: unused.length,
    suggestions: [
      ...unused.map((index) => suggestUnused(index, since)),
      ...scanned.map((table) => suggestMissing(table, since)),
    ],
  };
}

async function statisticsSince(client: ClientBase): Promise<string> {
  const { rows } = await client.query<{ since: Date | null }>(
    'SELECT stats_reset AS since FROM pg_stat_database WHERE datname = current_database()',
  );
  const since = rows[0]?.since;
  return since ? `since ${since.toISOString()}` : 'since the database was created';
}

async function findUnused(client: ClientBase): Promise<UnusedIndex[]> {
  const { rows } = await client.query<UnusedIndex>(
    `SELECT i.root::regclass::text AS index, coalesce(pg_partition_root(min(x.indrelid::oid)), min(x.indrelid::oid))::regclass::text AS table,
            count(*)::int AS partitions, sum(pg_relation_size(c.oid))::float8 AS "sizeBytes",
            sum(t.seq_scan + coalesce(t.idx_scan, 0))::float8 AS "tableScans"
     FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
     JOIN pg_stat_user_indexes s ON s.indexrelid = c.oid
     JOIN pg_stat_user_tables t ON t.relid = x.indrelid
     CROSS JOIN LATERAL (SELECT coalesce(pg_partition_root(c.oid), c.oid::regclass)::oid AS root) i
     WHERE x.indisvalid AND ${OWN_RELATIONS}
     GROUP BY i.root
     HAVING sum(s.idx_scan) = 0 AND sum(t.n_live_tup) > 0
       AND NOT bool_or(x.indisunique OR x.indisprimary OR x.indisexclusion OR x.indisreplident OR x.indisclustered
         OR EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = x.indexrelid))
     ORDER BY 4 DESC`,
  );
  return rows;
}

async function findScanned(client: ClientBase): Promise<ScannedTable[]> {
  const { rows } = await client.query<ScannedTable>(
    `SELECT r.root::regclass::text AS table, sum(s.seq_scan)::float8 AS scans, sum(s.seq_tup_read)::float8 AS rows,
            sum(coalesce(s.idx_scan, 0))::float8 AS "indexScans", sum(pg_relation_size(c.oid))::float8 AS "sizeBytes"
     FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
     CROSS JOIN LATERAL (SELECT coalesce(pg_partition_root(c.oid), c.oid::regclass)::oid AS root) r
     WHERE c.relkind = 'r' AND ${OWN_RELATIONS}
     GROUP BY r.root
     HAVING sum(s.seq_scan) >= $1 AND sum(s.seq_tup_read) >= $2 * sum(s.seq_scan)
       AND sum(s.seq_scan) > sum(coalesce(s.idx_scan, 0)) / 10
     ORDER BY 3 DESC`,
    [MANY_SCANS, LONG_SCAN_ROWS],
  );
  return rows;
}

function suggestUnused(found: UnusedIndex, since: string): IndexOptimizationDto {
  const { index, table, partitions, sizeBytes, tableScans } = found;
  const where = partitions > 1 ? ` in all ${partitions} partitions together` : '';
  const evidence = `0 scans ${since}${where}, ${megabytes(sizeBytes)} MB, while its table was read ${tableScans} times`;
  const isEnough = tableScans >= LEAST_TABLE_SCANS && sizeBytes >= LEAST_BYTES;
  const advice = isEnough
    ? 'If read replicas do not use it either (they count for themselves), it only costs writes and may be dropped.'
    : 'Too little happened to judge it by.';
  return { index, table, action: 'suggested', reason: `${evidence}. ${advice}`, sizeBytes };
}

function suggestMissing(found: ScannedTable, since: string): IndexOptimizationDto {
  const { table, scans, rows, indexScans, sizeBytes } = found;
  const reason =
    `${scans} sequential scans ${since} read ${Math.round(rows / scans)} rows each, beside ${indexScans} index scans: ` +
    'see with EXPLAIN which queries do, and whether an index serves them.';
  return { index: '(none)', table, action: 'suggested', reason, sizeBytes };
}

export function megabytes(bytes: number): string {
  return (bytes / 1024 / 1024).toFixed(1);
}
