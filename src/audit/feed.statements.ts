import { EVENT_JSON } from './audit.statements';

/** The next events of organizations ($1) behind these numbers ($2), at most $3 of each, in the order of their numbers. */
export const FIND_RECORDED = {
  name: 'audit-find-recorded',
  text: `SELECT e.json FROM unnest($1::text[], $2::bigint[]) AS t (organization_id, after)
         CROSS JOIN LATERAL (
           SELECT ${EVENT_JSON} AS json, e.sequence FROM audit_event e
           WHERE e.organization_id = t.organization_id COLLATE "C" AND e.sequence > t.after
           ORDER BY e.sequence LIMIT $3
         ) e
         ORDER BY t.organization_id, e.sequence`,
};

/** The last numbers of these organizations. */
export const FIND_FOLLOWED_HEADS = {
  name: 'audit-find-followed-heads',
  text: `SELECT organization_id, last_sequence::text FROM audit_organization WHERE organization_id = ANY($1::text[])`,
};

/** The last numbers of all organizations. */
export const FIND_EVERY_HEAD = {
  name: 'audit-find-every-head',
  text: `SELECT organization_id, last_sequence::text FROM audit_organization`,
};
