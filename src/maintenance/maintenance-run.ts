import type { PoolClient } from 'pg';
import { isLockTimeout, isUnavailable } from '../platform/database/database-errors';

const LEAST_MS = 500;
const LEAST_READ_MS = 1000;

/** Relations (`c` is pg_class) of the service's schema whose owner its role may act as: no superuser is needed. */
export const OWN_RELATIONS = `c.relnamespace = quote_ident(current_schema())::regnamespace
  AND pg_has_role(c.relowner, 'USAGE')`;

/** The same with those of the owner of the schema's migrations, for reports by a role that only serves requests. */
export const SERVICE_RELATIONS = `c.relnamespace = quote_ident(current_schema())::regnamespace
  AND (pg_has_role(c.relowner, 'USAGE')
    OR c.relowner = (SELECT m.relowner FROM pg_class m WHERE m.oid = to_regclass('migrations')))`;

interface Outcome {
  durationMs: number;
  /** Why it was not done. */
  skipped?: string | undefined;
}

interface Limits {
  /** Time kept back for removing what a cancelled statement leaves. */
  spareMs?: number;
  lockTimeoutMs?: number;
}

/** Statements on one connection until a deadline. The session keeps the timeouts of the last one. */
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
   * Runs one statement outside a transaction, cancelled at the deadline or by its lock timeout.
   * @throws what `pg` throws when the connection is lost; everything else is an outcome.
   */
  async run(statement: string, limits: Limits = {}): Promise<Outcome> {
    const { spareMs = 0, lockTimeoutMs = this.lockTimeoutMs } = limits;
    const startMs = performance.now();
    const leftMs = Math.floor(this.leftMs - spareMs);
    if (leftMs < LEAST_MS) return { durationMs: 0, skipped: 'No time was left; ask again.' };
    // A role that may not do this to a table gets a warning, not an error.
    const warnings: string[] = [];
    const onNotice = ({ severity, message }: { severity?: string; message?: string }): void => {
      if (severity === 'WARNING') warnings.push(message ?? '');
    };
    this.client.on('notice', onNotice);
    const took = () => Math.round(performance.now() - startMs);
    try {
      await this.limit(leftMs, lockTimeoutMs);
      await this.client.query(statement);
      return { durationMs: took(), skipped: warnings[0] };
    } catch (error) {
      if (isUnavailable(error)) throw error;
      return { durationMs: took(), skipped: skipReason(error) };
    } finally {
      this.client.off('notice', onNotice);
    }
  }

  /** Bounded too, as measuring a relation waits for its exclusive locks. Has a second even when no time is left. */
  async read<T>(
    query: (client: PoolClient) => Promise<T>,
  ): Promise<{ found: T } | { found: undefined; skipped: string }> {
    await this.limit(Math.max(LEAST_READ_MS, Math.floor(this.leftMs)), this.lockTimeoutMs);
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

/** Result of due work: done, or skipped and why. */
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
