import type { PoolClient } from 'pg';
import type { NewEvent } from '../event/audit-event';
import { FIND_BY_KEYS, FIND_CLIENT_IDS, FIND_SERVER_IDS } from '../event/audit.statements';
import { millisecondOf } from '../event/uuid7';

/** The JSON text of stored events by `storedKey`. */
export type StoredEvents = Map<string, string>;

interface KeyRow {
  organization_id: string;
  id: string;
  timestamp: string;
}

/** What makes an event the same as another: its id within its organization. */
export function storedKey({ organizationId, id }: { organizationId: string; id: string }): string {
  return `${id}${organizationId}`;
}

/** The stored events that have the organization and id of one of `events`. */
export async function findStored(client: PoolClient, events: NewEvent[]): Promise<StoredEvents> {
  const keys = [...(await findClientIds(client, events)), ...(await findServerIds(client, events))];
  if (keys.length === 0) return new Map();
  const { rows } = await client.query<{ organization_id: string; id: string; json: string }>({
    ...FIND_BY_KEYS,
    values: [
      keys.map((key) => key.organization_id),
      keys.map((key) => key.timestamp),
      keys.map((key) => key.id),
    ],
  });
  return new Map(
    rows.map((row) => [storedKey({ organizationId: row.organization_id, id: row.id }), row.json]),
  );
}

async function findClientIds(client: PoolClient, events: NewEvent[]): Promise<KeyRow[]> {
  const { rows } = await client.query<KeyRow>({
    ...FIND_CLIENT_IDS,
    values: [events.map(({ id }) => id), events.map(({ organizationId }) => organizationId)],
  });
  return rows;
}

/** A client may send back an event that it got from us: its id was then made here. */
async function findServerIds(client: PoolClient, events: NewEvent[]): Promise<KeyRow[]> {
  const candidates = events.flatMap(({ id, organizationId }) => {
    const range = millisecondOf(id);
    return range ? [{ id, organizationId, ...range }] : [];
  });
  if (candidates.length === 0) return [];
  const { rows } = await client.query<KeyRow>({
    ...FIND_SERVER_IDS,
    values: [
      candidates.map(({ id }) => id),
      candidates.map(({ organizationId }) => organizationId),
      candidates.map(({ from }) => from),
      candidates.map(({ to }) => to),
    ],
  });
  return rows;
}
