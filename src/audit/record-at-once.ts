import type { PoolClient, QueryConfig } from 'pg';
import type { IdempotencyKeys } from '../concurrency/idempotency-keys';
import type { Database } from '../database/database';
import { toDatabaseError } from '../database/database-errors';
import { eventText, type NewEvent } from './audit-event';
import {
  type NumberedEvent,
  RECORD_EVENT,
  RECORD_EVENTS,
  recordEventsValues,
  recordEventValues,
} from './audit.statements';
import { countsOf, type HeadRow, numbersOf } from './event-numbers';
import { writeGroup, type WriteRequest, type WriteResult } from './write-group';

/** Writes a group of requests and commits: by one statement when that is enough, else step by step. */
export function recordGroup(
  database: Database,
  idempotency: IdempotencyKeys,
  requests: WriteRequest[],
  signal?: AbortSignal,
): Promise<WriteResult[]> {
  if (canRecordAtOnce(requests)) {
    return database.statement((client) => recordAtOnce(client, requests), signal);
  }
  return database.transaction(
    (client, defer) => writeGroup({ client, defer, idempotency }, requests),
    signal,
  );
}

/**
 * Whether nothing has to be known before these requests are written: no idempotency key, whose answer is stored with
 * the events, no id of a client's, which may exist already, and no more rows than go into one INSERT.
 */
function canRecordAtOnce(requests: WriteRequest[]): boolean {
  let rows = 0;
  let most = Infinity;
  for (const { claim, events, batchSize } of requests) {
    if (claim !== undefined || events.some(({ hasClientId }) => hasClientId)) return false;
    rows += events.length;
    most = Math.min(most, batchSize);
  }
  return rows > 0 && rows <= most;
}

/**
 * Writes such requests by one statement, which is its own transaction: what `writeGroup` does with them in four
 * statements and two round trips. They are committed when this resolves, whatever becomes of their answers.
 */
async function recordAtOnce(client: PoolClient, requests: WriteRequest[]): Promise<WriteResult[]> {
  const events = requests.flatMap((request) => request.events);
  const counts = countsOf(events);
  const { rows } = await client.query<HeadRow>(statementFor(events, counts));
  const numbered = numbersOf(events, counts, rows);
  return requests.map((request) => resultOf(request, numbered));
}

function statementFor(events: NewEvent[], counts: Map<string, number>): QueryConfig {
  const [event] = events;
  if (event && events.length === 1) return { ...RECORD_EVENT, values: recordEventValues(event) };
  return { ...RECORD_EVENTS, values: recordEventsValues(events, counts) };
}

function resultOf(request: WriteRequest, numbered: Map<NewEvent, NumberedEvent>): WriteResult {
  try {
    const receipts = request.events.map((event) => {
      const row = numbered.get(event);
      if (!row) throw new Error('An event was not numbered');
      const text = () => eventText(event, row);
      return { id: event.id, sequence: row.sequence, status: 'created' as const, text };
    });
    return { answer: request.answer(receipts, 1), replayed: false };
  } catch (error) {
    return { refusal: toDatabaseError(error) }; // only this one: the others have theirs
  }
}
