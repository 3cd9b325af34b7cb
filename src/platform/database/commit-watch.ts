import type { Socket } from 'node:net';
import type { PoolClient } from 'pg';
import type { Lease } from './connection-lease';

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
    private readonly unconfirmedCommits: { readonly isStalled: boolean; probe(): void },
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
   * Drops commits slower than SLOW_MS from now on, with an unknown outcome. Called when no request is left that waits
   * for them, so that shutdown does not wait for an absent standby.
   */
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
      this.unconfirmedCommits.probe();
      const { isStalled } = this.unconfirmedCommits;
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
