import type { PoolClient } from 'pg';
import type {
  IdempotencyClaim,
  IdempotencyKeys,
  StoredResponse,
} from '../../concurrency/idempotency-keys';
import { DURABILITY_BARRIER } from '../../platform/database/durability';
import { AppError } from '../../platform/errors/app-error';
import { eventText, type NewEvent } from '../event/audit-event';
import {
  ADVANCE_HEADS,
  HEAD_LOCK_TIMEOUT,
  INSERT_CLIENT_IDS,
  INSERT_EVENTS,
} from '../event/audit.statements';
import { countsOf, type HeadMove, type HeadRow, movesOf, assignSequences } from './sequences';
import { hasSameContent } from '../event/event-content';
import { insertEventsValues, type NumberedEvent } from './statement-values';
import { findStored, type StoredEvents, storedKey } from './stored-events';

/** What became of one event of a request. */
export interface WriteReceipt {
  id: string;
  sequence: string;
  status: 'created' | 'duplicate';
  /** Makes the event as it is stored, as JSON text. */
  text: () => string;
}

/** What a caller wants written: all of it or none of it. */
export interface WriteRequest {
  events: NewEvent[];
  /** Rows per INSERT. */
  batchSize: number;
  /** Where event `index` stands in what the client sent: '' or `events[3]`. */
  pathOf: (index: number) => string;
  claim?: IdempotencyClaim;
  /** Requests of different flows are written in turn. */
  flow: string;
  /** Aborts when nobody waits for the answer any more. */
  signal?: AbortSignal;
  /** The answer to give. It is made before the commit, as it is stored with the idempotency key. */
  answer: (receipts: WriteReceipt[], batches: number) => StoredResponse;
}

/** A transaction under way. Statements whose answers nobody needs are deferred: they travel with the commit. */
export interface WriteTransaction {
  client: PoolClient;
  defer: (statement: Promise<unknown>) => void;
  idempotency: IdempotencyKeys;
  /** Filled in with the heads that it moves: not before the commit are these the numbers of events. */
  moves: HeadMove[];
}

/** An answer to a write, and whether it was given before. */
export interface Recorded {
  answer: StoredResponse;
  replayed: boolean;
}

/** The end of one request of a group. */
export type WriteResult = Recorded | { refusal: AppError };

/** One request on its way through the transaction. */
interface Entry {
  request: WriteRequest;
  result?: WriteResult;
  /** Per event: the stored event it repeats, or an earlier event of this transaction that it repeats. */
  repeats: Map<number, { text?: string; first?: NewEvent }>;
}

/**
 * Writes a group of requests inside the transaction of `client`, in this order: idempotency keys, head rows (the lock
 * that orders everything), duplicates, events, answers. A request that is refused leaves no trace, and the others
 * do not notice. The results become true with the commit.
 */
export async function writeBatch(
  transaction: WriteTransaction,
  requests: WriteRequest[],
): Promise<WriteResult[]> {
  const { client, defer, idempotency } = transaction;
  defer(client.query(HEAD_LOCK_TIMEOUT));
  const entries: Entry[] = requests.map((request) => ({ request, repeats: new Map() }));
  await claimKeys(client, entries, idempotency);
  await resolveDuplicates(client, open(entries));

  const fresh = open(entries).flatMap((entry) =>
    entry.request.events.filter((_, index) => !entry.repeats.has(index)),
  );
  const numbered = await numberEvents(transaction, fresh);
  const batches = insertAll(transaction, open(entries), numbered);
  insertClientIds(transaction, fresh);

  for (const entry of open(entries)) {
    const receipts = receiptsOf(entry, numbered);
    const answer = entry.request.answer(receipts, batches.get(entry) ?? 0);
    entry.result = { answer, replayed: false };
  }
  storeResponses(transaction, entries);
  // Replays and duplicates acknowledge what another transaction wrote, which may be visible and not replicated: the commit
  // of this one has to wait for that, and a commit waits only when its transaction has written something.
  const acknowledges = entries.some(({ result }) => result !== undefined && 'answer' in result);
  if (acknowledges && fresh.length === 0) defer(client.query(DURABILITY_BARRIER));
  return entries.map(
    ({ result }) => result ?? { refusal: new AppError('INTERNAL', 'Not written.') },
  );
}

function open(entries: Entry[]): Entry[] {
  return entries.filter(({ result }) => result === undefined);
}

async function claimKeys(
  client: PoolClient,
  entries: Entry[],
  idempotency: IdempotencyKeys,
): Promise<void> {
  const keyed = entries.filter(({ request }) => request.claim !== undefined);
  if (keyed.length === 0) return;
  const states = await idempotency.claim(
    client,
    keyed.flatMap(({ request }) => request.claim ?? []),
  );
  keyed.forEach((entry, index) => {
    const { replay, refusal } = states[index] ?? {};
    if (replay) entry.result = { answer: replay, replayed: true };
    else if (refusal) entry.result = { refusal };
  });
}

/** Finds out which events exist already, and refuses requests whose ids exist with other content. */
async function resolveDuplicates(client: PoolClient, entries: Entry[]): Promise<void> {
  const withIds = entries.flatMap(({ request }) => request.events.filter((e) => e.hasClientId));
  if (withIds.length === 0) return;
  // Under the lock of their organizations, so that no other writer stores the same id meanwhile. Those of the events
  // without ids are locked here too: locking them later would break the order that keeps writers from deadlocking.
  const all = entries.flatMap(({ request }) => request.events);
  await advanceHeads(client, new Map([...countsOf(all).keys()].map((id) => [id, 0])));
  const stored = await findStored(client, withIds);
  const pending = new Map<string, NewEvent>();
  for (const entry of entries) settleRequest(entry, stored, pending);
}

function settleRequest(entry: Entry, stored: StoredEvents, pending: Map<string, NewEvent>): void {
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
    const same = hasSameContent(event, text ?? eventTextOfPending(first ?? event));
    if (!same) conflicts.push(index);
    else entry.repeats.set(index, text === undefined ? { first } : { text });
  });
  if (conflicts.length > 0) {
    entry.result = { refusal: idConflict(entry.request, conflicts) };
    return;
  }
  for (const [key, event] of own) pending.set(key, event);
}

/** A pending event has no sequence yet; content is compared without it. */
function eventTextOfPending(event: NewEvent): string {
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

/** Moves heads on, and locks them. */
async function advanceHeads(client: PoolClient, counts: Map<string, number>): Promise<HeadRow[]> {
  const values = [[...counts.keys()], [...counts.values()]];
  return (await client.query<HeadRow>({ ...ADVANCE_HEADS, values })).rows;
}

async function numberEvents(
  { client, moves }: WriteTransaction,
  events: NewEvent[],
): Promise<Map<NewEvent, NumberedEvent>> {
  if (events.length === 0) return new Map();
  const counts = countsOf(events);
  const heads = await advanceHeads(client, counts);
  moves.push(...movesOf(heads, counts));
  return assignSequences(events, counts, heads);
}

/** Inserts what is new. Requests of the same batch size share statements; a request's own share is what it reports. */
function insertAll(
  { client, defer }: WriteTransaction,
  entries: Entry[],
  numbered: Map<NewEvent, NumberedEvent>,
): Map<Entry, number> {
  const batches = new Map<Entry, number>();
  const bySize = new Map<number, NumberedEvent[]>();
  for (const entry of entries) {
    const { batchSize, events } = entry.request;
    const rows = events.flatMap((event) => numbered.get(event) ?? []);
    const sameSize = bySize.get(batchSize) ?? [];
    for (const row of rows) sameSize.push(row);
    bySize.set(batchSize, sameSize);
    batches.set(entry, Math.ceil(rows.length / batchSize));
  }
  for (const [batchSize, rows] of bySize) {
    for (let at = 0; at < rows.length; at += batchSize) {
      const values = insertEventsValues(rows.slice(at, at + batchSize));
      defer(client.query({ ...INSERT_EVENTS, values }));
    }
  }
  return batches;
}

function insertClientIds({ client, defer }: WriteTransaction, fresh: NewEvent[]): void {
  const chosen = fresh.filter(({ hasClientId }) => hasClientId);
  if (chosen.length === 0) return;
  const values = [
    chosen.map(({ id }) => id),
    chosen.map(({ organizationId }) => organizationId),
    chosen.map(({ timestamp }) => timestamp),
  ];
  defer(client.query({ ...INSERT_CLIENT_IDS, values }));
}

function receiptsOf(entry: Entry, numbered: Map<NewEvent, NumberedEvent>): WriteReceipt[] {
  return entry.request.events.map((event, index) => {
    const repeat = entry.repeats.get(index);
    if (repeat?.text !== undefined) {
      const { text } = repeat;
      const { sequence } = JSON.parse(text) as { sequence: string };
      return { id: event.id, sequence, status: 'duplicate', text: () => text };
    }
    const row = numbered.get(repeat?.first ?? event);
    if (!row) throw new Error('An event was neither numbered nor a repetition');
    return {
      id: event.id,
      sequence: row.sequence,
      status: repeat ? 'duplicate' : 'created',
      text: () => eventText(row.event, row),
    };
  });
}

function storeResponses({ client, defer, idempotency }: WriteTransaction, entries: Entry[]): void {
  const answered = entries.flatMap(({ request: { claim }, result }) =>
    claim && result && 'answer' in result && !result.replayed
      ? [{ claim, answer: result.answer }]
      : [],
  );
  if (answered.length > 0) defer(idempotency.store(client, answered));
}
