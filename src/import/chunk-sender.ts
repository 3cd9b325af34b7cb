import { ImportStopped, type BulkClient, type BulkOutcome } from './bulk-client';
import { bodyOf, type Chunk } from './chunker';
import type { EventLine, RefusedLine } from './record-reader';
import { GIVE_UP_AFTER_MS, waitBeforeRetryMs, type Clock } from './retry';

/** What became of the lines of a chunk. */
export interface ChunkResult {
  created: number;
  duplicates: number;
  refused: RefusedLine[];
}

export interface ChunkSenderOptions {
  client: BulkClient;
  clock: Clock;
  /** Ends the waiting for a retry; a request under way is heard out. */
  signal: AbortSignal;
  /** Told why and how long the import waits. */
  onWait: (reason: string, waitMs: number) => void;
}

/** When so many lines in a row, and no other, are refused without a place being named, it is not the lines. */
const SUSPICIOUS_LINES = 10;

type Stored = Extract<BulkOutcome, { kind: 'stored' }>;
type Refused = Exclude<BulkOutcome, { kind: 'stored' | 'later' }>;

/**
 * Brings the events of a chunk into the service whatever it takes: bad lines are taken out and those that shared a
 * transaction with them are sent again, requests that are too large are halved, a service that is away is waited for.
 * Throws ImportStopped when the import cannot go on.
 */
export class ChunkSender {
  constructor(private readonly options: ChunkSenderOptions) {}

  /** Sends a chunk; the refused lines of the result are in the order of the file. */
  async send(chunk: Chunk): Promise<ChunkResult> {
    const result: ChunkResult = { created: 0, duplicates: 0, refused: [...chunk.refused] };
    const waiting = chunk.events.length > 0 ? [chunk.events] : [];
    let refusedBlindly = 0;
    for (let events = waiting.pop(); events !== undefined; events = waiting.pop()) {
      const outcome = await this.attempt(events);
      if (outcome.kind === 'stored') {
        result.created += outcome.created;
        result.duplicates += outcome.duplicates;
        continue;
      }
      if (outcome.kind === 'faulty') {
        result.created += outcome.created;
        result.duplicates += outcome.duplicates;
      }
      if (outcome.kind === 'divisible' && events.length === 1) refusedBlindly += 1;
      waiting.push(...remainderOf(events, outcome, result.refused));
    }
    if (refusedBlindly >= SUSPICIOUS_LINES && refusedBlindly === chunk.events.length) {
      const [last] = result.refused.slice(-1);
      throw new ImportStopped(
        `none of the ${refusedBlindly} lines up to line ${last?.line} is taken: ${last?.reason.join('; ')}`,
      );
    }
    result.refused.sort((a, b) => a.line - b.line);
    return result;
  }

  /** Posts until there is an answer that is not "later". What was stored without our hearing of it is a duplicate then. */
  private async attempt(events: readonly EventLine[]): Promise<Stored | Refused> {
    const { client, clock } = this.options;
    const body = bodyOf(events);
    const startedAtMs = clock.now();
    for (let attempt = 0; ; attempt += 1) {
      const outcome = await client.post(body, events.length);
      if (outcome.kind !== 'later') return outcome;
      await this.wait(attempt, outcome, startedAtMs);
    }
  }

  private async wait(
    attempt: number,
    { reason, retryAfterMs }: Extract<BulkOutcome, { kind: 'later' }>,
    startedAtMs: number,
  ): Promise<void> {
    const { clock, signal, onWait } = this.options;
    const waitMs = waitBeforeRetryMs(attempt, retryAfterMs, Math.random());
    if (clock.now() + waitMs - startedAtMs > GIVE_UP_AFTER_MS) {
      throw new ImportStopped(`${reason}. Gave up after ${attempt + 1} attempts.`);
    }
    if (!signal.aborted) onWait(reason, waitMs);
    await clock.sleep(waitMs, signal);
  }
}

/** What is left to send after a refusal; the lines that were refused for good are added to `refused`. */
function remainderOf(events: EventLine[], outcome: Refused, refused: RefusedLine[]): EventLine[][] {
  if (outcome.kind === 'faulty') {
    for (const [index, reason] of outcome.faults) {
      const bad = events[index];
      if (bad) refused.push({ line: bad.line, record: bad.record, reason });
    }
    const { faults, settled } = outcome;
    const good = events.filter((_, index) => !faults.has(index) && !settled.has(index));
    return good.length > 0 ? [good] : [];
  }
  const [only] = events;
  if (events.length === 1 && only) {
    refused.push({ line: only.line, record: only.record, reason: [outcome.reason] });
    return [];
  }
  const middle = Math.ceil(events.length / 2);
  // The last one is sent first: the order of the file is kept.
  return [events.slice(middle), events.slice(0, middle)];
}
