import type { Socket } from 'node:net';
import type { PoolClient } from 'pg';
import type { Durability } from './durability';
import type { Lease } from './connection-loan';

const SAMPLE_INTERVAL_MS = 500;
/** Commits take milliseconds; one that takes this long may wait for a synchronous standby. */
const SLOW_MS = 2000;
/** A connection whose commit takes this long no longer counts among those of its pool. */
const DETACH_MS = 5000;
/** The longest timer of Node. */
const FOREVER_MS = 2 ** 31 - 1;

/**
 * For statements that commit: a timeout of pg would destroy their connection while they wait for a synchronous standby.
 * CommitWatch ends them when the way to the server is silent.
 */
export const UNTIMED = { query_timeout: FOREVER_MS };

interface PendingCommit {
  client: PoolClient;
  lease: Lease;
  sinceMs: number;
}

/**
 * Watches commits that are not answered. One that waits for a synchronous standby keeps its connection, as its rows
 * stay invisible and its locks held until then, but frees its slot in the pool. Any other is dropped after `limitMs`.
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

  /**
   * For the end of the process, when all requests are over: from now on drops the connections of commits that take
   * longer than SLOW_MS, with an unknown outcome.
   */
  stopWaiting(): void {
    this.isStopping = true;
    this.sample();
  }

  /** Drops the connections of slow commits, and stops watching. */
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

/** Closes the connection on this side: pg then fails its statements. Its socket is not in pg's type declarations. */
function drop({ client }: PendingCommit): void {
  (client as unknown as { connection: { stream: Socket } }).connection.stream.destroy();
}
