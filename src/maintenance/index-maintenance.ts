import type { ClientBase } from 'pg';
import type { IndexOptimizationDto, ReindexResultDto } from './dto/responses.dto';
import { SEALED_NAME } from '../platform/database/seals';
import { type MaintenanceRun, OWN_RELATIONS, report, SERVICE_RELATIONS } from './maintenance-run';

/** Minimum of bytes of an index that may be bloated; smaller ones fit into a few reads. */
const LEAST_BYTES = 1024 * 1024;
/** Minimum of scans of a table from which an unused index counts as useless. */
const LEAST_TABLE_SCANS = 1000;
/** Minimum of rows of a sequential scan from which an index is missing. */
const LONG_SCAN_ROWS = 50_000;
const MANY_SCANS = 100;
/** Bloat from which an index is rebuilt. Pages that split in the middle stay two thirds full: that is 25 % here, and normal. */
const BLOATED_PERCENT = 50;
/** Multiple of its size after the last rebuild, below which an index gains nothing by another. */
const GROWN = 1.2;
/** Time reserved for removing the leftovers of a cancelled rebuild. */
const REMOVAL_MS = 2000;
/**
 * Limit of a wait for a lock. Less than `deadlock_timeout` (1 s), after which PostgreSQL would end this statement, or a REINDEX that waits for its
 * transaction.
 */
const REMOVAL_LOCK_MS = 500;

interface IndexState {
  name: string;
  table: string;
  sizeBytes: number;
  expectedBytes: number;
}

export class IndexMaintenance {
  /** Sizes of indexes right after a rebuild by this process; by name, as a rebuilt index has another oid. */
  private readonly rebuilt = new Map<string, number>();

  /** Removes leftovers of interrupted rebuilds (`removed`), unless their table is in use. */
  async rebuildBloated(
    run: MaintenanceRun,
  ): Promise<{ rebuilt: ReindexResultDto[]; removed: IndexOptimizationDto[] }> {
    const rebuilt: ReindexResultDto[] = [];
    const removed: IndexOptimizationDto[] = [];
    const indexes = await run.read(findIndexes);
    if (!indexes.found) removed.push(unseenIndexes(indexes.skipped));
    for (const { name, table, sizeBytes, expectedBytes } of indexes.found ?? []) {
      const percent = Math.round(100 * (1 - expectedBytes / sizeBytes));
      if (percent < BLOATED_PERCENT) continue;
      if (sizeBytes <= GROWN * (this.rebuilt.get(name) ?? 0)) continue;
      const statement = `REINDEX INDEX CONCURRENTLY ${name}`;
      const { durationMs, skipped } = await run.run(statement, { spareMs: REMOVAL_MS });
      if (skipped !== undefined) removed.push(...(await removeLeftoverIndexes(run)));
      const { found: after = sizeBytes } = await run.read((client) => sizeOf(client, name));
      if (skipped === undefined) this.rebuilt.set(name, after);
      const due = `About ${percent} % of its ${megabytes(sizeBytes)} MB are empty (estimated).`;
      rebuilt.push({
        index: name,
        table,
        ...report('done', due, skipped),
        sizeBytesBefore: sizeBytes,
        sizeBytesAfter: after,
        estimatedBloatPercent: percent,
        durationMs,
      });
    }
    return { rebuilt, removed };
  }
}

/**
 * Finds leftovers: an interrupted REINDEX CONCURRENTLY leaves an invalid index (new `_ccnew`, old `_ccold`), which every
 * insert writes. Locked ones are under construction, and are skipped.
 */
export async function removeLeftoverIndexes(run: MaintenanceRun): Promise<IndexOptimizationDto[]> {
  const { found: leftovers = [] } = await run.read(findLeftoverIndexes);
  const results: IndexOptimizationDto[] = [];
  for (const leftover of leftovers) {
    const { skipped } = await run.run(`DROP INDEX CONCURRENTLY ${leftover.index}`, {
      lockTimeoutMs: REMOVAL_LOCK_MS,
    });
    const due = 'Left behind by a REINDEX that was interrupted.';
    results.push({ ...leftover, ...report('dropped', due, skipped) });
  }
  return results;
}

export function unseenIndexes(reason: string): IndexOptimizationDto {
  return { index: '(all)', table: '(all)', action: 'skipped', reason, sizeBytes: 0 };
}

/**
 * Finds valid b-tree indexes over a megabyte, and estimates their size after a rebuild: rows times the average width of
 * their columns (pg_stats), with 8 bytes of header, 4 of line pointer and padding for each row, at their fill factor
 * (90 %). That equal keys share a header is ignored, so bloat is rather underestimated.
 */
async function findIndexes(client: ClientBase): Promise<IndexState[]> {
  const { rows } = await client.query<IndexState>(
    `SELECT c.oid::regclass::text AS name, x.indrelid::regclass::text AS table,
            pg_relation_size(c.oid)::float8 AS "sizeBytes",
            (8192 * (2 + ceil(c.reltuples * (12 + 8 * ceil((w.width + 4 * (x.indnatts - 1)) / 8))
              / (8152 * coalesce((SELECT option_value::float8 FROM pg_options_to_table(c.reloptions)
                                  WHERE option_name = 'fillfactor'), 90) / 100))))::float8 AS "expectedBytes"
     FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
     JOIN pg_am am ON am.oid = c.relam AND am.amname = 'btree'
     CROSS JOIN LATERAL (
       SELECT sum(coalesce(s.avg_width * (1 - s.null_frac), nullif(a.attlen, -1)::float8, 32)) AS width
       FROM pg_attribute a
       JOIN pg_class t ON t.oid = x.indrelid
       LEFT JOIN pg_attribute ta ON ta.attrelid = t.oid AND ta.attnum = x.indkey[a.attnum - 1] AND ta.attnum > 0
       LEFT JOIN pg_stats s ON s.schemaname = t.relnamespace::regnamespace::text AND NOT s.inherited
         AND s.tablename = CASE WHEN ta.attname IS NULL THEN c.relname ELSE t.relname END
         AND s.attname = coalesce(ta.attname, a.attname)
       WHERE a.attrelid = c.oid
     ) w
     WHERE c.relkind = 'i' AND x.indisvalid AND NOT x.indisexclusion AND c.reltuples >= 0 AND ${OWN_RELATIONS}
       AND pg_relation_size(c.oid) >= $1
     ORDER BY 3 DESC`,
    [LEAST_BYTES],
  );
  return rows;
}

async function findLeftoverIndexes(
  client: ClientBase,
): Promise<Pick<IndexOptimizationDto, 'index' | 'table' | 'sizeBytes'>[]> {
  const { rows } = await client.query<{ index: string; table: string; sizeBytes: number }>(
    `SELECT c.oid::regclass::text AS index, x.indrelid::regclass::text AS table,
            pg_relation_size(c.oid)::float8 AS "sizeBytes"
     FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
     WHERE NOT x.indisvalid AND c.relkind = 'i' AND c.relname ~ '_cc(new|old)\\d*$' AND ${OWN_RELATIONS}`,
  );
  return rows;
}

async function sizeOf(client: ClientBase, name: string): Promise<number> {
  const { rows } = await client.query<{ size: number }>(
    'SELECT pg_relation_size(to_regclass($1))::float8 AS size',
    [name],
  );
  return rows[0]?.size ?? 0;
}

interface IndexUsage {
  /** Indexes that were never used and belong to no constraint. */
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
 * Ranks indexes by PostgreSQL's counters. The indexes of all partitions count together, as one that is not used in an old
 * month may be used in the newest. Indexes of constraints are needed anyway, and sealed ones may be needed after years.
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
     WHERE x.indisvalid AND ${SERVICE_RELATIONS} AND c.relname !~ '${SEALED_NAME}'
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
     WHERE c.relkind = 'r' AND ${SERVICE_RELATIONS}
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

function megabytes(bytes: number): string {
  return (bytes / 1024 / 1024).toFixed(1);
}
