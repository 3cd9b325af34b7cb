import type { PostgresServer } from '../support/postgres-cluster';

/** An event as PostgreSQL has it. */
export interface StoredRow {
  organization: string;
  sequence: number;
  id: string;
  /** The `correlationId`, by which the ledger knows it. */
  mark: string;
  /** Microseconds since 1970, as text. */
  micros: string;
  /** The head of its organization. */
  lastSequence: number;
}

/** Every event of these organizations, or of all, in the order of their numbers. */
export async function storedRows(
  server: PostgresServer,
  organizations?: readonly string[],
): Promise<StoredRow[]> {
  return server.query<StoredRow & Record<string, unknown>>(
    `SELECT e.organization_id AS organization, e.sequence::int AS sequence, e.id::text AS id,
            e.correlation_id AS mark, (extract(epoch FROM e.timestamp) * 1000000)::bigint::text AS micros,
            o.last_sequence::int AS "lastSequence"
     FROM audit_event e JOIN audit_organization o USING (organization_id)
     WHERE $1::text[] IS NULL OR e.organization_id = ANY($1) ORDER BY 1, 2`,
    [organizations ?? null],
  );
}
