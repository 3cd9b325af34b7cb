import { EVENT_JSON } from '../event/audit.statements';
import { microsOf } from '../read/log-position';

/**
 * The next events of organizations ($1) behind these numbers ($2), at most $3 of each, in the order of their numbers.
 * In front of them, where it is still there, the event of that number itself: not its text, but when it was recorded,
 * which tells whether it is the one that was read before.
 */
export const FIND_RECORDED = {
  name: 'audit-find-recorded-behind',
  text: `SELECT e.json, CASE WHEN e.json IS NULL THEN t.organization_id END, CASE WHEN e.json IS NULL THEN (${microsOf('e')})::text END
         FROM unnest($1::text[], $2::bigint[]) AS t (organization_id, after)
         CROSS JOIN LATERAL (
           SELECT CASE WHEN e.sequence > t.after THEN ${EVENT_JSON} END AS json, e.sequence, e.recorded_at
           FROM audit_event e
           WHERE e.organization_id = t.organization_id COLLATE "C" AND e.sequence >= t.after
           ORDER BY e.sequence LIMIT $3 + 1
         ) e
         ORDER BY t.organization_id, e.sequence`,
};

const HEADS = `SELECT organization_id, last_sequence::text, (${microsOf('audit_organization')})::text, pg_is_in_recovery()
         FROM audit_organization`;

/** The last numbers of these organizations. */
export const FIND_FOLLOWED_HEADS = {
  name: 'audit-find-followed-heads',
  text: `${HEADS} WHERE organization_id = ANY($1::text[])`,
};

/** The last numbers of all organizations. */
export const FIND_EVERY_HEAD = { name: 'audit-find-every-head', text: HEADS };
