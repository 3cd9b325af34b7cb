import { Inject, Injectable } from '@nestjs/common';
import type { PoolClient } from 'pg';
import { UNTIMED } from '../../platform/database/commit-outcome';
import { type CommitOptions, Database } from '../../platform/database/database';
import { toDatabaseError } from '../../platform/database/database-errors';
import { DURABILITY_BARRIER } from '../../platform/database/durability';
import { EventLoopYielder } from '../../platform/runtime/event-loop-yielder';
import { eventText, type NewEvent } from '../event/audit-event';
import {
  HEAD_LOCK_TIMEOUT,
  INSERT_EVENTS,
  RECORD_EVENT,
  RECORD_EVENTS,
} from '../event/audit.statements';
import { LogTimeline } from '../event/log-timeline';
import type { Outcome } from './commit-queue';
import {
  advanceHeads,
  assignSequences,
  countByOrganization,
  type HeadMove,
  type HeadRow,
  movesOf,
} from './sequences';
import {
  insertEventsValues,
  type NumberedEvent,
  recordEventsValues,
  recordEventValues,
} from './statement-values';
import {
  type TransactionEntry,
  type TransactionParticipant,
  TRANSACTION_PARTICIPANTS,
  type WriteTransaction,
} from './transaction-participant';
import type { WriteReceipt, WriteRequest, Written } from './write-request';

/** Limit of a request in a shared transaction; small requests do not wait for larger ones. */
export const SMALL_REQUEST_EVENTS = 100;

/** Commits batches of write requests. */
@Injectable()
export class BatchCommitter {
  constructor(
    private readonly database: Database,
    private readonly yielder: EventLoopYielder,
    @Inject(TRANSACTION_PARTICIPANTS)
    private readonly participants: readonly TransactionParticipant[],
    private readonly timeline: LogTimeline = new LogTimeline(),
  ) {}

  /**
   * Commits a batch, by one statement when no participant has work. Outcomes have the requests' order.
   * @throws what PostgreSQL fails with, untranslated; AppError of unknown outcome; the reason of the signal.
   */
  async commit(
    requests: readonly WriteRequest[],
    options: CommitOptions = {},
  ): Promise<Outcome<Written>[]> {
    const asked = this.timeline.ask();
    const moves: HeadMove[] = [];
    const outcomes = this.fitsSingleStatement(requests)
      ? await this.commitSingleStatement(requests, moves, options)
      : await this.commitBatch(requests, moves, options);
    this.noteMoves(moves, asked);
    return outcomes;
  }

  private fitsSingleStatement(requests: readonly WriteRequest[]): boolean {
    let rows = 0;
    let limit = Infinity;
    for (const request of requests) {
      if (this.participants.some((participant) => participant.isNeededBy(request))) return false;
      rows += request.events.length;
      limit = Math.min(limit, request.batchSize);
    }
    return rows > 0 && rows <= limit;
  }

  /**
   * Locks head rows, numbers and inserts by one statement: one round trip, which cannot be cancelled. A large request,
   * which may take long, commits by another statement.
   */
  private async commitSingleStatement(
    requests: readonly WriteRequest[],
    moves: HeadMove[],
    options: CommitOptions,
  ): Promise<Outcome<Written>[]> {
    const events = requests.flatMap((request) => request.events);
    const counts = countByOrganization(events);
    // A batch of several is small, and all of them wait.
    const pause = requests.length === 1 ? () => this.yielder.yieldIfDue(options.signal) : undefined;
    const [event] = events;
    const statement =
      event && events.length === 1
        ? { ...RECORD_EVENT, values: recordEventValues(event) }
        : { ...RECORD_EVENTS, values: await recordEventsValues(events, counts, pause) };
    const isCommit = requests.length > 1 || events.length <= SMALL_REQUEST_EVENTS;
    // CommitWatch covers commits alone: a statement before one keeps pg's limit.
    if (isCommit) Object.assign(statement, UNTIMED);
    const work = async (client: PoolClient): Promise<Outcome<Written>[]> => {
      const { rows } = await client.query<HeadRow>(statement);
      moves.push(...movesOf(rows, counts));
      const numbered = assignSequences(events, counts, rows);
      return requests.map((request) => createdOutcome(request, numbered));
    };
    return isCommit
      ? this.database.statement(work, options)
      : this.database.transaction(work, options);
  }

  private commitBatch(
    requests: readonly WriteRequest[],
    moves: HeadMove[],
    options: CommitOptions,
  ): Promise<Outcome<Written>[]> {
    return this.database.transaction(
      (client, defer) => writeBatch({ client, defer, moves }, requests, this.participants),
      options,
    );
  }

  /** Reports sequences that are assigned again: PostgreSQL has lost their events. */
  private noteMoves(moves: readonly HeadMove[], asked: number): void {
    for (const { organizationId, last, count, micros } of moves) {
      const first = Number(last) - count + 1;
      if (this.timeline.isGivenAgain(organizationId, first, asked)) {
        this.timeline.noteRewindTo(organizationId, BigInt(first - 1));
      }
      this.timeline.note(organizationId, { sequence: Number(last), micros });
    }
  }
}

function createdOutcome(
  request: WriteRequest,
  numbered: ReadonlyMap<NewEvent, NumberedEvent>,
): Outcome<Written> {
  try {
    const receipts = request.events.map((event) => receiptOf(event, numbered));
    return { result: written(request, receipts, 1) };
  } catch (error) {
    return { refusal: toDatabaseError(error) }; // only this one: the others have theirs
  }
}

/**
 * Writes a batch: participants prepare, head rows are locked (the order of all writers), events inserted, participants
 * complete. A refused request leaves no trace. Outcomes become true with the commit.
 */
async function writeBatch(
  transaction: WriteTransaction,
  requests: readonly WriteRequest[],
  participants: readonly TransactionParticipant[],
): Promise<Outcome<Written>[]> {
  const { client, defer, moves } = transaction;
  defer(client.query(HEAD_LOCK_TIMEOUT));
  const entries: TransactionEntry[] = requests.map((request) => ({ request, repeats: new Map() }));
  const open = (): TransactionEntry[] => entries.filter(({ outcome }) => outcome === undefined);
  for (const participant of participants) await participant.prepare(transaction, open());

  const remaining = open();
  const created = remaining.flatMap(({ request, repeats }) =>
    request.events.filter((_, index) => !repeats.has(index)),
  );
  let numbered: ReadonlyMap<NewEvent, NumberedEvent> = new Map();
  if (created.length > 0) {
    const counts = countByOrganization(created);
    const heads = await advanceHeads(client, counts);
    moves.push(...movesOf(heads, counts));
    numbered = assignSequences(created, counts, heads);
  }
  const batches = insertEvents(transaction, remaining, numbered);
  for (const entry of remaining) {
    const { request, repeats } = entry;
    const receipts = request.events.map((event, index) =>
      receiptOf(event, numbered, repeats.get(index)),
    );
    entry.outcome = { result: written(request, receipts, batches.get(entry) ?? 0) };
  }
  for (const participant of participants) participant.complete(transaction, entries, created);
  // Replays and duplicates acknowledge another transaction's write, visible but maybe not replicated: this commit has
  // to wait for it, and waits only after a write of its own.
  const acknowledges = entries.some(({ outcome }) => outcome !== undefined && 'result' in outcome);
  if (acknowledges && created.length === 0) defer(client.query(DURABILITY_BARRIER));
  return entries.map(({ outcome }) => {
    if (!outcome) throw new Error('A request has no outcome');
    return outcome;
  });
}

/**
 * Inserts the new events. Requests of the same batch size share statements.
 * @returns how many statements each request's own events would take, which is what it reports.
 */
function insertEvents(
  { client, defer }: WriteTransaction,
  entries: readonly TransactionEntry[],
  numbered: ReadonlyMap<NewEvent, NumberedEvent>,
): Map<TransactionEntry, number> {
  const batches = new Map<TransactionEntry, number>();
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

function receiptOf(
  event: NewEvent,
  numbered: ReadonlyMap<NewEvent, NumberedEvent>,
  repeat?: { text?: string; first?: NewEvent },
): WriteReceipt {
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
}

function written(request: WriteRequest, receipts: WriteReceipt[], batches: number): Written {
  return { receipts, text: request.textOf?.(receipts, batches) ?? '', replayed: false };
}
