import type { Socket } from 'node:net';
import type { ClientBase, PoolClient } from 'pg';
import type { Lease } from './connection-loan';
import { isRefusedConnection, isUnavailable } from './database-errors';
import { AppError } from '../errors/app-error';

/**
 * Reason of an unknown outcome: connection lost, wait for a synchronous standby interrupted, or caller's deadline
 * passed.
 */
export type UnknownReason = 'connection_lost' | 'wait_interrupted' | 'deadline';

const RETRY_AFTER_SECONDS = 2;
const reasons = new WeakMap<object, UnknownReason>();

/** Creates the error of a commit of unknown outcome. */
export function unknownOutcome(reason: UnknownReason, cause?: unknown): AppError {
  const error = new AppError(
    'DATABASE_UNAVAILABLE',
    'It is not known whether this was stored: the database has not confirmed the commit. Sending it again with the same ' +
      'Idempotency-Key or the same event ids is safe.',
    { retryAfterSeconds: RETRY_AFTER_SECONDS, cause },
  );
  reasons.set(error, reason);
  return error;
}

/**
 * Returns the error unchanged for a refusal of PostgreSQL, of unknown outcome for a lost connection or no answer in
 * time.
 */
export function commitFailed(error: unknown): unknown {
  const isUnanswered = isUnavailable(error) || isRefusedConnection(error);
  return isUnanswered ? unknownOutcome('connection_lost', error) : error;
}

/** Tells whether this error leaves open if rows were stored. */
export function isOutcomeUnknown(error: unknown): boolean {
  return unknownReasonOf(error) !== undefined;
}

/** Returns that reason, undefined for other errors. */
export function unknownReasonOf(error: unknown): UnknownReason | undefined {
  return error instanceof AppError ? reasons.get(error) : undefined;
}

/** Function of PostgreSQL that waits for synchronous standbys, untranslated unlike the message. */
const WAITING_ROUTINE = 'SyncRepWaitForLSN';
const interrupted = new WeakSet<ClientBase>();

/**
 * Records when a commit stops waiting for its synchronous standby (pg_cancel_backend, a cancel request), of which
 * PostgreSQL only warns. One listener per connection costs statements nothing.
 */
export function watchInterruptedWaits(client: ClientBase): void {
  client.on('notice', ({ routine }) => {
    if (routine === WAITING_ROUTINE) interrupted.add(client);
  });
}

/** Tells whether a commit on `client` stopped waiting; resets that. */
export function takeInterruptedWait(client: ClientBase): boolean {
  return interrupted.delete(client);
}

const SAMPLE_INTERVAL_MS = 500;
/** Age of a possible wait for a synchronous standby; ordinary commits take milliseconds. */
const SLOW_MS = 2000;
/** Age at which a waiting commit frees its slot in the pool. */
const DETACH_MS = 5000;
/** Longest timer of Node. */
const FOREVER_MS = 2 ** 31 - 1;

/**
 * Disables pg's timeout, which would destroy connections that wait for a synchronous standby; CommitWatch ends silent
 * ones.
 */
export const UNTIMED = { query_timeout: FOREVER_MS };

interface PendingCommit {
  client: PoolClient;
  lease: Lease;
  sinceMs: number;
}

/**
 * Watches unanswered commits. One that waits for a synchronous standby keeps its connection, as its rows stay invisible
 * and its locks held until then, but frees its slot in the pool. Others are dropped after `limitMs`.
 */
export class CommitWatch {
  private readonly pending = new Set<PendingCommit>();
  private sampling: NodeJS.Timeout | undefined;
  private isStopping = false;

  constructor(
    private readonly durability: { readonly isStalled: boolean; probe(): void },
    /** Milliseconds; Infinity for no limit. */
    private readonly limitMs: number,
  ) {}

  async during<T>(client: PoolClient, lease: Lease, commit: Promise<T>): Promise<T> {
    const one = { client, lease, sinceMs: performance.now() };
    this.pending.add(one);
    this.sampling ??= setInterval(() => this.sample(), SAMPLE_INTERVAL_MS).unref();
    try {
      return await commit;
    } finally {
      this.pending.delete(one);
    }
  }

  /** Drops commits slower than SLOW_MS from now on, with an unknown outcome. Follows the last request. */
  stopWaiting(): void {
    this.isStopping = true;
    this.sample();
  }

  close(): void {
    clearInterval(this.sampling);
    this.sampling = undefined;
    for (const one of this.pending) if (ageOf(one) > SLOW_MS) drop(one);
  }

  private sample(): void {
    for (const one of this.pending) {
      const age = ageOf(one);
      if (age < SLOW_MS) return; // ordered by time of sending
      this.durability.probe();
      const { isStalled } = this.durability;
      if (this.isStopping || (!isStalled && age > this.limitMs)) drop(one);
      else if (isStalled && age > DETACH_MS) one.lease.detach();
    }
  }
}

function ageOf({ sinceMs }: PendingCommit): number {
  return performance.now() - sinceMs;
}

/** Destroys the socket, missing in pg's types, so that pg fails its statements. */
function drop({ client }: PendingCommit): void {
  (client as unknown as { connection: { stream: Socket } }).connection.stream.destroy();
}
