import { Logger } from '@nestjs/common';
import type { ClientBase, Pool } from 'pg';
import { RollingWindow } from '../runtime/rolling-window';

const SLOT_SECONDS = 10;
const SLOTS = 30;
const MS_PER_SECOND = 1000;

/** Statistics of a pool in the last five minutes. */
export interface AcquisitionStatistics {
  lent: number;
  /** Average wait in milliseconds; undefined without acquisitions. */
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

  /** Records an acquisition that was granted or refused after `waitedMs`. */
  record(waitedMs: number, isLent: boolean, nowMs = performance.now()): void {
    const slot = this.window.current(nowMs / MS_PER_SECOND);
    if (isLent) {
      slot.lent += 1;
      slot.waitedMs += waitedMs;
    } else {
      slot.refused += 1;
    }
  }

  /** Adds a wait before the pool to an acquisition that `record` counts. */
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

const WINDOW_MS = 300_000;
/** Limit of statements with statistics; the oldest are dropped. */
const MAX_KEPT = 1000;
const NAME_LENGTH = 60;
const LISTED = 5;

interface SlowQuery {
  name: string;
  ms: number;
  atMs: number;
}

interface SlowQueriesReport {
  /** Count since the start. */
  total: number;
  /** Count of the last five minutes. */
  count: number;
  /** Slowest on average first. */
  slowest: { name: string; count: number; averageMs: number }[];
}

/** Logs slow statements by name or the beginning of their text, never with values, which are events. */
export class QueryTimes {
  private readonly logger = new Logger('SlowQuery');
  private readonly kept: SlowQuery[] = [];
  private total = 0;

  constructor(private readonly thresholdMs: number) {}

  /** Times the statements of `client`, except streams and COPY, which depend on their reader. */
  watch(client: ClientBase): void {
    const query = client.query.bind(client) as (...parameters: unknown[]) => unknown;
    const timed = (...parameters: unknown[]): unknown => {
      const startedMs = performance.now();
      const result = query(...parameters);
      if (result instanceof Promise) {
        const note = (): void => this.note(parameters[0], performance.now() - startedMs);
        result.then(note, note);
      }
      return result;
    };
    Object.assign(client, { query: timed });
  }

  report(): SlowQueriesReport {
    const since = performance.now() - WINDOW_MS;
    const byName = new Map<string, { count: number; sumMs: number }>();
    for (const { name, ms, atMs } of this.kept) {
      if (atMs < since) continue;
      const sum = byName.get(name) ?? { count: 0, sumMs: 0 };
      byName.set(name, { count: sum.count + 1, sumMs: sum.sumMs + ms });
    }
    const slowest = [...byName].map(([name, { count, sumMs }]) => ({
      name,
      count,
      averageMs: sumMs / count,
    }));
    slowest.sort((a, b) => b.averageMs - a.averageMs);
    const count = slowest.reduce((sum, one) => sum + one.count, 0);
    return { total: this.total, count, slowest: slowest.slice(0, LISTED) };
  }

  private note(statement: unknown, ms: number): void {
    if (ms < this.thresholdMs) return;
    const name = statementName(statement);
    this.total += 1;
    this.kept.push({ name, ms, atMs: performance.now() });
    if (this.kept.length > MAX_KEPT) this.kept.shift();
    this.logger.warn(`Slow query: ${name} took ${Math.round(ms)} ms.`);
  }
}

/** Names a statement without values, as it has parameters in their place. */
function statementName(statement: unknown): string {
  const { name, text = '' } =
    typeof statement === 'string'
      ? { name: undefined, text: statement }
      : (statement as { name?: string; text?: string });
  return name ?? text.replace(/\s+/g, ' ').trim().slice(0, NAME_LENGTH);
}
