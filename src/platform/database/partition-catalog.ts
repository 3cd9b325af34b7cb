import type { ClientBase } from 'pg';

/** A partition as the catalogue knows it. Bounds are milliseconds since 1970; null when there is none on that side. */
export interface Partition {
  oid: number;
  /** Quoted where needed, so it may stand in a statement. */
  name: string;
  lowerMs: number | null;
  upperMs: number | null;
  /** Its DETACH CONCURRENTLY was begun and not finished: new statements see neither it nor a place for its rows. */
  isDetaching: boolean;
}

/** A bound of `pg_get_expr(relpartbound)`: always with its offset, so the time zone of the session does not matter. */
const boundMs = (side: 'FROM' | 'TO') =>
  `(extract(epoch FROM (regexp_match(b.bound, '${side} \\(''([^'']+)''\\)'))[1]::timestamptz) * 1000)::float8`;

/** The partitions of a table, oldest first. */
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

/** Whether a partition takes rows of this instant (milliseconds since 1970). */
export function covers({ lowerMs, upperMs }: Partition, instantMs: number): boolean {
  return (lowerMs === null || lowerMs <= instantMs) && (upperMs === null || instantMs < upperMs);
}

/** What the comment of a partition begins with from the moment on that its time is up. */
const MARK = 'upkeep: expired partition of';

/** A table that was a partition and is to be dropped; `upperMs` was its upper bound. */
export interface Leftover {
  name: string;
  upperMs: number;
}

/**
 * Notes on a partition, before it is detached, that it is ours to drop afterwards: a table that an operator detached,
 * in order to keep it somewhere, carries no such mark and is left alone.
 */
export async function markExpired(
  client: ClientBase,
  table: string,
  { name, upperMs }: { name: string; upperMs: number },
): Promise<void> {
  // A comment cannot be bound. The table comes from our code, the bound is made of digits.
  const until = new Date(upperMs).toISOString();
  await client.query(`COMMENT ON TABLE ${name} IS '${MARK} ${table} until ${until}'`);
}

/** The marked tables that are partitions no more. */
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
    [table, `${MARK} ${table} until `],
  );
  return rows
    .map(({ name, until }) => ({ name, upperMs: Date.parse(until) }))
    .filter(({ upperMs }) => !Number.isNaN(upperMs));
}
