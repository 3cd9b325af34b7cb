/**
 * A moment up to which all events are committed, and have been delivered to a listener. Feeds of more organizations than
 * a cursor can name resume from it: their cursors are short, as they only name positions after the watermark.
 */
export interface Watermark {
  /** Microseconds since 1970, by PostgreSQL's clock. */
  micros: number;
  /** Sum of the last sequences that the listener's organizations had at that moment. */
  sum: bigint;
}

/** Moment of the clock: transactions with numbers from `next` on had not begun to write, those before `oldest` had ended. */
export interface ClockSample {
  micros: number;
  oldest: bigint;
  next: bigint;
}

interface Step {
  sequence: bigint;
  micros: number;
}

/** Steps of an organization after the last watermark: `before` is its sequence at the watermark. */
interface Steps {
  before: bigint;
  list: Step[];
}

/**
 * Distance of a watermark to the clock. A transaction takes the time of its events before it waits for the lock of the
 * head row, two seconds at most (HEAD_LOCK_TIMEOUT_MS), and gets its number.
 */
const MARGIN_MICROS = 3_000_000;
/** Limit of stored steps, some 100 bytes each. */
const MAX_STEPS = 100_000;

/**
 * Finds watermarks, and the sequences of organizations at them, from the events that a process delivers. Commits of
 * different organizations are not ordered by their times: a moment becomes a watermark when all transactions that began
 * to write before it have ended.
 */
export class Watermarks {
  private readonly steps = new Map<string, Steps>();
  private count = 0;
  private begunMicros = -Infinity;
  private pending: { micros: number; next: bigint } | undefined;

  constructor(private readonly maxSteps = MAX_STEPS) {}

  /** Begins at a moment: only later moments can become watermarks. */
  beginAt(micros: number): void {
    this.begunMicros = Math.max(this.begunMicros, micros);
  }

  stop(): void {
    this.forget();
    this.begunMicros = -Infinity;
    this.pending = undefined;
  }

  /** Notes a delivered event; `before` is the sequence that its organization had before. Events come in order. */
  note(organizationId: string, { sequence, micros }: Step, before: bigint): void {
    let steps = this.steps.get(organizationId);
    if (!steps) this.steps.set(organizationId, (steps = { before, list: [] }));
    const last = steps.list.at(-1);
    if (last?.micros === micros) {
      last.sequence = sequence; // of the same commit
      return;
    }
    steps.list.push({ sequence, micros });
    this.count += 1;
    if (this.count <= this.maxSteps) return;
    // A transaction that does not end has prevented watermarks for long: they begin again here.
    this.forget();
    this.beginAt(micros);
  }

  /** Returns the latest moment that a sample shows to be a watermark; undefined when there is no new one. */
  close({ micros, oldest, next }: ClockSample): number | undefined {
    let closed: number | undefined;
    if (oldest >= next) {
      closed = micros - MARGIN_MICROS;
      this.pending = undefined;
    } else {
      if (this.pending && oldest >= this.pending.next) {
        closed = this.pending.micros;
        this.pending = undefined;
      }
      // Numbers of transactions that are lower than before belong to another server.
      if (!this.pending || next < this.pending.next) {
        this.pending = { micros: micros - MARGIN_MICROS, next };
      }
    }
    return closed !== undefined && closed > this.begunMicros ? closed : undefined;
  }

  /** Returns the sequence of an organization at a watermark; `delivered` is its last one. */
  sequenceAt(organizationId: string, micros: number, delivered: bigint): bigint {
    const steps = this.steps.get(organizationId);
    if (!steps) return delivered;
    return steps.list.findLast((step) => step.micros <= micros)?.sequence ?? steps.before;
  }

  /** Drops the steps up to a watermark, which only earlier watermarks would need. */
  passed(micros: number): void {
    this.begunMicros = Math.max(this.begunMicros, micros);
    for (const [id, steps] of this.steps) {
      const at = steps.list.findLastIndex((step) => step.micros <= micros);
      if (at < 0) continue;
      steps.before = steps.list[at]?.sequence ?? steps.before;
      steps.list.splice(0, at + 1);
      this.count -= at + 1;
      if (steps.list.length === 0) this.steps.delete(id);
    }
  }

  drop(organizationId: string): void {
    this.count -= this.steps.get(organizationId)?.list.length ?? 0;
    this.steps.delete(organizationId);
  }

  private forget(): void {
    this.steps.clear();
    this.count = 0;
  }
}
