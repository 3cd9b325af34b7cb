import type { Client } from 'pg';
import { allowEventChanges } from './event-changes';

/**
 * Takes the log of an organization back to `last`, as a failover to a standby that lagged behind does for all of them:
 * newer events are gone, and the head row is what it was when `last` was recorded. What clients' ids and idempotency keys
 * were stored with those events is gone as well.
 */
export async function loseEventsBehind(
  admin: Client,
  organization: string,
  last: number,
): Promise<void> {
  await admin.query('BEGIN');
  await allowEventChanges(admin);
  await admin.query(
    `WITH gone AS (DELETE FROM audit_event WHERE organization_id = $1 AND sequence > $2 RETURNING organization_id, id)
     DELETE FROM audit_client_event_id c USING gone g WHERE c.organization_id = g.organization_id AND c.id = g.id`,
    [organization, last],
  );
  if (last === 0) {
    await admin.query('DELETE FROM audit_organization WHERE organization_id = $1', [organization]);
  } else {
    await admin.query(
      `UPDATE audit_organization o SET last_sequence = $2, recorded_at = coalesce(
         (SELECT e.recorded_at FROM audit_event e WHERE e.organization_id = $1 AND e.sequence = $2), o.recorded_at)
       WHERE o.organization_id = $1`,
      [organization, last],
    );
  }
  await admin.query('COMMIT');
}
