import type { PoolClient } from 'pg';
import { isLockTimeout, isUnavailable } from '../platform/database/database-errors';

/** Less time than this is not worth beginning anything. */
const LEAST_MS = 500;
const LEAST_READ_MS = 1000;

/** What became of a statement: how long it took, or why it did not do what it should. */
export type MaintenanceOutcome = { durationMs: number; skipped?: string };

/** Other limits of one statement. */
export interface MaintenanceLimits {
  /** Time to keep back: what the statement leaves behind when it is cancelled has to be removed. */
  spareMs?: number;
  lockTimeoutMs?: number;
}

/**
 * Runs statements of maintenance on one connection until a deadline, each with what is left of the time. The timeouts
 * of the session are those of the last statement.
 */
export class MaintenanceRun {
  /** `lockTimeoutMs` is what a statement waits for others. */
  constructor(
    readonly client: PoolClient,
    private readonly deadlineMs: number,
    private readonly lockTimeoutMs: number,
  ) {}

  /** Milliseconds that are left. */
  get leftMs(): number {
    return this.deadlineMs - performance.now();
  }

  /**
   * Runs one statement outside a transaction. It is cancelled at the deadline, and when it waits too long for a lock.
   * @throws what `pg` throws when the connection is lost; everything else is an outcome.
   */
  async run(statement: string, limits: MaintenanceLimits = {}): Promise<MaintenanceOutcome> {
    const { spareMs = 0, lockTimeoutMs = this.lockTimeoutMs } = limits;
    const startMs = performance.now();
    const leftMs = Math.floor(this.leftMs - spareMs);
    if (leftMs < LEAST_MS) return { durationMs: 0, skipped: 'No time was left; ask again.' };
    // PostgreSQL says by a warning, not by an error, that a role may not do this to a table.
    const warnings: string[] = [];
    const onNotice = ({ severity, message }: { severity?: string; message?: string }): void => {
      if (severity === 'WARNING') warnings.push(message ?? '');
    };
    this.client.on('notice', onNotice);
    const took = () => Math.round(performance.now() - startMs);
    try {
      await this.limit(leftMs, lockTimeoutMs);
      await this.client.query(statement);
      const [skipped] = warnings;
      return skipped === undefined ? { durationMs: took() } : { durationMs: took(), skipped };
    } catch (error) {
      if (isUnavailable(error)) throw error;
      return { durationMs: took(), skipped: failureReason(error) };
    } finally {
      this.client.off('notice', onNotice);
    }
  }

  /**
   * Reads statistics and sizes. Measuring a relation waits for whoever has locked it, so this is bounded as well; but it
   * is also done when no time is left, to tell how things are.
   */
  async read<T>(
    query: (client: PoolClient) => Promise<T>,
  ): Promise<{ found: T } | { found: undefined; skipped: string }> {
    await this.limit(Math.max(LEAST_READ_MS, Math.floor(this.leftMs)), this.lockTimeoutMs);
    try {
      return { found: await query(this.client) };
    } catch (error) {
      if (!isLockTimeout(error) && !isCancelled(error)) throw error;
      return { found: undefined, skipped: failureReason(error) };
    }
  }

  private async limit(statementMs: number, lockMs: number): Promise<void> {
    await this.client.query(`SET statement_timeout = ${statementMs}; SET lock_timeout = ${lockMs}`);
  }
}

function failureReason(error: unknown): string {
  if (isLockTimeout(error)) {
    return 'Somebody else holds a lock on it, or a transaction that began before goes on; ask again later.';
  }
  if (isCancelled(error)) {
    return 'It did not fit into the time that was left, and was cancelled.';
  }
  return error instanceof Error ? error.message : String(error);
}

function isCancelled(error: unknown): boolean {
  return (error as { code?: unknown }).code === '57014';
}
