/** A moment up to which everything recorded is committed, and has been delivered to a listener. */
export interface Watermark {
  /** Microseconds since 1970, by PostgreSQL's clock. */
  micros: number;
  /** The sum of the sequences that the listener's organizations had reached at that moment. */
  sum: bigint;
}

/** A moment of the clock: transactions from `next` on had not begun to write, those before `oldest` were over. */
export interface ClockSample {
  micros: number;
  oldest: bigint;
  next: bigint;
}

interface Step {
  sequence: bigint;
  micros: number;
}

/** The steps of an organization after the last watermark. */
interface Steps {
  before: bigint;
  list: Step[];
}

/**
 * Distance of a watermark to the clock: a row takes its time before the lock of its head row and the number of its
 * transaction, which wait two seconds at most (HEAD_LOCK_TIMEOUT_MS).
 */
const MARGIN_MICROS = 3_000_000;
/** Limit of remembered steps, some 100 bytes each. */
const MAX_STEPS = 100_000;

/**
 * Finds watermarks, and what each organization had reached at them, from the events that a process delivers. Commits of
 * different organizations are not ordered by their times: a moment is a watermark only once no transaction runs that began
 * to write before it.
 */
export class Watermarks {
  private readonly steps = new Map<string, Steps>();
  private count = 0;
  private begunMicros = -Infinity;
  private pending: { micros: number; next: bigint } | undefined;

  constructor(private readonly maxSteps = MAX_STEPS) {}

  /** Begins anew: watermarks are known after this moment. */
  beginAt(micros: number): void {
    this.begunMicros = Math.max(this.begunMicros, micros);
  }

  stop(): void {
    this.forget();
    this.begunMicros = -Infinity;
    this.pending = undefined;
  }

  /** Notes a delivered event, in the order of its organization. */
  note(organizationId: string, { sequence, micros }: Step, before: bigint): void {
    let own = this.steps.get(organizationId);
    if (!own) this.steps.set(organizationId, (own = { before, list: [] }));
    const last = own.list.at(-1);
    if (last?.micros === micros) {
      last.sequence = sequence; // a commit has one time
      return;
    }
    own.list.push({ sequence, micros });
    this.count += 1;
    if (this.count <= this.maxSteps) return;
    // A transaction that does not end has kept watermarks back for long: later ones begin here.
    this.forget();
    this.beginAt(micros);
  }

  /** The moment up to which everything is committed, when a sample has shown a later one that is known. */
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
      // Numbers of transactions went back: another server.
      if (!this.pending || next < this.pending.next) {
        this.pending = { micros: micros - MARGIN_MICROS, next };
      }
    }
    return closed !== undefined && closed > this.begunMicros ? closed : undefined;
  }

  /** The sequence that an organization had reached at a watermark; `delivered` is its last one. */
  sequenceAt(organizationId: string, micros: number, delivered: bigint): bigint {
    const own = this.steps.get(organizationId);
    if (!own) return delivered;
    return own.list.findLast((step) => step.micros <= micros)?.sequence ?? own.before;
  }

  /** Drops the steps up to a watermark: only watermarks before it would need them. */
  passed(micros: number): void {
    this.begunMicros = Math.max(this.begunMicros, micros);
    for (const [id, own] of this.steps) {
      const at = own.list.findLastIndex((step) => step.micros <= micros);
      if (at < 0) continue;
      own.before = own.list[at]?.sequence ?? own.before;
      own.list.splice(0, at + 1);
      this.count -= at + 1;
      if (own.list.length === 0) this.steps.delete(id);
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
