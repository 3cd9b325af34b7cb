import type { ClientBase } from 'pg';

/** Partition with bounds in milliseconds since 1970, null for none. */
export interface Partition {
  oid: number;
  /** Name, quoted where needed for a statement. */
  name: string;
  lowerMs: number | null;
  upperMs: number | null;
  /** Unfinished DETACH CONCURRENTLY: hidden from new statements, it still occupies its range. */
  isDetaching: boolean;
}

/** Bound with its offset, independent of the session's time zone. */
const boundMs = (side: 'FROM' | 'TO') =>
  `(extract(epoch FROM (regexp_match(b.bound, '${side} \\(''([^'']+)''\\)'))[1]::timestamptz) * 1000)::float8`;

export async function findPartitions(client: ClientBase, table: string): Promise<Partition[]> {
  const { rows } = await client.query<Partition>(
    `SELECT c.oid::int8::float8 AS oid, c.oid::regclass::text AS name, ${boundMs('FROM')} AS "lowerMs",
            ${boundMs('TO')} AS "upperMs", i.inhdetachpending AS "isDetaching"
     FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
     CROSS JOIN LATERAL (SELECT pg_get_expr(c.relpartbound, c.oid) AS bound) b
     WHERE i.inhparent = $1::regclass ORDER BY 3 NULLS FIRST, 2`,
    [table],
  );
  return rows;
}

/** Tells whether a partition includes an instant (milliseconds since 1970). */
export function covers({ lowerMs, upperMs }: Partition, instantMs: number): boolean {
  return (lowerMs === null || lowerMs <= instantMs) && (upperMs === null || instantMs < upperMs);
}

const EXPIRED_COMMENT = 'upkeep: expired partition of';

/** Detached table to be dropped, with its former upper bound. */
export interface Leftover {
  name: string;
  upperMs: number;
}

/**
 * Marks a partition, before it is detached, for removal: a table that an operator detached to keep has no such comment.
 */
export async function markExpired(
  client: ClientBase,
  table: string,
  { name, upperMs }: { name: string; upperMs: number },
): Promise<void> {
  // Comments take no parameters. The table comes from our code, the bound is made of digits.
  const until = new Date(upperMs).toISOString();
  await client.query(`COMMENT ON TABLE ${name} IS '${EXPIRED_COMMENT} ${table} until ${until}'`);
}

/** Finds tables with that comment that are no longer partitions. */
export async function findLeftoverPartitions(
  client: ClientBase,
  table: string,
): Promise<Leftover[]> {
  const { rows } = await client.query<{ name: string; until: string }>(
    `SELECT c.oid::regclass::text AS name, substr(d.description, length($2) + 1) AS until
     FROM pg_class c JOIN pg_description d
       ON d.objoid = c.oid AND d.classoid = 'pg_class'::regclass AND d.objsubid = 0
     WHERE c.relkind = 'r' AND NOT c.relispartition AND starts_with(d.description, $2)
       AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = $1::regclass)
     ORDER BY 1`,
    [table, `${EXPIRED_COMMENT} ${table} until `],
  );
  return rows
    .map(({ name, until }) => ({ name, upperMs: Date.parse(until) }))
    .filter(({ upperMs }) => !Number.isNaN(upperMs));
}
