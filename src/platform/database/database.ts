import { Injectable, Logger, type BeforeApplicationShutdown } from '@nestjs/common';
import type { PoolClient } from 'pg';
import { DataSource } from 'typeorm';
import { AppError } from '../errors/app-error';
import { CommitWatch, UNTIMED } from './commit-watch';
import { poolOf } from './data-source';
import { isMisconfigured, toDatabaseError } from './database-errors';
import { Durability } from './durability';
import { takeInterruptedWait } from './interrupted-waits';
import { BrokenConnection, type Lease, withConnection } from './connection-loan';
import { type AcquisitionStatistics, statsOf } from './pool-stats';
import { ReadReplicas } from './read-replicas';
import { commitFailed, isOutcomeUnknown, unknownOutcome } from './unknown-outcome';
import { DedicatedPool, type DedicatedPoolOptions } from './dedicated-pool';

/** CommitWatch limits it instead of pg. */
const COMMIT = { text: 'COMMIT', ...UNTIMED };
const DURABILITY_POOL: DedicatedPoolOptions = { max: 1, timeoutMs: 30_000, connectTimeoutMs: 2000 };

/** A signal that ends work until it commits, and a listener that is called before the commit is sent. */
export interface CommitOptions {
  signal?: AbortSignal;
  onCommit?: () => void;
}

/**
 * The one way to PostgreSQL. It lends raw `pg` clients of TypeORM's pools, because its query runner has no named
 * prepared statements, array rows or COPY. Every fault leaves as an AppError (database-errors.ts).
 */
@Injectable()
export class Database implements BeforeApplicationShutdown {
  private readonly logger = new Logger(Database.name);
  private readonly dedicatedPools: DedicatedPool[] = [];
  private waitingElsewhere: () => number = () => 0;
  /** Tenants whose rows may be visible and not durable. */
  readonly durability: Durability;
  private readonly commits: CommitWatch;

  constructor(
    private readonly dataSource: DataSource,
    private readonly replicas: ReadReplicas,
  ) {
    this.durability = new Durability(this.dedicatedPool('durability', DURABILITY_POOL));
    const { query_timeout: limitMs = Infinity } = (
      dataSource.options as { extra: { query_timeout?: number } }
    ).extra;
    this.commits = new CommitWatch(this.durability, limitMs);
  }

  /**
   * Runs `work` on a connection to the primary, outside a transaction. Like all work here it is cancelled in PostgreSQL
   * when `signal` aborts, and rejects with the signal's reason once the connection is free again.
   */
  async withClient<T>(work: (client: PoolClient) => Promise<T>, signal?: AbortSignal): Promise<T> {
    return withConnection(poolOf(this.dataSource), work, signal).catch((error: unknown) => {
      throw toDatabaseError(error);
    });
  }

  /**
   * Runs a read: on a replica that answers, else on the primary. `work` may run twice, when the replica fails. A
   * replica may lag behind: `isFresh` is called on its connection before, and the primary answers when it gives false.
   */
  async withReader<T>(
    work: (client: PoolClient) => Promise<T>,
    { isFresh, signal }: ReaderOptions = {},
  ): Promise<T> {
    const replica = this.replicas.pick();
    if (!replica) return this.withClient(work, signal);
    try {
      const found = await withConnection(
        await replica.pool(),
        async (client) =>
          isFresh && !(await isFresh(client)) ? undefined : { result: await work(client) },
        signal,
      );
      if (found) return found.result;
    } catch (error) {
      // Already translated: not the replica failed, but another query of `isFresh` or `work`.
      if (error instanceof AppError) throw error;
      const fault = toDatabaseError(error);
      if (fault.code !== 'DATABASE_UNAVAILABLE' && !isMisconfigured(error)) throw fault;
      replica.markDown(error);
    }
    return this.withClient(work, signal);
  }

  /**
   * Runs `work` in one READ COMMITTED transaction, which commits when `work` resolves and rolls back when it rejects;
   * the original error is rethrown untranslated, so that callers can distinguish a lost race from a lost server. A
   * signal that aborts before the commit is sent rolls back; the commit itself is never cancelled, as that would end
   * PostgreSQL's wait for a synchronous standby and not the transaction.
   *
   * To save round trips `BEGIN` travels with the first statement, and statements given to `defer` with `COMMIT`; one
   * that fails aborts the transaction before the commit, and its error is thrown.
   * @throws AppError of unknown outcome (unknown-outcome.ts) when the commit is not confirmed.
   */
  async transaction<T>(
    work: (client: PoolClient, defer: (statement: Promise<unknown>) => void) => Promise<T>,
    { signal, onCommit }: CommitOptions = {},
  ): Promise<T> {
    const inTransaction = async (client: PoolClient, lease: Lease): Promise<T> => {
      const deferred: Promise<unknown>[] = [];
      const defer = (statement: Promise<unknown>): void => {
        statement.catch(() => undefined); // awaited below, once the commit is on its way
        deferred.push(statement);
      };
      defer(client.query('BEGIN'));
      try {
        const result = await work(client, defer);
        lease.seal();
        onCommit?.();
        const committed = client.query(COMMIT);
        await this.confirmed(client, lease, Promise.all([...deferred, committed]));
        // Nothing failed on this side, so only a rollback of PostgreSQL's own is left.
        if ((await committed).command !== 'COMMIT') throw new Error('PostgreSQL did not commit');
        return result;
      } catch (error) {
        if (!(error instanceof BrokenConnection)) await this.rollBack(client, error);
        throw error;
      }
    };
    return withConnection(poolOf(this.dataSource), inTransaction, signal);
  }

  /**
   * Runs `work`, which is one statement, as a transaction of its own, which is not cancelled once it was sent. Errors
   * are rethrown as by `transaction`.
   */
  async statement<T>(
    work: (client: PoolClient) => Promise<T>,
    { signal, onCommit }: CommitOptions = {},
  ): Promise<T> {
    const committing = (client: PoolClient, lease: Lease): Promise<T> => {
      lease.seal();
      onCommit?.();
      return this.confirmed(client, lease, work(client));
    };
    return withConnection(poolOf(this.dataSource), committing, signal);
  }

  /**
   * The result of a commit that was sent. A connection of unknown outcome is not used again; nothing is awaited between
   * its end and the error, so that its caller knows before anything is read.
   */
  private async confirmed<T>(client: PoolClient, lease: Lease, sent: Promise<T>): Promise<T> {
    takeInterruptedWait(client); // left by an earlier statement
    try {
      const result = await this.commits.during(client, lease, sent);
      if (takeInterruptedWait(client)) throw unknownOutcome('wait_interrupted');
      return result;
    } catch (error) {
      const failure = commitFailed(error);
      throw isOutcomeUnknown(failure) ? new BrokenConnection(failure) : failure;
    }
  }

  private async rollBack(client: PoolClient, reason: unknown): Promise<void> {
    await client.query('ROLLBACK').catch((failure: unknown) => {
      this.logger.debug(`Rollback failed, the connection is dropped: ${String(failure)}`);
      throw new BrokenConnection(reason);
    });
  }

  /** Opens a small pool of its own on the primary, for work that must not wait for the large one. */
  dedicatedPool(name: string, options: DedicatedPoolOptions): DedicatedPool {
    const pool = new DedicatedPool(this.dataSource.options, name, options);
    this.dedicatedPools.push(pool);
    return pool;
  }

  /** Ends commits that take seconds; for the end of the process, when all requests are over. */
  stopWaitingForCommits(): void {
    this.commits.stopWaiting();
  }

  /**
   * Closes the dedicated pools, before the phase in which the data source, and with it an embedded server, is stopped.
   */
  async beforeApplicationShutdown(): Promise<void> {
    this.commits.close();
    await this.durability.close();
    await Promise.all(this.dedicatedPools.splice(0).map((pool) => pool.close()));
  }

  /** Recent waits for connections of the primary's pool, in whatever queue (pool-stats.ts). */
  acquisitionStatistics(): AcquisitionStatistics {
    return statsOf(poolOf(this.dataSource)).statistics();
  }

  /** Sets the count of callers that wait for a connection before they ask the primary's pool for one. */
  watchWaiting(waiting: () => number): void {
    this.waitingElsewhere = waiting;
  }

  /** Records a wait of a caller that asks the pool next. */
  noteWaitBefore(waitedMs: number): void {
    statsOf(poolOf(this.dataSource)).recordBefore(waitedMs);
  }

  /** Records a wait of a caller that gave up before asking the pool. */
  noteWaitInVain(waitedMs: number): void {
    statsOf(poolOf(this.dataSource)).record(waitedMs, false);
  }

  /** Connections of the primary's pool now, and callers that wait for one, in whatever queue. */
  poolStatistics(): { total: number; idle: number; waiting: number } {
    const pool = poolOf(this.dataSource);
    const waiting = pool.waitingCount + this.waitingElsewhere();
    return { total: pool.totalCount, idle: pool.idleCount, waiting };
  }
}

interface ReaderOptions {
  isFresh?: (replica: PoolClient) => Promise<boolean>;
  signal?: AbortSignal;
}
