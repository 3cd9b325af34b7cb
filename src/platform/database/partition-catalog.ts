import type { ClientBase } from 'pg';

/** Partition with its bounds in milliseconds since 1970; null for no bound. */
export interface Partition {
  oid: number;
  /** Name for a statement, quoted if necessary. */
  name: string;
  lowerMs: number | null;
  upperMs: number | null;
  /** True while DETACH CONCURRENTLY is unfinished: new statements do not see the partition, which occupies its range. */
  isDetaching: boolean;
}

/** SQL of a bound; its text has an offset, so that the session's time zone does not matter. */
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

/** Detached table that is to be dropped, with its former upper bound. */
export interface Leftover {
  name: string;
  upperMs: number;
}

/**
 * Marks a partition for removal by a comment, before it is detached: a table that an operator has detached has none.
 */
export async function markExpired(
  client: ClientBase,
  table: string,
  { name, upperMs }: { name: string; upperMs: number },
): Promise<void> {
  // COMMENT takes no parameters: the table's name comes from our code, and the bound is digits.
  const until = new Date(upperMs).toISOString();
  await client.query(`COMMENT ON TABLE ${name} IS '${EXPIRED_COMMENT} ${table} until ${until}'`);
}

/** Finds tables with the comment that are no partitions any more. */
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
