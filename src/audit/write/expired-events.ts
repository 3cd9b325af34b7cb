import type { ClientBase } from 'pg';
import { isLockTimeout, isRetryable } from '../../platform/database/database-errors';

/** Number of head rows that are locked at once; writers of their organizations wait for a few milliseconds. */
const BATCH_HEADS = 50;
const BATCH_EVENTS = 2000;
const ATTEMPTS = 5;

/**
 * Cleans up after events that retention has hidden in the table `hidden`; idempotent. First the versions of their
 * organizations change, so that no cached response shows the events (docs/adr/0007), then client-chosen ids are deleted.
 * Head rows stay, as a sequence never starts again.
 */
export async function forgetExpired(client: ClientBase, hidden: string): Promise<void> {
  await moveVersions(client, await findOrganizations(client, hidden));
  await forgetClientIds(client, hidden);
}

/** Finds an event recorded and dated between these moments, in milliseconds since 1970. */
export async function wasRecordedBetween(
  client: ClientBase,
  fromMs: number,
  toMs: number,
): Promise<boolean> {
  const { rowCount } = await client.query(
    `SELECT FROM audit_event
     WHERE timestamp >= to_timestamp($1) AND timestamp < to_timestamp($2)
       AND recorded_at >= to_timestamp($1) AND recorded_at < to_timestamp($2) LIMIT 1`,
    [fromMs / 1000, toMs / 1000],
  );
  return rowCount === 1;
}

/** Finds organizations by an index skip scan: a step for each organization, for any number of events. */
async function findOrganizations(client: ClientBase, hidden: string): Promise<string[]> {
  const { rows } = await client.query<{ id: string }>(
    `WITH RECURSIVE o AS (
       (SELECT organization_id AS id FROM ${hidden} ORDER BY organization_id LIMIT 1)
       UNION ALL
       SELECT (SELECT organization_id FROM ${hidden} WHERE organization_id > o.id
               ORDER BY organization_id LIMIT 1) FROM o WHERE o.id IS NOT NULL
     ) SELECT id FROM o WHERE id IS NOT NULL`,
  );
  return rows.map(({ id }) => id);
}

/**
 * Changes versions by advancing the recording times on head rows, which only the version uses. They never go back, as an
 * earlier version would find old cache entries.
 */
async function moveVersions(client: ClientBase, organizations: string[]): Promise<void> {
  for (let from = 0; from < organizations.length; from += BATCH_HEADS) {
    const batch = organizations.slice(from, from + BATCH_HEADS);
    for (let attempt = 1; ; attempt += 1) {
      try {
        await client.query(
          `WITH locked AS (
             SELECT organization_id FROM audit_organization WHERE organization_id = ANY($1::text[])
             ORDER BY organization_id FOR UPDATE
           )
           UPDATE audit_organization o
           SET recorded_at = greatest(clock_timestamp(), o.recorded_at + interval '1 microsecond')
           FROM locked WHERE o.organization_id = locked.organization_id`,
          [batch],
        );
        break;
      } catch (error) {
        if (attempt === ATTEMPTS || !(isRetryable(error) || isLockTimeout(error))) throw error;
      }
    }
  }
}

/** Deletes client-chosen ids of hidden events only, as an id may have been used again. */
async function forgetClientIds(client: ClientBase, hidden: string): Promise<void> {
  let after: [string, string, string] | undefined;
  for (;;) {
    const { rows } = await client.query<[string, string, string]>({
      text: `WITH batch AS (
               SELECT organization_id, timestamp, id FROM ${hidden}
               ${after ? 'WHERE (organization_id, timestamp, id) > ($1, $2::timestamptz, $3::uuid)' : ''}
               ORDER BY organization_id, timestamp, id LIMIT ${BATCH_EVENTS}
             ), gone AS (
               DELETE FROM audit_client_event_id c USING batch b
               WHERE c.id = b.id AND c.organization_id = b.organization_id AND c.timestamp = b.timestamp
             )
             SELECT organization_id, timestamp::text, id::text FROM batch
             ORDER BY organization_id DESC, timestamp DESC, id DESC LIMIT 1`,
      values: after ?? [],
      rowMode: 'array',
    });
    const [last] = rows;
    if (!last) return;
    after = [last[0], last[1], last[2]];
  }
}
