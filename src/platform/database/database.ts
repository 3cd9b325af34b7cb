import { Injectable, Logger, type BeforeApplicationShutdown } from '@nestjs/common';
import type { PoolClient } from 'pg';
import { DataSource } from 'typeorm';
import { AppError } from '../errors/app-error';
import {
  commitFailed,
  isOutcomeUnknown,
  takeInterruptedWait,
  unknownOutcome,
} from './commit-outcome';
import { CommitWatch, UNTIMED } from './commit-watch';
import { poolOf } from './data-source';
import { isMisconfigured, toDatabaseError } from './database-errors';
import { UnconfirmedCommits } from './unconfirmed-commits';
import { BrokenConnection, type Lease, withConnection } from './connection-lease';
import { DedicatedPool, type DedicatedPoolOptions } from './dedicated-pool';
import { type PoolStats, statsOf } from './database-statistics';
import { ReadReplicas } from './read-replicas';
import type { SpanSink } from '../runtime/time-spans';

/** COMMIT, whose time CommitWatch limits instead of pg. */
const COMMIT = { text: 'COMMIT', ...UNTIMED };
const BARRIER_POOL: DedicatedPoolOptions = { max: 1, timeoutMs: 30_000, connectTimeoutMs: 2000 };

/** Options of a transaction. */
export interface CommitOptions {
  /** Ends the work before its commit. */
  signal?: AbortSignal;
  /** Spans of the requests that wait for this commit; by default those of the signal. */
  spans?: SpanSink;
  /** Called before the commit is sent. */
  onCommit?: () => void;
}

/**
 * Access to PostgreSQL by raw `pg` clients of TypeORM's pools: its query runner has no named prepared statements, array
 * rows or COPY. Faults are AppErrors (database-errors.ts).
 */
@Injectable()
export class Database implements BeforeApplicationShutdown {
  private readonly logger = new Logger(Database.name);
  private readonly dedicatedPools: DedicatedPool[] = [];
  private waitingElsewhere: () => number = () => 0;
  readonly unconfirmedCommits: UnconfirmedCommits;
  private readonly commits: CommitWatch;

  constructor(
    private readonly dataSource: DataSource,
    private readonly replicas: ReadReplicas,
  ) {
    this.unconfirmedCommits = new UnconfirmedCommits(
      this.dedicatedPool('durability', BARRIER_POOL),
    );
    const { query_timeout: limitMs = Infinity } = (
      dataSource.options as { extra: { query_timeout?: number } }
    ).extra;
    this.commits = new CommitWatch(this.unconfirmedCommits, limitMs);
  }

  /**
   * Runs `work` on the primary, outside a transaction. An abort cancels the work of every method in PostgreSQL; the
   * signal's reason is thrown once the connection is free.
   */
  async withClient<T>(work: (client: PoolClient) => Promise<T>, signal?: AbortSignal): Promise<T> {
    return withConnection(poolOf(this.dataSource), work, signal).catch((error: unknown) => {
      throw toDatabaseError(error);
    });
  }

  /**
   * Runs a read on a replica, or on the primary when no replica is available, or `isFresh`, called on the replica's
   * connection, resolves with false: a replica may lag. `work` may run twice.
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
      // A translated error comes from another query of `isFresh` or `work`.
      if (error instanceof AppError) throw error;
      const fault = toDatabaseError(error);
      if (fault.code !== 'DATABASE_UNAVAILABLE' && !isMisconfigured(error)) throw fault;
      replica.markDown(error);
    }
    return this.withClient(work, signal);
  }

  /**
   * Runs `work` in a READ COMMITTED transaction, which is rolled back when `work` rejects. Its error is thrown
   * untranslated, so that callers can distinguish a lost race from a lost server. An abort before the commit rolls back;
   * the commit is never cancelled, as that would end PostgreSQL's wait for a synchronous standby and not the transaction.
   *
   * To save round trips, `BEGIN` is sent with the first statement, and statements passed to `defer` with `COMMIT`; when
   * one of them fails, the transaction aborts and its error is thrown.
   * @throws AppError of unknown outcome (commit-outcome.ts) when the commit is not confirmed.
   */
  async transaction<T>(
    work: (client: PoolClient, defer: (statement: Promise<unknown>) => void) => Promise<T>,
    { signal, spans, onCommit }: CommitOptions = {},
  ): Promise<T> {
    const inTransaction = async (client: PoolClient, lease: Lease): Promise<T> => {
      const deferred: Promise<unknown>[] = [];
      const defer = (statement: Promise<unknown>): void => {
        statement.catch(() => undefined); // awaited with the commit
        deferred.push(statement);
      };
      defer(client.query('BEGIN'));
      try {
        const result = await work(client, defer);
        lease.forbidCancel();
        onCommit?.();
        const committed = client.query(COMMIT);
        await this.confirmed(client, lease, Promise.all([...deferred, committed]));
        // COMMIT may roll back although no statement has failed.
        if ((await committed).command !== 'COMMIT') throw new Error('PostgreSQL did not commit');
        return result;
      } catch (error) {
        if (!(error instanceof BrokenConnection)) await this.rollBack(client, error);
        throw error;
      }
    };
    return withConnection(poolOf(this.dataSource), inTransaction, signal, spans);
  }

  /**
   * Runs `work`, one statement, as a transaction, which is not cancelled once it is sent.
   * @throws the errors of `transaction`.
   */
  async statement<T>(
    work: (client: PoolClient) => Promise<T>,
    { signal, spans, onCommit }: CommitOptions = {},
  ): Promise<T> {
    const committing = (client: PoolClient, lease: Lease): Promise<T> => {
      lease.forbidCancel();
      onCommit?.();
      return this.confirmed(client, lease, work(client));
    };
    return withConnection(poolOf(this.dataSource), committing, signal, spans);
  }

  /**
   * Awaits a commit, and destroys the connection when its outcome is unknown. Nothing is awaited between the end of the
   * commit and the error, so that the caller marks its tenants before anything is read.
   */
  private async confirmed<T>(client: PoolClient, lease: Lease, sent: Promise<T>): Promise<T> {
    takeInterruptedWait(client); // resets the mark of an earlier statement
    try {
      const result = await this.commits.watch(client, lease, sent);
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

  /** Opens a separate pool on the primary, for work that must not wait for the main one. */
  dedicatedPool(name: string, options: DedicatedPoolOptions): DedicatedPool {
    const pool = new DedicatedPool(this.dataSource.options, name, options);
    this.dedicatedPools.push(pool);
    return pool;
  }

  /** Ends commits that take seconds (CommitWatch.stopWaiting); called when no request waits for them any more. */
  stopWaitingForCommits(): void {
    this.commits.stopWaiting();
  }

  /** Runs before the hooks that stop the data source and an embedded server (src/shutdown.ts). */
  async beforeApplicationShutdown(): Promise<void> {
    this.commits.close();
    await this.unconfirmedCommits.close();
    await Promise.all(this.dedicatedPools.splice(0).map((pool) => pool.close()));
  }

  /** Limit of connections that requests and exports may use together. */
  get readerLimit(): number {
    const { max = 0 } = (this.dataSource.options as { extra: { max?: number } }).extra;
    return this.dedicatedPools.reduce((sum, pool) => sum + (pool.isForCopy ? pool.max : 0), max);
  }

  /** Recent waits for connections of the primary, in any queue. */
  get acquisitions(): PoolStats {
    return statsOf(poolOf(this.dataSource));
  }

  /** Registers the number of callers that queue in front of the primary's pool. */
  watchWaiting(waiting: () => number): void {
    this.waitingElsewhere = waiting;
  }

  /** Counts the connections of the primary's pool, and the callers that wait in any queue. */
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
