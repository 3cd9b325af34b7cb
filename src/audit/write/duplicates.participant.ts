import { Injectable } from '@nestjs/common';
import type { PoolClient } from 'pg';
import { AppError } from '../../platform/errors/app-error';
import { eventText, type NewEvent } from '../event/audit-event';
import {
  FIND_BY_KEYS,
  FIND_CLIENT_IDS,
  FIND_SERVER_IDS,
  INSERT_CLIENT_IDS,
} from '../event/audit.statements';
import { hasSameContent } from '../event/event-content';
import { millisecondOf } from '../event/uuid7';
import {
  advanceHeads,
  countByOrganization,
  type TransactionEntry,
  type TransactionParticipant,
  type WriteRequest,
  type WriteTransaction,
} from './batch-committer';
import { schemaRefusal } from './schema.participant';

/** Compares events with client-chosen ids to stored events: equal content is a duplicate, other content a conflict. */
@Injectable()
export class DuplicatesParticipant implements TransactionParticipant {
  isNeededBy({ events }: WriteRequest): boolean {
    return events.some(({ hasClientId }) => hasClientId);
  }

  async prepare({ client }: WriteTransaction, entries: readonly TransactionEntry[]): Promise<void> {
    const withIds = entries.flatMap(({ request }) => request.events.filter((e) => e.hasClientId));
    if (withIds.length === 0) return;
    // Head rows are locked before the check, against other writers of the same id; also those of events without ids, as
    // locking them later would break the order that prevents deadlocks.
    const all = entries.flatMap(({ request }) => request.events);
    await advanceHeads(client, new Map([...countByOrganization(all).keys()].map((id) => [id, 0])));
    const stored = await findStored(client, withIds);
    const pending = new Map<string, NewEvent>();
    for (const entry of entries) resolveDuplicates(entry, stored, pending);
  }

  complete(
    { client, defer }: WriteTransaction,
    _: readonly TransactionEntry[],
    created: readonly NewEvent[],
  ): void {
    const chosen = created.filter(({ hasClientId }) => hasClientId);
    if (chosen.length === 0) return;
    const values = [
      chosen.map(({ id }) => id),
      chosen.map(({ organizationId }) => organizationId),
      chosen.map(({ timestamp }) => timestamp),
    ];
    defer(client.query({ ...INSERT_CLIENT_IDS, values }));
  }
}

/** Finds events that repeat a stored or an earlier (`pending`) event; refuses a request whose event has other content. */
function resolveDuplicates(
  entry: TransactionEntry,
  stored: StoredEvents,
  pending: Map<string, NewEvent>,
): void {
  const own = new Map<string, NewEvent>();
  const conflicts: number[] = [];
  entry.request.events.forEach((event, index) => {
    if (!event.hasClientId) return;
    const key = storedKey(event);
    const text = stored.get(key);
    const first = own.get(key) ?? pending.get(key);
    if (text === undefined && first === undefined) {
      own.set(key, event);
      return;
    }
    const same = hasSameContent(event, text ?? textOfPending(first ?? event));
    if (!same) conflicts.push(index);
    else entry.repeats.set(index, text === undefined ? { first } : { text });
  });
  if (conflicts.length > 0) {
    entry.outcome = { refusal: idConflict(entry.request, conflicts) };
    return;
  }
  const refusal = schemaRefusal(entry);
  if (refusal) {
    // Before its events are those that later requests repeat.
    entry.outcome = { refusal };
    return;
  }
  for (const [key, event] of own) pending.set(key, event);
}

function textOfPending(event: NewEvent): string {
  return eventText(event, { sequence: '0', recordedAt: event.timestamp });
}

function idConflict(request: WriteRequest, indexes: number[]): AppError {
  const errors = indexes.map((index) => {
    const at = request.pathOf(index);
    return {
      path: at === '' ? 'id' : `${at}.id`,
      message: 'exists in this organization with other content',
    };
  });
  return new AppError('CONFLICT', 'An event with this id exists with other content.', { errors });
}

type StoredEvents = Map<string, string>;

interface KeyRow {
  organization_id: string;
  id: string;
  timestamp: string;
}

/** Identity of an event: its id and organization. */
export function storedKey({ organizationId, id }: { organizationId: string; id: string }): string {
  return `${id}${organizationId}`;
}

async function findStored(client: PoolClient, events: NewEvent[]): Promise<StoredEvents> {
  const { rows: ofClients } = await client.query<KeyRow>({
    ...FIND_CLIENT_IDS,
    values: [events.map(({ id }) => id), events.map(({ organizationId }) => organizationId)],
  });
  const keys = [...ofClients, ...(await findServerIds(client, events))];
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

/** Finds generated ids: a client may send back an event that it has received. */
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
