import type { Socket } from 'node:net';
import type { PoolClient } from 'pg';
import type { Durability } from './durability';
import type { Lease } from './connection-loan';

const SAMPLE_INTERVAL_MS = 500;
/** Commits take milliseconds; one that is not answered for this long may wait for a synchronous standby. */
const SLOW_MS = 2000;
/** A connection whose commit is not answered for this long no longer counts among those of its pool. */
const DETACH_MS = 5000;
/** The most that a timer of Node can wait. */
const FOREVER_MS = 2 ** 31 - 1;

/**
 * For statements that commit: pg is not to give up on them, which would destroy their connection while they wait for a
 * synchronous standby. CommitWatch does it when the way to the server is silent.
 */
export const UNTIMED = { query_timeout: FOREVER_MS };

interface PendingCommit {
  client: PoolClient;
  lease: Lease;
  sinceMs: number;
}

/**
 * Looks after commits that were sent and are not answered. One that waits for a synchronous standby keeps its connection
 * however long that takes, as its rows stay invisible and its locks held until then; but it leaves its pool to others.
 * A connection on which nothing comes although the server is not known to be waiting is dropped after `limitMs`.
 */
export class CommitWatch {
  private readonly pending = new Set<PendingCommit>();
  private sampling: NodeJS.Timeout | undefined;
  private isStopping = false;

  constructor(
    private readonly durability: Durability,
    /** Milliseconds; Infinity for no limit. */
    private readonly limitMs: number,
  ) {}

  /** Watches a commit that was sent on `client` until it is answered. */
  async during<T>(client: PoolClient, lease: Lease, answer: Promise<T>): Promise<T> {
    const one = { client, lease, sinceMs: performance.now() };
    this.pending.add(one);
    this.sampling ??= setInterval(() => this.sample(), SAMPLE_INTERVAL_MS).unref();
    try {
      return await answer;
    } finally {
      this.pending.delete(one);
    }
  }

  /**
   * From now on drops the connections of commits that are not answered within SLOW_MS, as they may wait for a standby
   * that stays away: for the end of the process, when all requests are over. Their outcome is unknown.
   */
  stopWaiting(): void {
    this.isStopping = true;
    this.sample();
  }

  /** Drops the connections of commits that are not answered, and looks after none any more. */
  close(): void {
    clearInterval(this.sampling);
    this.sampling = undefined;
    for (const one of this.pending) if (ageOf(one) > SLOW_MS) drop(one);
  }

  private sample(): void {
    for (const one of this.pending) {
      const age = ageOf(one);
      if (age < SLOW_MS) return; // in the order in which they were sent
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

/** Ends the connection on this side: pg then fails what was asked on it. Its socket is not in pg's type declarations. */
function drop({ client }: PendingCommit): void {
  (client as unknown as { connection: { stream: Socket } }).connection.stream.destroy();
}
