import { Injectable } from '@nestjs/common';
import type { PoolClient, QueryConfig } from 'pg';
import { IdempotencyKeys } from '../../concurrency/idempotency-keys';
import { UNTIMED } from '../../platform/database/commit-watch';
import { type CommitOptions, Database } from '../../platform/database/database';
import { toDatabaseError } from '../../platform/database/database-errors';
import { EventLoopYielder } from '../../platform/runtime/event-loop-yielder';
import { eventText, type NewEvent } from '../event/audit-event';
import { RECORD_EVENT, RECORD_EVENTS } from '../event/audit.statements';
import { countsOf, type HeadMove, type HeadRow, movesOf, assignSequences } from './sequences';
import { SMALL_REQUEST_EVENTS } from './batch-size';
import { LogTimeline } from '../event/log-timeline';
import { type NumberedEvent, recordEventsValues, recordEventValues } from './statement-values';
import { writeBatch, type WriteRequest, type WriteResult } from './write-batch';

/** Writes groups of requests. */
@Injectable()
export class BatchCommitter {
  constructor(
    private readonly database: Database,
    private readonly idempotency: IdempotencyKeys,
    private readonly portions: EventLoopYielder,
    private readonly timeline: LogTimeline = new LogTimeline(),
  ) {}

  /**
   * Writes a group and commits: by one statement when that is enough, else step by step. A statement commits by itself, so
   * it cannot be cancelled; a large request, which may take long, therefore commits by a statement of its own.
   */
  async record(requests: WriteRequest[], options: CommitOptions = {}): Promise<WriteResult[]> {
    const asked = this.timeline.ask();
    const moves: HeadMove[] = [];
    const results = await this.commit(requests, moves, options);
    this.watchTimeline(moves, asked);
    return results;
  }

  private async commit(
    requests: WriteRequest[],
    moves: HeadMove[],
    options: CommitOptions,
  ): Promise<WriteResult[]> {
    const { database, idempotency, portions } = this;
    if (!canRecordAtOnce(requests)) {
      return database.transaction(
        (client, defer) => writeBatch({ client, defer, idempotency, moves }, requests),
        options,
      );
    }
    // A group of several is small, and all of them wait for it.
    const pause = requests.length === 1 ? () => portions.yieldIfDue(options.signal) : undefined;
    const prepared = await prepare(requests, pause);
    const isCommit = requests.length > 1 || prepared.events.length <= SMALL_REQUEST_EVENTS;
    // CommitWatch looks after commits alone: a statement before one keeps the limit of pg.
    if (isCommit) Object.assign(prepared.statement, UNTIMED);
    const work = (client: PoolClient) => recordAtOnce(client, requests, prepared, moves);
    return isCommit ? database.statement(work, options) : database.transaction(work, options);
  }

  /** Notes numbers that had been given before: PostgreSQL has lost the events that had them. */
  private watchTimeline(moves: HeadMove[], asked: number): void {
    for (const { organizationId, last, count, micros } of moves) {
      const first = Number(last) - count + 1;
      if (this.timeline.isGivenAgain(organizationId, first, asked)) {
        this.timeline.noteRewindTo(organizationId, BigInt(first - 1));
      }
      this.timeline.note(organizationId, { sequence: Number(last), micros });
    }
  }
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

/** The statement that writes requests at once, before there is a connection for it. */
interface Prepared {
  events: NewEvent[];
  /** Of events by organization. */
  counts: Map<string, number>;
  statement: QueryConfig;
}

async function prepare(requests: WriteRequest[], pause?: () => Promise<void>): Promise<Prepared> {
  const events = requests.flatMap((request) => request.events);
  const counts = countsOf(events);
  const [event] = events;
  const statement =
    event && events.length === 1
      ? { ...RECORD_EVENT, values: recordEventValues(event) }
      : { ...RECORD_EVENTS, values: await recordEventsValues(events, counts, pause) };
  return { events, counts, statement };
}

/**
 * Writes such requests by one statement: what `writeBatch` does with them in four. As a transaction of its own it takes
 * one round trip, and they are committed when this resolves, whatever becomes of their answers.
 */
async function recordAtOnce(
  client: PoolClient,
  requests: WriteRequest[],
  { events, counts, statement }: Prepared,
  moves: HeadMove[],
): Promise<WriteResult[]> {
  const { rows } = await client.query<HeadRow>(statement);
  moves.push(...movesOf(rows, counts));
  const numbered = assignSequences(events, counts, rows);
  return requests.map((request) => resultOf(request, numbered));
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
