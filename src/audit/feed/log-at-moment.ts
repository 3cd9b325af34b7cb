import type { PoolClient } from 'pg';
import { findStoredLogs, type LogPosition } from '../read/position';

/** Limit of organizations in one statement, which looks into every partition for each. */
const MAX_SEARCHED = 200;
/** Factor by which steps back from the end grow: most moments are near the end. */
const GROWTH = 8n;

/**
 * Last sequence of an organization at a moment: between `low` and `high`, which differ only where retention has removed
 * the events between them.
 */
export interface ReachedSequence {
  low: bigint;
  high: bigint;
  /** Last stored event at present. */
  last?: LogPosition | undefined;
}

/**
 * Finds the last sequences of organizations at a moment (microseconds since 1970) by the recording times of their events,
 * which grow with the sequence. `heads` has their present sequences. The number of statements grows with the logarithm of
 * the number of later events.
 */
export async function findReachedAt(
  client: PoolClient,
  heads: ReadonlyMap<string, bigint>,
  micros: number,
): Promise<Map<string, ReachedSequence>> {
  const searches = [...heads].map(([id, head]) => new Search(id, head, micros));
  for (let at = 0; at < searches.length; at += MAX_SEARCHED) {
    let open = searches.slice(at, at + MAX_SEARCHED);
    for (;;) {
      open = open.filter((search) => !search.isOver);
      if (open.length === 0) break;
      const ids = open.map(({ organizationId }) => organizationId);
      const probes = open.map((search) => search.probe);
      const { logs } = await findStoredLogs(client, ids, probes.map(String));
      for (const [index, search] of open.entries()) {
        search.take(probes[index] ?? 0n, logs.get(search.organizationId)?.nearest);
      }
    }
  }
  return new Map(searches.map((search) => [search.organizationId, search.result]));
}

type StoredEvent = Required<Pick<LogPosition, 'sequence' | 'recordedMicros'>>;

class Search {
  /** Sequences up to `low` were recorded at the moment or before, those from `high` on after it. */
  private low = 0n;
  private high: bigint;
  private earlier = 0n;
  private later: bigint | undefined;
  private step = 1n;
  private isBounded = false;
  private last: LogPosition | undefined;
  private isFirst = true;

  constructor(
    readonly organizationId: string,
    private readonly head: bigint,
    private readonly micros: number,
  ) {
    this.high = head + 1n;
  }

  get isOver(): boolean {
    return this.high - this.low <= 1n;
  }

  get probe(): bigint {
    const back = this.high - this.step;
    return !this.isBounded && back > this.low ? back : (this.low + this.high) / 2n;
  }

  /** Narrows the range by the last event up to the probe. */
  take(probe: bigint, nearest: StoredEvent | undefined): void {
    if (this.isFirst) {
      this.isFirst = false;
      this.last = nearest && {
        sequence: nearest.sequence,
        recordedMicros: nearest.recordedMicros,
      };
    }
    if (nearest && nearest.sequence > this.low && nearest.recordedMicros > this.micros) {
      this.high = this.later = nearest.sequence;
      this.step *= GROWTH;
      return;
    }
    this.isBounded = true;
    this.low = probe;
    if (nearest && nearest.sequence > this.earlier) this.earlier = nearest.sequence;
  }

  get result(): ReachedSequence {
    const { later, earlier, head, last } = this;
    if (later !== undefined) return { low: later - 1n, high: later - 1n, last };
    return { low: earlier, high: head, last };
  }
}
