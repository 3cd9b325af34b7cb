import { Logger } from '@nestjs/common';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PoolClient } from 'pg';
import { takeInterruptedWait, type UnknownReason, unknownReasonOf } from './commit-outcome';
import type { DedicatedPool } from './dedicated-pool';
import { AppError } from '../errors/app-error';
import { withDeadline } from '../runtime/abort';

/**
 * Barrier: a statement with a transaction id, whose commit therefore waits for synchronous standbys. Its confirmation
 * covers all earlier commits, as the log is replicated in order.
 */
export const DURABILITY_BARRIER = {
  name: 'durability-barrier',
  text: `SELECT pg_logical_emit_message(true, 'audit-server', '')`,
};

/** Time of the first barrier, after which a standby counts as missing; ordinary barriers take milliseconds. */
const FIRST_WAIT_MS = 2000;
/** Time of later barriers, which a returning standby confirms at once. */
const LATER_WAIT_MS = 20_000;
/** First and longest pause after barriers that did not reach PostgreSQL; each pause is twice the one before. */
const [FIRST_PAUSE_MS, LONGEST_PAUSE_MS] = [50, 500];
/** Time that readers wait after the first unconfirmed commit; reads that come later are refused at once. */
const READER_WAIT_MS = 1000;
const READ_ATTEMPTS = 3;
/** Interval of barriers while a commit waits for another reason, such as a lock. */
const PROBE_EVERY_MS = 5000;

type BarrierOutcome = 'confirmed' | 'interrupted' | 'failed';

/**
 * Commits that no synchronous standby has confirmed, by tenant; reads of these tenants are held back.
 *
 * A commit on a primary with synchronous standbys waits, invisible, until a standby has it as well. When the wait is
 * interrupted (a cancel) or its backend ends (pg_terminate_backend, a crash), its rows become visible although they are
 * not replicated, and a promotion of the standby loses them: they must be neither shown nor acknowledged. After a commit
 * of unknown outcome its tenants are unconfirmed until a later barrier is confirmed, which takes milliseconds without
 * synchronous standbys. Reads go through `readConfirmed`; a transaction that acknowledges stored rows contains the
 * barrier. Processes do not share unconfirmed commits (docs/adr/0028-acknowledged-means-replicated.md).
 */
export class UnconfirmedCommits {
  private readonly logger = new Logger('UnconfirmedCommits');
  /** Tenants with commits that the current barrier covers, and with later ones. */
  private covered = new TenantSet();
  private later = new TenantSet();
  private readonly counts: Record<UnknownReason, number> = {
    connection_lost: 0,
    wait_interrupted: 0,
    deadline: 0,
  };
  private readonly ending = new AbortController();
  private confirming: Promise<void> | undefined;
  private readonly waiters = new Set<() => void>();
  private readonly stallListeners: ((isStalled: boolean) => void)[] = [];
  private confirmedAtMs = -Infinity;
  private unconfirmedSinceMs = 0;
  private stalledSinceMs: number | undefined;

  constructor(private readonly pool: DedicatedPool) {}

  /** True while PostgreSQL answers but confirms no commits, as a synchronous standby is missing. */
  get isStalled(): boolean {
    return this.stalledSinceMs !== undefined;
  }

  /** Calls `listener` at each change of `isStalled`. */
  onStall(listener: (isStalled: boolean) => void): void {
    this.stallListeners.push(listener);
  }

  /** Creates the error of writes while `isStalled`. */
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

  /** Records a failed commit; one of unknown outcome makes its tenants unconfirmed. */
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
    this.startConfirming();
  }

  /** Tries a barrier, because a commit is slow. */
  probe(): void {
    if (performance.now() - this.confirmedAtMs > PROBE_EVERY_MS) this.startConfirming();
  }

  /** Tells whether one of these tenants has unconfirmed commits. */
  affect(tenants: Tenants): boolean {
    return this.covered.has(tenants) || this.later.has(tenants);
  }

  /**
   * Runs a read that shows confirmed commits only. It waits while its tenants have unconfirmed commits, and is repeated
   * when they have them afterwards.
   * @throws AppError DATABASE_UNAVAILABLE when the commits stay unconfirmed; errors of `work`.
   */
  async readConfirmed<T>(tenants: Tenants, work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; attempt <= READ_ATTEMPTS; attempt += 1) {
      if (this.affect(tenants)) await this.whenConfirmed(tenants);
      const result = await work();
      if (!this.affect(tenants)) return result;
    }
    throw unconfirmed();
  }

  /**
   * Resolves when these tenants have no unconfirmed commits.
   * @throws AppError DATABASE_UNAVAILABLE after READER_WAIT_MS.
   */
  async whenConfirmed(tenants: Tenants): Promise<void> {
    while (this.affect(tenants)) {
      const leftMs = this.unconfirmedSinceMs + READER_WAIT_MS - performance.now();
      if (leftMs <= 0 || this.ending.signal.aborted) throw unconfirmed();
      await this.nextChange(leftMs);
    }
  }

  /** `unknown`: commits of unknown outcome since the start, by reason; `tenants`: their unconfirmed tenants now, Infinity for all. */
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
    await this.confirming;
  }

  private get unconfirmedTenants(): number {
    return this.covered.size + this.later.size;
  }

  private startConfirming(): void {
    if (this.ending.signal.aborted) return;
    this.confirming ??= this.confirmBarriers().finally(() => {
      this.confirming = undefined;
      if (this.later.size > 0) this.startConfirming();
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
      // No commit is unconfirmed: the next commit shows whether PostgreSQL confirms again.
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
   * Tries a barrier, and cancels it after `waitMs`, which is harmless as it has no rows. 'interrupted': no standby has
   * confirmed it; 'failed': PostgreSQL was not reached.
   */
  private async attempt(waitMs: number): Promise<BarrierOutcome> {
    const tryBarrier = async (client: PoolClient): Promise<boolean> => {
      takeInterruptedWait(client); // resets the mark of the previous attempt
      await client.query(DURABILITY_BARRIER);
      return !takeInterruptedWait(client);
    };
    const late = (): Error => new Error('The barrier was not confirmed in time');
    try {
      const isConfirmed = await withDeadline(
        { timeoutMs: waitMs, late, signal: this.ending.signal },
        (signal) => this.pool.withClient(tryBarrier, signal),
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

  private nextChange(mostMs: number): Promise<void> {
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

/** Names of tenants; `*` for all. */
type Tenants = readonly string[] | '*';

/** Limit in characters of all names; beyond it the set contains every tenant. */
const MAX_CHARACTERS = 1024 * 1024;

/** Set of tenants in bounded memory. */
class TenantSet {
  private readonly names = new Set<string>();
  private characters = 0;
  private areAll = false;

  /** Number of tenants; Infinity for all. */
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

  /** Moves the tenants of another set into this one. */
  take(other: TenantSet): void {
    if (other.areAll) this.addAll();
    this.add(other.names);
    other.clear();
  }

  has(tenants: Tenants): boolean {
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
