import type { Pool } from 'pg';

const SLOT_SECONDS = 10;
const SLOTS = 30;

interface Slot {
  number: number;
  lent: number;
  refused: number;
  waitedMs: number;
}

/** How connections of a pool were had over the last five minutes: milliseconds on average, percent of those who asked. */
export interface AcquisitionStatistics {
  /** How many got one. */
  lent: number;
  /** Undefined, like the percentage, when nobody asked. */
  averageMs?: number;
  successPercent?: number;
}

/** How long connections of a pool were waited for, over the last five minutes; a few additions for each. */
export class PoolStats {
  private readonly slots: Slot[] = Array.from({ length: SLOTS }, () => emptySlot(-1));

  /** Notes that somebody got a connection, or did not, after `waitedMs`. */
  record(waitedMs: number, isLent: boolean, nowMs = performance.now()): void {
    const slot = this.slotOf(nowMs);
    if (isLent) {
      slot.lent += 1;
      slot.waitedMs += waitedMs;
    } else {
      slot.refused += 1;
    }
  }

  /** Notes what somebody has waited before asking the pool, which is recorded when it is over. */
  recordBefore(waitedMs: number, nowMs = performance.now()): void {
    this.slotOf(nowMs).waitedMs += waitedMs;
  }

  statistics(nowMs = performance.now()): AcquisitionStatistics {
    const oldest = Math.floor(nowMs / 1000 / SLOT_SECONDS) - SLOTS;
    const sum = emptySlot(0);
    for (const slot of this.slots) {
      if (slot.number <= oldest) continue;
      sum.lent += slot.lent;
      sum.refused += slot.refused;
      sum.waitedMs += slot.waitedMs;
    }
    const asked = sum.lent + sum.refused;
    return {
      lent: sum.lent,
      ...(sum.lent > 0 ? { averageMs: sum.waitedMs / sum.lent } : {}),
      ...(asked > 0 ? { successPercent: (100 * sum.lent) / asked } : {}),
    };
  }

  private slotOf(nowMs: number): Slot {
    const number = Math.floor(nowMs / 1000 / SLOT_SECONDS);
    let slot = this.slots[number % SLOTS];
    if (slot?.number !== number) this.slots[number % SLOTS] = slot = emptySlot(number);
    return slot;
  }
}

function emptySlot(number: number): Slot {
  return { number, lent: 0, refused: 0, waitedMs: 0 };
}

const poolStats = new WeakMap<Pool, PoolStats>();

/** The meter of a pool; made at the first call. */
export function statsOf(pool: Pool): PoolStats {
  let meter = poolStats.get(pool);
  if (!meter) poolStats.set(pool, (meter = new PoolStats()));
  return meter;
}
