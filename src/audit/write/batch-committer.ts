import { Inject, Injectable } from '@nestjs/common';
import type { PoolClient } from 'pg';
import type { IdempotencyClaim } from '../../concurrency/idempotency-keys';
import { UNTIMED } from '../../platform/database/commit-watch';
import { type CommitOptions, Database } from '../../platform/database/database';
import { toDatabaseError } from '../../platform/database/database-errors';
import { DURABILITY_BARRIER } from '../../platform/database/unconfirmed-commits';
import type { AppError } from '../../platform/errors/app-error';
import { EventLoopYielder } from '../../platform/runtime/event-loop-yielder';
import { parseInstant } from '../../platform/runtime/instant';
import { eventText, instantOfDatabase, type NewEvent } from '../event/audit-event';
import {
  ADVANCE_HEADS,
  HEAD_LOCK_TIMEOUT,
  insertEvents,
  type NumberedEvent,
  recordEvent,
  recordEvents,
} from '../event/audit.statements';
import { LogTimeline } from '../event/log-timeline';
import type { EventFaults } from '../schemas/event-schemas';
import type { Outcome, Queued } from './commit-queue';

/** Limit of events of a request in a shared transaction: small requests must not wait for large ones. */
export const SMALL_REQUEST_EVENTS = 100;

export interface WriteReceipt {
  id: string;
  sequence: string;
  status: 'created' | 'duplicate';
  text: () => string;
}

/** Request to write events, all or none. */
export interface WriteRequest extends Pick<Queued, 'flow' | 'signal'> {
  events: NewEvent[];
  /** Rows of one INSERT. */
  batchSize: number;
  /** Returns the path of event `index` in the client's request: '' or `events[3]`. */
  pathOf: (index: number) => string;
  claim?: IdempotencyClaim;
  /** Faults of events by their index, for which these may be acknowledged only as repetitions (schema.participant.ts). */
  faults?: EventFaults;
  /** Form of the acknowledgement: one event, or a list of receipts. */
  form: 'event' | 'list';
  /** Writes the acknowledgement, which is stored with the idempotency key before the commit. */
  textOf?: (receipts: readonly WriteReceipt[], batches: number) => string;
}

/** Result of a write; a replay has the acknowledgement of the first request. */
export interface Written {
  receipts: readonly WriteReceipt[];
  /** JSON text of the acknowledgement; empty without `textOf`. */
  text: string;
  replayed: boolean;
}

export interface WriteTransaction {
  client: PoolClient;
  /** Sends statements, whose results are not needed, with COMMIT; a failure of one rolls the transaction back. */
  defer: (statement: Promise<unknown>) => void;
}

export interface TransactionEntry {
  readonly request: WriteRequest;
  /** Result or refusal of the request, once it is decided; the request is then skipped. */
  outcome?: { result: Written } | { refusal: AppError };
  /** Texts of earlier events, stored or in the batch, by the index of the event that repeats them. */
  readonly repeats: Map<number, { text?: string; first?: NewEvent }>;
}

/**
 * Part of the transaction of a write. A batch without work for participants is committed by one statement, any other by a
 * transaction that calls the participants in the order of their list (WriteModule).
 */
export interface TransactionParticipant {
  isNeededBy(request: WriteRequest): boolean;
  /** Runs before events get sequences; may decide the outcome of entries, or mark events as duplicates. */
  prepare(transaction: WriteTransaction, entries: readonly TransactionEntry[]): Promise<void>;
  /** Runs after the inserts and before COMMIT, when outcomes are set. `created` are the new events. */
  complete(
    transaction: WriteTransaction,
    entries: readonly TransactionEntry[],
    created: readonly NewEvent[],
  ): void;
}

export const TRANSACTION_PARTICIPANTS = Symbol('TRANSACTION_PARTICIPANTS');

/** Advanced head row; `recorded_at` is PostgreSQL's text, '-infinity' before the first event. */
interface HeadRow {
  organization_id: string;
  last_sequence: string;
  recorded_at: string;
}

/** Head rows that a transaction has advanced, and by how many events; valid after the commit. */
interface Moves {
  heads: HeadRow[];
  counts: ReadonlyMap<string, number>;
}

/** Commits batches of write requests. */
@Injectable()
export class BatchCommitter {
  constructor(
    private readonly database: Database,
    private readonly yielder: EventLoopYielder,
    @Inject(TRANSACTION_PARTICIPANTS)
    private readonly participants: readonly TransactionParticipant[],
    private readonly timeline: LogTimeline,
  ) {}

  /**
   * Commits a batch, by one statement when no participant has work. Outcomes have the order of the requests.
   * @throws errors of PostgreSQL, untranslated; AppError of unknown outcome; the reason of the signal.
   */
  async commit(
    requests: readonly WriteRequest[],
    options: CommitOptions = {},
  ): Promise<Outcome<Written>[]> {
    const asked = this.timeline.ask();
    const moves: Moves = { heads: [], counts: new Map() };
    const outcomes = this.fitsSingleStatement(requests)
      ? await this.commitSingleStatement(requests, moves, options)
      : await this.database.transaction(
          (client, defer) => this.writeBatch({ client, defer }, requests, moves),
          options,
        );
    this.noteMoves(moves, asked);
    return outcomes;
  }

  /**
   * Tells whether one statement can commit a batch: its rows fit, and no participant has work, that is, no request has an
   * Idempotency-Key (IdempotencyParticipant) and no event a client-chosen id (DuplicatesParticipant).
   */
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
   * Locks head rows, assigns sequences and inserts by one statement: one round trip, which cannot be cancelled. The
   * statement of a large request may take long, and is followed by a separate COMMIT.
   */
  private async commitSingleStatement(
    requests: readonly WriteRequest[],
    moves: Moves,
    options: CommitOptions,
  ): Promise<Outcome<Written>[]> {
    const events = requests.flatMap((request) => request.events);
    const counts = countByOrganization(events);
    // A batch of several requests is small, and all of them wait for it.
    const pause = requests.length === 1 ? () => this.yielder.yieldIfDue(options.signal) : undefined;
    const [event] = events;
    const statement =
      event && events.length === 1 ? recordEvent(event) : await recordEvents(events, counts, pause);
    const isCommit = requests.length > 1 || events.length <= SMALL_REQUEST_EVENTS;
    // A statement that commits has the limit of CommitWatch in place of pg's.
    if (isCommit) Object.assign(statement, UNTIMED);
    const work = async (client: PoolClient): Promise<Outcome<Written>[]> => {
      const { rows: heads } = await client.query<HeadRow>(statement);
      Object.assign(moves, { heads, counts });
      const numbered = assignSequences(events, moves);
      return requests.map((request) => createdOutcome(request, numbered));
    };
    return isCommit
      ? this.database.statement(work, options)
      : this.database.transaction(work, options);
  }

  /**
   * Writes a batch: participants prepare, head rows are locked in the order of all writers, events are inserted, and
   * participants complete. A refused request writes nothing. Outcomes are valid after the commit.
   */
  private async writeBatch(
    transaction: WriteTransaction,
    requests: readonly WriteRequest[],
    moves: Moves,
  ): Promise<Outcome<Written>[]> {
    const { client, defer } = transaction;
    defer(client.query(HEAD_LOCK_TIMEOUT));
    const entries = requests.map((request): TransactionEntry => ({ request, repeats: new Map() }));
    const open = (): TransactionEntry[] => entries.filter(({ outcome }) => outcome === undefined);
    for (const participant of this.participants) await participant.prepare(transaction, open());

    const remaining = open();
    const created = remaining.flatMap(({ request, repeats }) =>
      request.events.filter((_, index) => !repeats.has(index)),
    );
    if (created.length > 0) {
      const counts = countByOrganization(created);
      Object.assign(moves, { heads: await advanceHeads(client, counts), counts });
    }
    const numbered = assignSequences(created, moves);
    const batches = insertRows(transaction, remaining, numbered);
    for (const entry of remaining) {
      const { request, repeats } = entry;
      const receipts = request.events.map((event, index) =>
        receiptOf(event, numbered, repeats.get(index)),
      );
      entry.outcome = { result: written(request, receipts, batches.get(entry) ?? 0) };
    }
    for (const participant of this.participants) {
      participant.complete(transaction, entries, created);
    }
    // Replays and duplicates acknowledge the write of another transaction, which may not be replicated yet. The barrier
    // makes this commit wait for that, as it would not without a write.
    const acknowledges = entries.some(
      ({ outcome }) => outcome !== undefined && 'result' in outcome,
    );
    if (acknowledges && created.length === 0) defer(client.query(DURABILITY_BARRIER));
    return entries.map(({ outcome }) => {
      if (!outcome) throw new Error('A request has no outcome');
      return outcome;
    });
  }

  /** Reports sequences that are assigned a second time, as PostgreSQL has lost their events. */
  private noteMoves({ heads, counts }: Moves, asked: number): void {
    for (const { organization_id: id, last_sequence, recorded_at } of heads) {
      const sequence = Number(last_sequence);
      const first = sequence - (counts.get(id) ?? 0) + 1;
      if (this.timeline.isGivenAgain(id, first, asked)) this.timeline.noteRewindTo(id, first - 1);
      const micros = parseInstant(recorded_at.replace(' ', 'T')) ?? 0;
      this.timeline.note(id, { sequence, micros });
    }
  }
}

/** Counts the events of organizations, in the order in which all writers lock head rows. */
export function countByOrganization(events: NewEvent[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { organizationId } of events) {
    counts.set(organizationId, (counts.get(organizationId) ?? 0) + 1);
  }
  if (counts.size < 2) return counts;
  const organizations = [...counts.keys()].sort();
  return new Map(organizations.map((id) => [id, counts.get(id) ?? 0]));
}

/** Advances head rows by these numbers of events, and locks them until the transaction ends. */
export async function advanceHeads(
  client: PoolClient,
  counts: ReadonlyMap<string, number>,
): Promise<HeadRow[]> {
  const values = [[...counts.keys()], [...counts.values()]];
  return (await client.query<HeadRow>({ ...ADVANCE_HEADS, values })).rows;
}

/** Assigns each event the next sequence of its organization, in order of arrival. */
function assignSequences(
  events: NewEvent[],
  { heads, counts }: Moves,
): Map<NewEvent, NumberedEvent> {
  const next = new Map(
    heads.map(({ organization_id: id, last_sequence, recorded_at }) => [
      id,
      {
        sequence: BigInt(last_sequence) - BigInt(counts.get(id) ?? 0) + 1n,
        recordedAt: instantOfDatabase(recorded_at),
      },
    ]),
  );
  const numbered = new Map<NewEvent, NumberedEvent>();
  for (const event of events) {
    const head = next.get(event.organizationId);
    if (!head) throw new Error('An organization has no head row');
    const { sequence, recordedAt } = head;
    head.sequence += 1n;
    numbered.set(event, { event, sequence: String(sequence), recordedAt });
  }
  return numbered;
}

/**
 * Inserts the new events. Requests of the same batch size share statements.
 * @returns the number of statements that each request would need alone, which it reports.
 */
function insertRows(
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
      defer(client.query(insertEvents(rows.slice(at, at + batchSize))));
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

function createdOutcome(
  request: WriteRequest,
  numbered: ReadonlyMap<NewEvent, NumberedEvent>,
): Outcome<Written> {
  try {
    const receipts = request.events.map((event) => receiptOf(event, numbered));
    return { result: written(request, receipts, 1) };
  } catch (error) {
    return { refusal: toDatabaseError(error) }; // the other requests of the batch are not affected
  }
}

function written(request: WriteRequest, receipts: WriteReceipt[], batches: number): Written {
  return { receipts, text: request.textOf?.(receipts, batches) ?? '', replayed: false };
}
