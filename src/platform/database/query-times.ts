import { Logger } from '@nestjs/common';
import type { ClientBase } from 'pg';

const WINDOW_MS = 300_000;
/** Limit of kept statements; the oldest are dropped. */
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

/** Reveals no values: statements have parameters in their place. */
function statementName(statement: unknown): string {
  const { name, text = '' } =
    typeof statement === 'string'
      ? { name: undefined, text: statement }
      : (statement as { name?: string; text?: string });
  return name ?? text.replace(/\s+/g, ' ').trim().slice(0, NAME_LENGTH);
}
