import type { PoolClient } from 'pg';
import type { Organizations } from '../../auth/principal';
import { AppError } from '../../platform/errors/app-error';
import { EVENT_JSON } from '../event/audit.statements';
import { millisecondOf } from '../event/uuid7';
import type { Statement } from './page-statement';

/** Limit of organizations in an error message. */
const MAX_NAMED = 10;

/** JSON text of the event, unless several organizations have one: copies may have 256 KiB each. */
const JSON_OF_ONE = `CASE WHEN min(e.organization_id) OVER () = max(e.organization_id) OVER () THEN ${EVENT_JSON} END`;

/** `json` is null for several organizations and in rows of audit_client_event_id. */
interface FoundRow {
  organizationId: string;
  json: string | null;
  isEvent: boolean;
}

/**
 * The event with this id. An id is unique only within its organization, and client ids may look like the service's:
 * events of the id's millisecond and client ids are both read.
 * @throws AppError CONFLICT, naming the organizations, when several have an event with this id.
 */
export async function findEvent(
  client: PoolClient,
  organizations: Organizations,
  id: string,
): Promise<string | undefined> {
  const range = millisecondOf(id);
  const near = range ? await foundRows(client, byRange(organizations, id, range)) : [];
  const events = near.filter(({ isEvent }) => isEvent);
  const [first] = events;
  if (first && near.every(({ organizationId }) => organizationId === first.organizationId)) {
    return first.json ?? undefined;
  }
  const chosen = await foundRows(client, byClientId(organizations, id));
  const holders = new Map([...events, ...chosen].map((row) => [row.organizationId, row.json]));
  if (holders.size > 1) throw heldBySeveral([...holders.keys()]);
  const [json] = holders.values();
  return json ?? undefined;
}

function heldBySeveral(ids: string[]): AppError {
  const named = ids.slice(0, MAX_NAMED).sort();
  const more = ids.length > MAX_NAMED ? ' and others' : '';
  const message = `must name one of ${named.map((id) => JSON.stringify(id)).join(', ')}${more}`;
  return new AppError(
    'CONFLICT',
    'Several organizations of this token have an event with this id: say which one is meant.',
    { errors: [{ path: 'organization_ids', message }] },
  );
}

async function foundRows(client: PoolClient, statement: Statement): Promise<FoundRow[]> {
  const { rows } = await client.query<[string, string | null, boolean]>({
    ...statement,
    rowMode: 'array',
  });
  return rows.map(([organizationId, json, isEvent]) => ({ organizationId, json, isEvent }));
}

/** Events of the millisecond; client ids come from an index without partitions. */
function byRange(
  organizations: Organizations,
  id: string,
  { from, to }: { from: string; to: string },
): Statement {
  const all = organizations === '*';
  return {
    name: all ? 'audit-by-range-all' : 'audit-by-range',
    text: `(SELECT e.organization_id, ${JSON_OF_ONE}, true FROM audit_event e
            WHERE e.id = $1 AND e.timestamp >= $2 AND e.timestamp < $3
            ${all ? '' : 'AND e.organization_id = ANY($4::text[])'}
            LIMIT ${MAX_NAMED + 1})
           UNION ALL
           (SELECT c.organization_id, NULL, false FROM audit_client_event_id c
            WHERE c.id = $1 ${all ? '' : 'AND c.organization_id = ANY($4::text[])'}
            LIMIT ${MAX_NAMED + 1})`,
    values: all ? [id, from, to] : [id, from, to, organizations],
  };
}

function byClientId(organizations: Organizations, id: string): Statement {
  const all = organizations === '*';
  return {
    name: all ? 'audit-by-client-id-all' : 'audit-by-client-id',
    text: `SELECT e.organization_id, ${JSON_OF_ONE}, true FROM audit_client_event_id c
           CROSS JOIN LATERAL (
             SELECT * FROM audit_event e
             WHERE e.organization_id = c.organization_id AND e.timestamp = c.timestamp AND e.id = c.id
           ) e
           WHERE c.id = $1 ${all ? '' : 'AND c.organization_id = ANY($2::text[])'}
           LIMIT ${MAX_NAMED + 1}`,
    values: all ? [id] : [id, organizations],
  };
}
