import { totalmem } from 'node:os';
import type { ClientBase } from 'pg';
import { lockShortage } from '../platform/database/lock-table';
import type { ConfigRecommendationDto } from './dto/responses.dto';

const MB = 1024 * 1024;
/** Share of memory that https://www.postgresql.org/docs/current/runtime-config-resource.html recommends to start with. */
const SHARED_BUFFERS_SHARE = 0.25;
const SMALL_SHARE = 0.1;
const RESERVED_CONNECTIONS = 5;

interface Figures {
  connections: number;
  databaseBytes: number;
  /** Partitions of the table that has most of them. */
  partitions: number;
  /** Percent; null before the first read. */
  hitPercent: number | null;
  isHere: boolean;
  timedCheckpoints: number;
  forcedCheckpoints: number;
}

interface Facts extends Figures {
  /** Value at the start of a session, in bytes for memory; undefined when our role may not see it. */
  text: (setting: string) => string | undefined;
  number: (setting: string) => number;
  /** Bytes of the server's memory; undefined when it runs on another machine. */
  memoryBytes: number | undefined;
  poolMax: number;
}

interface Rule {
  setting: string;
  isPoor: (facts: Facts) => boolean;
  recommended: string | ((facts: Facts) => string);
  reason: string | ((facts: Facts) => string);
  show?: (value: string) => string;
}

const RULES: Rule[] = [
  {
    setting: 'shared_buffers',
    show: inMegabytes,
    isPoor: ({ number, memoryBytes = 0, databaseBytes }) =>
      databaseBytes > number('shared_buffers') &&
      number('shared_buffers') < SMALL_SHARE * memoryBytes,
    recommended: ({ memoryBytes = 0 }) => inMegabytes(SHARED_BUFFERS_SHARE * memoryBytes),
    reason: ({ number, memoryBytes = 0 }) =>
      `It is ${Math.round((100 * number('shared_buffers')) / memoryBytes)} % of the memory of the machine; a quarter is a reasonable start for a server of its own.`,
  },
  {
    setting: 'shared_buffers',
    show: inMegabytes,
    isPoor: ({ number, memoryBytes, databaseBytes, hitPercent }) =>
      memoryBytes === undefined &&
      databaseBytes > number('shared_buffers') &&
      (hitPercent ?? 100) < 95,
    recommended: 'a quarter of the memory of the server',
    reason: ({ hitPercent, databaseBytes }) =>
      `Only ${hitPercent?.toFixed(1)} % of pages were found in it, and the database has ${inMegabytes(databaseBytes)}.`,
  },
  {
    setting: 'effective_cache_size',
    show: inMegabytes,
    isPoor: ({ number }) => number('effective_cache_size') < number('shared_buffers'),
    recommended: ({ number }) => inMegabytes(2 * number('shared_buffers')),
    reason: 'It is less than shared_buffers alone, so index scans look dearer than they are.',
  },
  {
    setting: 'max_wal_size',
    show: inMegabytes,
    isPoor: ({ forcedCheckpoints, timedCheckpoints }) =>
      forcedCheckpoints >= 10 && forcedCheckpoints > timedCheckpoints,
    recommended: ({ number }) => inMegabytes(2 * number('max_wal_size')),
    reason: ({ forcedCheckpoints, timedCheckpoints }) =>
      `${forcedCheckpoints} of ${forcedCheckpoints + timedCheckpoints} checkpoints were forced, by the amount of WAL or by hand, rather than by time.`,
  },
  {
    setting: 'checkpoint_completion_target',
    isPoor: ({ number }) => number('checkpoint_completion_target') < 0.9,
    recommended: '0.9',
    reason: 'Checkpoints write faster than they have to, and writers wait for the disk.',
  },
  {
    setting: 'random_page_cost',
    isPoor: ({ number, hitPercent }) => number('random_page_cost') >= 4 && (hitPercent ?? 0) >= 99,
    recommended: '1.1',
    reason: ({ hitPercent }) =>
      `4 is for spinning disks, and ${hitPercent?.toFixed(1)} % of pages are found in memory anyway: index scans look dearer than they are.`,
  },
  {
    setting: 'max_connections',
    isPoor: (facts) => wantedConnections(facts) > 0.9 * facts.number('max_connections'),
    recommended: (facts) => String(Math.ceil(1.5 * wantedConnections(facts))),
    reason: ({ connections, poolMax }) =>
      `${connections} connections are open and this process alone may open ${poolMax}; lower DATABASE_POOL_MAX or raise this.`,
  },
  {
    // All connections share a table with so many locks for each.
    setting: 'max_locks_per_transaction',
    isPoor: (facts) => shortageIn(facts) !== undefined,
    recommended: (facts) => String(shortageIn(facts)?.recommended),
    reason: (facts) => shortageIn(facts)?.reason ?? '',
  },
  {
    setting: 'shared_preload_libraries',
    show: (value) => value || '(empty)',
    isPoor: ({ text }) =>
      text('shared_preload_libraries')?.includes('pg_stat_statements') === false,
    recommended: ({ text }) =>
      [text('shared_preload_libraries'), 'pg_stat_statements'].filter(Boolean).join(','),
    reason: 'Without pg_stat_statements it is unknown which statements are slow.',
  },
  mustBeOn('autovacuum', 'Dead rows and old transaction ids pile up until the server stops.'),
  mustBeOn('track_counts', 'Without it autovacuum does nothing and this report knows nothing.'),
  mustBeOn('fsync', 'A power cut may destroy the database.'),
  mustBeOn('full_page_writes', 'A power cut may destroy pages that were being written.'),
  mustBeOn('synchronous_commit', 'Events that were acknowledged are lost in a power cut.'),
];

/**
 * Advises other settings of PostgreSQL where the figures call for them; not for the memory of another machine and the kind
 * of its disks, which cannot be queried.
 */
export async function adviseSettings(
  client: ClientBase,
  poolMax: number,
): Promise<ConfigRecommendationDto[]> {
  const facts = await readFacts(client, poolMax);
  const textOf = (text: string | ((facts: Facts) => string)) =>
    typeof text === 'string' ? text : text(facts);
  return RULES.filter(({ isPoor }) => isPoor(facts)).map(
    ({ setting, show = String, recommended, reason }) => ({
      setting,
      currentValue: show(facts.text(setting) ?? ''),
      recommendedValue: textOf(recommended),
      reason: textOf(reason),
    }),
  );
}

async function readFacts(client: ClientBase, poolMax: number): Promise<Facts> {
  // `reset_val` excludes the settings of this session.
  const settings = await client.query<{ name: string; value: string }>(
    `SELECT name, CASE unit WHEN '8kB' THEN (reset_val::int8 * 8192)::text WHEN 'kB' THEN (reset_val::int8 * 1024)::text
       WHEN 'MB' THEN (reset_val::int8 * 1048576)::text ELSE reset_val END AS value
     FROM pg_settings`,
  );
  const values = new Map(settings.rows.map(({ name, value }) => [name, value]));
  const { rows } = await client.query<Figures>(
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
  const [figures] = rows as [Figures];
  return {
    ...figures,
    poolMax,
    memoryBytes: figures.isHere ? totalmem() : undefined,
    text: (setting) => values.get(setting),
    number: (setting) => Number(values.get(setting)),
  };
}

/** Selects the counters of checkpoints, which are in a separate view since PostgreSQL 17. */
async function checkpointCounters(client: ClientBase): Promise<string> {
  const { rows } = await client.query<{ isNew: boolean }>(
    `SELECT to_regclass('pg_catalog.pg_stat_checkpointer') IS NOT NULL AS "isNew"`,
  );
  const [timed, forced, view] = rows[0]?.isNew
    ? ['num_timed', 'num_requested', 'pg_stat_checkpointer']
    : ['checkpoints_timed', 'checkpoints_req', 'pg_stat_bgwriter'];
  return `(SELECT ${timed} FROM ${view})::float8 AS "timedCheckpoints",
          (SELECT ${forced} FROM ${view})::float8 AS "forcedCheckpoints"`;
}

function mustBeOn(setting: string, reason: string): Rule {
  return { setting, isPoor: ({ text }) => text(setting) === 'off', recommended: 'on', reason };
}

const wantedConnections = ({ connections, poolMax }: Facts) =>
  Math.max(connections, poolMax) + RESERVED_CONNECTIONS;

const shortageIn = ({ number, poolMax, partitions }: Facts) =>
  lockShortage(
    {
      locksPerTransaction: number('max_locks_per_transaction'),
      connections: number('max_connections'),
    },
    poolMax,
    partitions,
  );

function inMegabytes(bytes: number | string): string {
  return `${Math.round(Number(bytes) / MB)}MB`;
}
