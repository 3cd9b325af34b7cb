import { totalmem } from 'node:os';
import type { ClientBase } from 'pg';
import type { ConfigRecommendationDto } from './dto/optimization-result.dto';

const MB = 1024 * 1024;
/** https://www.postgresql.org/docs/current/runtime-config-resource.html: a quarter of the memory is a reasonable start. */
const SHARED_BUFFERS_SHARE = 0.25;
const SMALL_SHARE = 0.1;
const RESERVED_CONNECTIONS = 5;
/** A statement that does not bound time locks a partition and, while it is planned, its three indexes. */
const LOCKS_PER_PARTITION = 4;

/** What the advice is made from. */
interface Facts {
  settings: ReadonlyMap<string, string>;
  /** Bytes of memory of the server; undefined when it is another machine. */
  memoryBytes: number | undefined;
  connections: number;
  timedCheckpoints: number;
  forcedCheckpoints: number;
  hitPercent: number | undefined;
  databaseBytes: number;
  /** Of the table that has most. */
  partitions: number;
  poolMax: number;
}

type Rule = (facts: Facts) => ConfigRecommendationDto | undefined;

/**
 * Settings of PostgreSQL that the figures speak against. Only those of which something is known: the memory of a server
 * on another machine, or the kind of its disks, cannot be asked for.
 */
export async function adviseSettings(
  client: ClientBase,
  poolMax: number,
): Promise<ConfigRecommendationDto[]> {
  const facts = await gather(client, poolMax);
  return RULES.flatMap((rule) => rule(facts) ?? []);
}

async function gather(client: ClientBase, poolMax: number): Promise<Facts> {
  // What sessions begin with: this one may have settings of its own.
  const { rows } = await client.query<{ name: string; value: string }>(
    `SELECT name, CASE unit WHEN '8kB' THEN (reset_val::int8 * 8192)::text WHEN 'kB' THEN (reset_val::int8 * 1024)::text
       WHEN 'MB' THEN (reset_val::int8 * 1048576)::text ELSE reset_val END AS value
     FROM pg_settings`,
  );
  const settings = new Map(rows.map(({ name, value }) => [name, value]));
  const figures = await client.query<
    Omit<Facts, 'settings' | 'memoryBytes' | 'poolMax'> & { isHere: boolean }
  >(
    `SELECT (SELECT sum(numbackends) FROM pg_stat_database)::float8 AS connections,
            pg_database_size(current_database())::float8 AS "databaseBytes",
            (SELECT coalesce(max(n), 0) FROM (
               SELECT count(*) AS n FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
               WHERE c.relkind = 'r' GROUP BY i.inhparent) p)::float8 AS partitions,
            (SELECT 100.0 * blks_hit / nullif(blks_hit + blks_read, 0) FROM pg_stat_database
             WHERE datname = current_database())::float8 AS "hitPercent",
            coalesce(inet_server_addr() <<= '127.0.0.0/8' OR inet_server_addr() = '::1', true) AS "isHere",
            ${await checkpointCounters(client)}`,
  );
  const [row] = figures.rows;
  return {
    settings,
    poolMax,
    memoryBytes: row?.isHere === true ? totalmem() : undefined,
    connections: row?.connections ?? 0,
    timedCheckpoints: row?.timedCheckpoints ?? 0,
    forcedCheckpoints: row?.forcedCheckpoints ?? 0,
    hitPercent: row?.hitPercent ?? undefined,
    databaseBytes: row?.databaseBytes ?? 0,
    partitions: row?.partitions ?? 0,
  };
}

/** They moved to a view of their own in PostgreSQL 17. */
async function checkpointCounters(client: ClientBase): Promise<string> {
  const { rows } = await client.query<{ isNew: boolean }>(
    `SELECT to_regclass('pg_catalog.pg_stat_checkpointer') IS NOT NULL AS "isNew"`,
  );
  return rows[0]?.isNew === true
    ? `(SELECT num_timed FROM pg_stat_checkpointer)::float8 AS "timedCheckpoints",
       (SELECT num_requested FROM pg_stat_checkpointer)::float8 AS "forcedCheckpoints"`
    : `(SELECT checkpoints_timed FROM pg_stat_bgwriter)::float8 AS "timedCheckpoints",
       (SELECT checkpoints_req FROM pg_stat_bgwriter)::float8 AS "forcedCheckpoints"`;
}

const mustBeOn =
  (setting: string, reason: string): Rule =>
  ({ settings }) => {
    const currentValue = settings.get(setting);
    if (currentValue !== 'off') return undefined;
    return { setting, currentValue, recommendedValue: 'on', reason };
  };

const sharedBuffers: Rule = ({ settings, memoryBytes, hitPercent, databaseBytes }) => {
  const bytes = Number(settings.get('shared_buffers'));
  const setting = 'shared_buffers';
  const currentValue = inMegabytes(bytes);
  if (databaseBytes <= bytes) return undefined; // it holds everything there is
  if (memoryBytes !== undefined && bytes < SMALL_SHARE * memoryBytes) {
    return {
      setting,
      currentValue,
      recommendedValue: inMegabytes(SHARED_BUFFERS_SHARE * memoryBytes),
      reason: `It is ${Math.round((100 * bytes) / memoryBytes)} % of the memory of the machine; a quarter is a reasonable start for a server of its own.`,
    };
  }
  if (memoryBytes === undefined && hitPercent !== undefined && hitPercent < 95) {
    return {
      setting,
      currentValue,
      recommendedValue: 'a quarter of the memory of the server',
      reason: `Only ${hitPercent.toFixed(1)} % of pages were found in it, and the database has ${inMegabytes(databaseBytes)}.`,
    };
  }
  return undefined;
};

const effectiveCacheSize: Rule = ({ settings }) => {
  const bytes = Number(settings.get('effective_cache_size'));
  const buffers = Number(settings.get('shared_buffers'));
  if (bytes >= buffers) return undefined;
  return {
    setting: 'effective_cache_size',
    currentValue: inMegabytes(bytes),
    recommendedValue: inMegabytes(2 * buffers),
    reason: 'It is less than shared_buffers alone, so index scans look dearer than they are.',
  };
};

const walSize: Rule = ({ settings, timedCheckpoints, forcedCheckpoints }) => {
  if (forcedCheckpoints < 10 || forcedCheckpoints <= timedCheckpoints) return undefined;
  const bytes = Number(settings.get('max_wal_size'));
  return {
    setting: 'max_wal_size',
    currentValue: inMegabytes(bytes),
    recommendedValue: inMegabytes(2 * bytes),
    reason: `${forcedCheckpoints} of ${forcedCheckpoints + timedCheckpoints} checkpoints were forced, by the amount of WAL or by hand, rather than by time.`,
  };
};

const checkpointTarget: Rule = ({ settings }) => {
  const currentValue = settings.get('checkpoint_completion_target') ?? '0.9';
  if (Number(currentValue) >= 0.9) return undefined;
  const reason = 'Checkpoints write faster than they have to, and writers wait for the disk.';
  return { setting: 'checkpoint_completion_target', currentValue, recommendedValue: '0.9', reason };
};

const randomPageCost: Rule = ({ settings, hitPercent }) => {
  const currentValue = settings.get('random_page_cost') ?? '4';
  if (Number(currentValue) < 4 || hitPercent === undefined || hitPercent < 99) return undefined;
  return {
    setting: 'random_page_cost',
    currentValue,
    recommendedValue: '1.1',
    reason: `4 is for spinning disks, and ${hitPercent.toFixed(1)} % of pages are found in memory anyway: index scans look dearer than they are.`,
  };
};

const maxConnections: Rule = ({ settings, connections, poolMax }) => {
  const max = Number(settings.get('max_connections'));
  const wanted = Math.max(connections, poolMax) + RESERVED_CONNECTIONS;
  if (wanted <= 0.9 * max) return undefined;
  return {
    setting: 'max_connections',
    currentValue: String(max),
    recommendedValue: String(Math.ceil(1.5 * wanted)),
    reason: `${connections} connections are open and this process alone may open ${poolMax}; lower DATABASE_POOL_MAX or raise this.`,
  };
};

/** The table of locks has max_locks_per_transaction of them for each connection, and is shared by all. */
const maxLocks: Rule = ({ settings, partitions, poolMax }) => {
  const max = Number(settings.get('max_locks_per_transaction'));
  const connections = Number(settings.get('max_connections'));
  const wanted = poolMax * partitions * LOCKS_PER_PARTITION;
  if (wanted <= max * connections) return undefined;
  return {
    setting: 'max_locks_per_transaction',
    currentValue: String(max),
    recommendedValue: String(2 ** Math.ceil(Math.log2(wanted / connections))),
    reason: `${poolMax} connections of this process that each read all of ${partitions} partitions need ${wanted} locks, and there are ${max * connections}: beyond, statements fail with "out of shared memory".`,
  };
};

const statements: Rule = ({ settings }) => {
  const currentValue = settings.get('shared_preload_libraries');
  if (currentValue === undefined || currentValue.includes('pg_stat_statements')) return undefined;
  return {
    setting: 'shared_preload_libraries',
    currentValue: currentValue === '' ? '(empty)' : currentValue,
    recommendedValue: [currentValue, 'pg_stat_statements'].filter(Boolean).join(','),
    reason: 'Without pg_stat_statements nobody can tell which statements are slow.',
  };
};

const RULES: Rule[] = [
  sharedBuffers,
  effectiveCacheSize,
  walSize,
  checkpointTarget,
  randomPageCost,
  maxConnections,
  maxLocks,
  statements,
  mustBeOn('autovacuum', 'Dead rows and old transaction ids pile up until the server stops.'),
  mustBeOn('track_counts', 'Without it autovacuum does nothing and this report knows nothing.'),
  mustBeOn('fsync', 'A power cut may destroy the database.'),
  mustBeOn('full_page_writes', 'A power cut may destroy pages that were being written.'),
  mustBeOn('synchronous_commit', 'Events that were acknowledged are lost in a power cut.'),
];

function inMegabytes(bytes: number): string {
  return `${Math.round(bytes / MB)}MB`;
}
