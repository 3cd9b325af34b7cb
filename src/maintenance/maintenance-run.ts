import type { PoolClient } from 'pg';
import { isCancelled, isLockTimeout, isUnavailable } from '../platform/database/database-errors';

/** Less time starts no statement. */
const MIN_STATEMENT_MS = 500;
/** Time of a read when less is left. */
const MIN_READ_MS = 1000;

/** Condition on pg_class `c`: relations of the service's schema that its role owns, directly or as a member of the owner. */
export const OWN_RELATIONS = `c.relnamespace = quote_ident(current_schema())::regnamespace
  AND pg_has_role(c.relowner, 'USAGE')`;

/** Condition on pg_class `c`: as OWN_RELATIONS, or of the owner of the migrations. A role that only serves requests reports these. */
export const SERVICE_RELATIONS = `c.relnamespace = quote_ident(current_schema())::regnamespace
  AND (pg_has_role(c.relowner, 'USAGE')
    OR c.relowner = (SELECT m.relowner FROM pg_class m WHERE m.oid = to_regclass('migrations')))`;

interface Outcome {
  durationMs: number;
  /** Reason, when the statement was not executed or had no effect. */
  skipped?: string | undefined;
}

interface Limits {
  /** Time reserved for removing the remains of a cancelled statement. */
  spareMs?: number;
  lockTimeoutMs?: number;
}

/** Runs statements on one connection until a deadline. The session keeps the timeouts of the last statement. */
export class MaintenanceRun {
  constructor(
    readonly client: PoolClient,
    private readonly deadlineMs: number,
    private readonly lockTimeoutMs: number,
  ) {}

  private get leftMs(): number {
    return this.deadlineMs - performance.now();
  }

  /**
   * Runs one statement outside a transaction; the deadline or the lock timeout cancels it.
   * @throws the error of `pg` when the connection is lost; any other error is an outcome.
   */
  async run(statement: string, limits: Limits = {}): Promise<Outcome> {
    const { spareMs = 0, lockTimeoutMs = this.lockTimeoutMs } = limits;
    const startMs = performance.now();
    const leftMs = Math.floor(this.leftMs - spareMs);
    if (leftMs < MIN_STATEMENT_MS)
      return { durationMs: 0, skipped: 'No time was left; run it again.' };
    // PostgreSQL only warns of a missing privilege (VACUUM, ANALYZE).
    const warnings: string[] = [];
    const onNotice = ({ severity, message }: { severity?: string; message?: string }): void => {
      if (severity === 'WARNING') warnings.push(message ?? '');
    };
    this.client.on('notice', onNotice);
    const elapsedMs = () => Math.round(performance.now() - startMs);
    try {
      await this.limit(leftMs, lockTimeoutMs);
      await this.client.query(statement);
      return { durationMs: elapsedMs(), skipped: warnings[0] };
    } catch (error) {
      if (isUnavailable(error)) throw error;
      return { durationMs: elapsedMs(), skipped: skipReason(error) };
    } finally {
      this.client.off('notice', onNotice);
    }
  }

  /** Runs a query, bounded as well: the size of a relation waits for its exclusive locks. MIN_READ_MS is the least bound. */
  async read<T>(
    query: (client: PoolClient) => Promise<T>,
  ): Promise<{ found: T } | { found: undefined; skipped: string }> {
    await this.limit(Math.max(MIN_READ_MS, Math.floor(this.leftMs)), this.lockTimeoutMs);
    try {
      return { found: await query(this.client) };
    } catch (error) {
      if (!isLockTimeout(error) && !isCancelled(error)) throw error;
      return { found: undefined, skipped: skipReason(error) };
    }
  }

  private async limit(statementMs: number, lockMs: number): Promise<void> {
    await this.client.query(`SET statement_timeout = ${statementMs}; SET lock_timeout = ${lockMs}`);
  }
}

/** Result of due work: done for the reason `due`, or skipped for the reason `skipped`. */
export function report<Done extends string>(
  done: Done,
  due: string,
  skipped: string | undefined,
): { action: Done | 'skipped'; reason: string } {
  return skipped === undefined
    ? { action: done, reason: due }
    : { action: 'skipped', reason: `${skipped} Due: ${due}` };
}

function skipReason(error: unknown): string {
  if (isLockTimeout(error)) {
    return 'Another session holds a lock on it, or an earlier transaction still runs; run it again later.';
  }
  if (isCancelled(error)) {
    return 'It took longer than the time that was left, and was cancelled.';
  }
  return error instanceof Error ? error.message : String(error);
}
