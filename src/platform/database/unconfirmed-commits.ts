import { Logger } from '@nestjs/common';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PoolClient } from 'pg';
import { takeInterruptedWait, type UnknownReason, unknownReasonOf } from './commit-outcome';
import type { DedicatedPool } from './dedicated-pool';
import { AppError } from '../errors/app-error';
import { withDeadline } from '../runtime/abort';

/**
 * Has a transaction id, so that its commit waits for synchronous standbys; its confirmation covers all earlier commits,
 * as logs are replicated in order.
 */
export const DURABILITY_BARRIER = {
  name: 'durability-barrier',
  text: `SELECT pg_logical_emit_message(true, 'audit-server', '')`,
};

/** Limit that shows a missing standby; ordinary barriers take milliseconds. */
const FIRST_WAIT_MS = 2000;
/** Limit of later barriers, which a returning standby answers at once. */
const LATER_WAIT_MS = 20_000;
/** Pauses after attempts that did not reach PostgreSQL, doubled up to the second. */
const [FIRST_PAUSE_MS, LONGEST_PAUSE_MS] = [50, 500];
/** Wait of readers from the first unconfirmed commit; later ones are refused at once. */
const READER_WAIT_MS = 1000;
const READ_ATTEMPTS = 3;
/** Interval while a commit waits for another reason (a lock). */
const PROBE_EVERY_MS = 5000;

type BarrierOutcome = 'confirmed' | 'interrupted' | 'failed';

/**
 * Tracks tenants whose rows may be visible and not durable.
 *
 * A commit on a primary with synchronous standbys waits, invisible, until a standby has it too. When the wait is
 * interrupted (a cancel) or its backend ends (pg_terminate_backend, a crash), its rows become visible unreplicated, and
 * a promotion of the standby loses them: they must be neither shown nor acknowledged. After a commit of unknown outcome
 * its tenants are unconfirmed until a later barrier is confirmed, which takes milliseconds without synchronous
 * standbys. Reads go through `readConfirmed`; acknowledgements carry the barrier in their own transaction. Processes do not
 * share unconfirmed commits (docs/adr/0028-acknowledged-means-replicated.md).
 */
export class UnconfirmedCommits {
  private readonly logger = new Logger('UnconfirmedCommits');
  /** Commits before the current barrier, and after its begin. */
  private covered = new TenantSet();
  private later = new TenantSet();
  private readonly counts: Record<UnknownReason, number> = {
    connection_lost: 0,
    wait_interrupted: 0,
    deadline: 0,
  };
  private readonly ending = new AbortController();
  private settling: Promise<void> | undefined;
  private readonly waiters = new Set<() => void>();
  private readonly stallListeners: ((isStalled: boolean) => void)[] = [];
  private confirmedAtMs = -Infinity;
  private unconfirmedSinceMs = 0;
  private stalledSinceMs: number | undefined;

  constructor(private readonly pool: DedicatedPool) {}

  /** True when PostgreSQL is reached but confirms no commits, as a synchronous standby does not answer. */
  get isStalled(): boolean {
    return this.stalledSinceMs !== undefined;
  }

  /** Calls `listener` at each change of `isStalled`. */
  onStall(listener: (isStalled: boolean) => void): void {
    this.stallListeners.push(listener);
  }

  refusal(): AppError {
    return new AppError(
      'DATABASE_UNAVAILABLE',
      'The database does not confirm commits at present, as a synchronous standby does not answer. Nothing was stored by this request.',
      { retryAfterSeconds: 2 },
    );
  }

  count(reason: UnknownReason): void {
    this.counts[reason] += 1;
  }

  /** Records a failed commit: an unknown outcome makes its tenants unconfirmed. */
  noteFailure(error: unknown, tenants: Iterable<string>): void {
    const reason = unknownReasonOf(error);
    if (reason === undefined) return;
    this.count(reason);
    if (this.unconfirmedTenants === 0) this.unconfirmedSinceMs = performance.now();
    this.later.add(tenants);
    this.logger.warn(
      `A commit has an unknown outcome (${reason}). Of ${describeCount(this.unconfirmedTenants)} nothing is shown until a later commit is ` +
        'confirmed by PostgreSQL and its synchronous standbys.',
    );
    this.startSettling();
  }

  /** Tries a barrier because of a slow commit. */
  probe(): void {
    if (performance.now() - this.confirmedAtMs > PROBE_EVERY_MS) this.startSettling();
  }

  affect(tenants: UnconfirmedTenants): boolean {
    return this.covered.has(tenants) || this.later.has(tenants);
  }

  /**
   * Runs a read of durable rows only: it waits while its tenants are unconfirmed, and is repeated when they become so.
   * @throws AppError DATABASE_UNAVAILABLE when that lasts; errors of `work`.
   */
  async readConfirmed<T>(tenants: UnconfirmedTenants, work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; attempt <= READ_ATTEMPTS; attempt += 1) {
      if (this.affect(tenants)) await this.whenConfirmed(tenants);
      const result = await work();
      if (!this.affect(tenants)) return result;
    }
    throw unconfirmed();
  }

  /**
   * Resolves when these are confirmed.
   * @throws AppError DATABASE_UNAVAILABLE after READER_WAIT_MS.
   */
  async whenConfirmed(tenants: UnconfirmedTenants): Promise<void> {
    while (this.affect(tenants)) {
      const leftMs = this.unconfirmedSinceMs + READER_WAIT_MS - performance.now();
      if (leftMs <= 0 || this.ending.signal.aborted) throw unconfirmed();
      await this.change(leftMs);
    }
  }

  /** Counts: `unknown` by reason since the start, `tenants` unconfirmed now (Infinity for all). */
  statistics(): { unknown: Record<UnknownReason, number>; tenants: number; isStalled: boolean } {
    return {
      unknown: { ...this.counts },
      tenants: this.unconfirmedTenants,
      isStalled: this.isStalled,
    };
  }

  /** Stops the barriers; resolves when their connection is free. */
  async close(): Promise<void> {
    this.ending.abort(new Error('The process stops'));
    this.wake();
    await this.settling;
  }

  private get unconfirmedTenants(): number {
    return this.covered.size + this.later.size;
  }

  private startSettling(): void {
    if (this.ending.signal.aborted) return;
    this.settling ??= this.confirmBarriers().finally(() => {
      this.settling = undefined;
      if (this.later.size > 0) this.startSettling();
    });
  }

  private async confirmBarriers(): Promise<void> {
    let pauseMs = FIRST_PAUSE_MS;
    let waitMs = FIRST_WAIT_MS;
    while (!this.ending.signal.aborted) {
      this.covered.take(this.later);
      const outcome = await this.attempt(waitMs);
      if (outcome === 'confirmed') {
        this.covered = new TenantSet();
        this.confirmedAtMs = performance.now();
        this.unconfirmedSinceMs = this.confirmedAtMs; // the remaining ones are younger
        this.noteStall('confirmed');
        this.wake();
        if (this.later.size === 0) return;
        continue;
      }
      this.noteStall(outcome);
      if (outcome === 'interrupted') waitMs = LATER_WAIT_MS;
      // No commit is in doubt: the next one finds out whether PostgreSQL confirms again.
      else if (this.unconfirmedTenants === 0) return;
      else {
        await sleep(pauseMs, undefined, { signal: this.ending.signal, ref: false }).catch(
          () => undefined,
        );
        pauseMs = Math.min(LONGEST_PAUSE_MS, 2 * pauseMs);
      }
    }
  }

  /**
   * Cancels the barrier after `waitMs`, harmless without rows: 'interrupted' means no confirmation by a standby,
   * 'failed' no connection to PostgreSQL.
   */
  private async attempt(waitMs: number): Promise<BarrierOutcome> {
    const isWhole = async (client: PoolClient): Promise<boolean> => {
      takeInterruptedWait(client); // of the attempt before
      await client.query(DURABILITY_BARRIER);
      return !takeInterruptedWait(client);
    };
    const late = (): Error => new Error('The barrier is late');
    try {
      const isConfirmed = await withDeadline(
        { timeoutMs: waitMs, late, signal: this.ending.signal },
        (signal) => this.pool.withClient(isWhole, signal),
      );
      return isConfirmed ? 'confirmed' : 'interrupted';
    } catch (error) {
      this.logger.debug(`A durability barrier failed: ${String(error)}`);
      return 'failed';
    }
  }

  private noteStall(outcome: BarrierOutcome): void {
    const isStalled = outcome === 'interrupted';
    if (isStalled === this.isStalled) return;
    if (!isStalled) {
      const seconds = ((performance.now() - (this.stalledSinceMs ?? 0)) / 1000).toFixed(1);
      this.stalledSinceMs = undefined;
      const after = `after ${seconds} s without confirmed commits`;
      if (outcome === 'confirmed') this.logger.log(`Writes are taken again, ${after}.`);
      else this.logger.warn(`PostgreSQL is not reached, ${after}: writes wait for a connection.`);
    } else {
      this.stalledSinceMs = performance.now();
      this.logger.error(
        'PostgreSQL does not confirm commits: a standby of synchronous_standby_names does not answer. Writes are refused ' +
          'until it does; see pg_stat_replication on the primary.',
      );
    }
    for (const listener of this.stallListeners) listener(isStalled);
  }

  private change(mostMs: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        this.waiters.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, mostMs);
      this.waiters.add(wake);
    });
  }

  private wake(): void {
    for (const wake of this.waiters) wake();
  }
}

function describeCount(tenants: number): string {
  return tenants === Infinity ? 'all organizations' : `${tenants} organizations`;
}

function unconfirmed(): AppError {
  return new AppError(
    'DATABASE_UNAVAILABLE',
    'These events may include some that are not durable: the database has not confirmed a commit of their organizations yet.',
    { retryAfterSeconds: 2 },
  );
}

export type UnconfirmedTenants = readonly string[] | '*';

/** Limit in characters of all names; beyond it all tenants are unconfirmed. */
const MAX_CHARACTERS = 1024 * 1024;

/** Tenants with unconfirmed commits, in bounded memory. */
export class TenantSet {
  private readonly names = new Set<string>();
  private characters = 0;
  private areAll = false;

  /** Count; Infinity for all. */
  get size(): number {
    return this.areAll ? Infinity : this.names.size;
  }

  add(tenants: Iterable<string>): void {
    for (const name of tenants) {
      if (this.areAll || this.names.has(name)) continue;
      this.names.add(name);
      this.characters += name.length;
      if (this.characters > MAX_CHARACTERS) this.addAll();
    }
  }

  /** Moves the tenants of another set here. */
  take(other: TenantSet): void {
    if (other.areAll) this.addAll();
    this.add(other.names);
    other.clear();
  }

  has(tenants: UnconfirmedTenants): boolean {
    if (this.areAll) return true;
    if (this.names.size === 0) return false;
    return tenants === '*' || tenants.some((name) => this.names.has(name));
  }

  private addAll(): void {
    this.clear();
    this.areAll = true;
  }

  private clear(): void {
    this.names.clear();
    this.characters = 0;
    this.areAll = false;
  }
}
