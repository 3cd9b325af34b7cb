import type { ClientBase } from 'pg';

/** A partition in the catalogue. Bounds are milliseconds since 1970; null when there is none on that side. */
export interface Partition {
  oid: number;
  /** Quoted where needed, so it may stand in a statement. */
  name: string;
  lowerMs: number | null;
  upperMs: number | null;
  /**
   * Its DETACH CONCURRENTLY was begun and not finished: new statements do not see it, and it still occupies its range.
   */
  isDetaching: boolean;
}

/** A bound of `pg_get_expr(relpartbound)`, always with its offset: the time zone of the session does not matter. */
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

/** Whether a partition takes rows of this instant (milliseconds since 1970). */
export function covers({ lowerMs, upperMs }: Partition, instantMs: number): boolean {
  return (lowerMs === null || lowerMs <= instantMs) && (upperMs === null || instantMs < upperMs);
}

/** The beginning of the comment of an expired partition. */
const EXPIRED_COMMENT = 'upkeep: expired partition of';

/** A detached table that is to be dropped; `upperMs` was its upper bound. */
export interface Leftover {
  name: string;
  upperMs: number;
}

/**
 * Comments on a partition, before it is detached, that it is to be dropped: a table that an operator detached, in order
 * to keep it, has no such comment and is left alone.
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

/** Tables with that comment that are partitions no more. */
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
