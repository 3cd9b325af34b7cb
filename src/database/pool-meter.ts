import type { Pool } from 'pg';

const SLOT_SECONDS = 10;
const SLOTS = 30;

interface Slot {
  number: number;
  lent: number;
  refused: number;
  waitedMs: number;
}

/** How long connections of a pool were waited for, over the last five minutes; a few additions for each. */
export class PoolMeter {
  private readonly slots: Slot[] = Array.from({ length: SLOTS }, () => emptySlot(-1));

  /** Notes that somebody got a connection, or did not, after `waitedMs`. */
  record(waitedMs: number, isLent: boolean, nowMs = performance.now()): void {
    const number = Math.floor(nowMs / 1000 / SLOT_SECONDS);
    let slot = this.slots[number % SLOTS];
    if (slot?.number !== number) this.slots[number % SLOTS] = slot = emptySlot(number);
    if (isLent) {
      slot.lent += 1;
      slot.waitedMs += waitedMs;
    } else {
      slot.refused += 1;
    }
  }

  /** Milliseconds on average, percent of those who asked; undefined when nobody did. */
  statistics(nowMs = performance.now()): { averageMs?: number; successPercent?: number } {
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
      ...(sum.lent > 0 ? { averageMs: sum.waitedMs / sum.lent } : {}),
      ...(asked > 0 ? { successPercent: (100 * sum.lent) / asked } : {}),
    };
  }
}

function emptySlot(number: number): Slot {
  return { number, lent: 0, refused: 0, waitedMs: 0 };
}

const meters = new WeakMap<Pool, PoolMeter>();

/** The meter of a pool; made at the first call. */
export function meterOf(pool: Pool): PoolMeter {
  let meter = meters.get(pool);
  if (!meter) meters.set(pool, (meter = new PoolMeter()));
  return meter;
}
