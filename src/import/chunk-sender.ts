import { setTimeout as delay } from 'node:timers/promises';
import { ImportStopped, type BulkClient, type BulkOutcome } from './bulk-client';
import type { Chunk, EventLine, RefusedLine } from './record-reader';

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30_000;
const GIVE_UP_AFTER_MS = 5 * 60_000;

/** When all lines of a chunk, and so many, are refused without an index, it is not the lines. */
const SUSPICIOUS_LINES = 10;

export interface Clock {
  now: () => number;
  /** Rejects as soon as the signal is aborted. */
  sleep: (ms: number, signal: AbortSignal) => Promise<void>;
}

export const SYSTEM_CLOCK: Clock = {
  now: () => performance.now(),
  sleep: async (ms, signal) => {
    await delay(ms, undefined, { signal });
  },
};

export interface ChunkResult {
  created: number;
  duplicates: number;
  refused: RefusedLine[];
}

type Outcome<K extends BulkOutcome['kind']> = Extract<BulkOutcome, { kind: K }>;

/**
 * Brings the events of a chunk into the service: bad lines are taken out, those that shared a transaction with them are
 * sent again, requests that are too large are halved, a service that is away is retried for GIVE_UP_AFTER_MS.
 */
export class ChunkSender {
  /** `signal` ends the wait for a retry, not a request under way. */
  constructor(
    private readonly client: BulkClient,
    private readonly clock: Clock,
    private readonly signal: AbortSignal,
    private readonly onWait: (reason: string, waitMs: number) => void,
  ) {}

  /** The refused lines of the result are in the order of the file. @throws ImportStopped */
  async send(chunk: Chunk): Promise<ChunkResult> {
    const result: ChunkResult = { created: 0, duplicates: 0, refused: [...chunk.refused] };
    const waiting = chunk.events.length > 0 ? [chunk.events] : [];
    let refusedBlindly = 0;
    for (let events = waiting.pop(); events !== undefined; events = waiting.pop()) {
      const outcome = await this.post(events);
      if (outcome.kind !== 'divisible') {
        result.created += outcome.created;
        result.duplicates += outcome.duplicates;
      } else if (events.length === 1) refusedBlindly += 1;
      if (outcome.kind !== 'stored') waiting.push(...remainderOf(events, outcome, result.refused));
    }
    if (refusedBlindly >= SUSPICIOUS_LINES && refusedBlindly === chunk.events.length) {
      const last = result.refused.at(-1);
      throw new ImportStopped(
        `none of the ${refusedBlindly} lines up to line ${last?.line} is taken: ${last?.reason.join('; ')}`,
      );
    }
    result.refused.sort((a, b) => a.line - b.line);
    return result;
  }

  private async post(
    events: readonly EventLine[],
  ): Promise<Outcome<'stored' | 'faulty' | 'divisible'>> {
    // The events joined as text: serialising them again would re-spell their numbers.
    const body = events.map(({ event }) => `${event}\n`).join('');
    const startedAtMs = this.clock.now();
    for (let attempt = 0; ; attempt += 1) {
      const outcome = await this.client.post(body, events.length);
      if (outcome.kind !== 'later') return outcome;
      const { reason, retryAfterMs = 0 } = outcome;
      const waitMs = Math.max(retryAfterMs, backoffMs(attempt));
      if (this.clock.now() + waitMs - startedAtMs > GIVE_UP_AFTER_MS) {
        throw new ImportStopped(`${reason}. Gave up after ${attempt + 1} attempts.`);
      }
      if (!this.signal.aborted) this.onWait(reason, waitMs);
      await this.clock.sleep(waitMs, this.signal);
    }
  }
}

/** From half a second to half a minute, the upper half random, so that importers do not retry in step. */
function backoffMs(attempt: number): number {
  const full = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** attempt);
  return full / 2 + (full / 2) * Math.random();
}

/** What is left to send; lines that are refused for good are added to `refused`. */
function remainderOf(
  events: EventLine[],
  outcome: Outcome<'faulty' | 'divisible'>,
  refused: RefusedLine[],
): EventLine[][] {
  if (outcome.kind === 'faulty') {
    const { faults, settled } = outcome;
    for (const [index, reason] of faults) {
      const bad = events[index];
      if (bad) refused.push({ line: bad.line, record: bad.record, reason });
    }
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
