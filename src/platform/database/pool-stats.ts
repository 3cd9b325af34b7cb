import type { Pool } from 'pg';
import { RollingWindow } from '../runtime/rolling-window';

const SLOT_SECONDS = 10;
const SLOTS = 30;
const MS_PER_SECOND = 1000;

/** Acquisitions of connections in the last five minutes. */
export interface AcquisitionStatistics {
  lent: number;
  /** Milliseconds per acquisition; undefined without one. */
  averageMs?: number;
  /** Percent, undefined without requests. */
  successPercent?: number;
}

/** Rolling statistics of a pool. */
export class PoolStats {
  private readonly window = new RollingWindow(
    SLOT_SECONDS,
    SLOTS,
    () => ({ lent: 0, refused: 0, waitedMs: 0 }),
    (slot) => Object.assign(slot, { lent: 0, refused: 0, waitedMs: 0 }),
  );

  /** Records a connection lent or refused after `waitedMs`. */
  record(waitedMs: number, isLent: boolean, nowMs = performance.now()): void {
    const slot = this.window.current(nowMs / MS_PER_SECOND);
    if (isLent) {
      slot.lent += 1;
      slot.waitedMs += waitedMs;
    } else {
      slot.refused += 1;
    }
  }

  /** Adds a wait before the pool; `record` counts its acquisition. */
  recordBefore(waitedMs: number, nowMs = performance.now()): void {
    this.window.current(nowMs / MS_PER_SECOND).waitedMs += waitedMs;
  }

  statistics(nowMs = performance.now()): AcquisitionStatistics {
    const sum = { lent: 0, refused: 0, waitedMs: 0 };
    for (const slot of this.window.recent(nowMs / MS_PER_SECOND)) {
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
}

const poolStats = new WeakMap<Pool, PoolStats>();

export function statsOf(pool: Pool): PoolStats {
  let stats = poolStats.get(pool);
  if (!stats) poolStats.set(pool, (stats = new PoolStats()));
  return stats;
}
