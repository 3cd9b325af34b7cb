import { Logger } from '@nestjs/common';
import type { ClientBase } from 'pg';

const WINDOW_MS = 300_000;
/** Slow statements kept for the report; beyond it the oldest are dropped. */
const MAX_KEPT = 1000;
const NAME_LENGTH = 60;
const LISTED = 5;

interface SlowQuery {
  name: string;
  ms: number;
  atMs: number;
}

interface SlowQueriesReport {
  /** Since the start. */
  total: number;
  /** In the last five minutes. */
  count: number;
  /** Of these, by name, the slowest on average first. */
  slowest: { name: string; count: number; averageMs: number }[];
}

/**
 * Times the statements of a process. A slow one is a warning with its name or the beginning of its text, never with
 * values, which are events.
 */
export class QueryTimes {
  private readonly logger = new Logger('SlowQuery');
  private readonly kept: SlowQuery[] = [];
  private total = 0;

  constructor(private readonly thresholdMs: number) {}

  /** Times the statements of `client` from now on; not streams and COPY, which take as long as their reader. */
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

/** Statements have parameters in place of values, so that their beginning reveals nothing. */
function statementName(statement: unknown): string {
  const { name, text = '' } =
    typeof statement === 'string'
      ? { name: undefined, text: statement }
      : (statement as { name?: string; text?: string });
  return name ?? text.replace(/\s+/g, ' ').trim().slice(0, NAME_LENGTH);
}
