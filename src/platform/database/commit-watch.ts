import type { Socket } from 'node:net';
import type { PoolClient } from 'pg';
import type { Lease } from './connection-lease';

const SAMPLE_INTERVAL_MS = 500;
/** Age from which a commit may be waiting for a synchronous standby; ordinary commits take milliseconds. */
const SLOW_MS = 2000;
/** Age at which a commit that waits for a standby frees its slot in the pool. */
const DETACH_MS = 5000;
/** Maximum of Node's timers. */
const FOREVER_MS = 2 ** 31 - 1;

/**
 * Query options without pg's timeout, which would destroy a connection that waits for a synchronous standby. CommitWatch
 * ends silent connections instead.
 */
export const UNTIMED = { query_timeout: FOREVER_MS };

interface PendingCommit {
  client: PoolClient;
  lease: Lease;
  sinceMs: number;
}

/**
 * Watches unanswered commits. A commit that waits for a synchronous standby keeps its connection, as its rows stay
 * invisible and its locks held until it ends, but frees its slot in the pool. Any other is dropped after `limitMs`.
 */
export class CommitWatch {
  private readonly pending = new Set<PendingCommit>();
  private sampling: NodeJS.Timeout | undefined;
  private isStopping = false;

  constructor(
    private readonly unconfirmedCommits: { readonly isStalled: boolean; probe(): void },
    /** Milliseconds after which an unanswered commit is dropped; Infinity for no limit. */
    private readonly limitMs: number,
  ) {}

  /** Watches a sent commit until it is answered; settles as `commit` does. */
  async watch<T>(client: PoolClient, lease: Lease, commit: Promise<T>): Promise<T> {
    const pending = { client, lease, sinceMs: performance.now() };
    this.pending.add(pending);
    this.sampling ??= setInterval(() => this.sample(), SAMPLE_INTERVAL_MS).unref();
    try {
      return await commit;
    } finally {
      this.pending.delete(pending);
    }
  }

  /**
   * Drops commits slower than SLOW_MS from now on; their outcome is unknown. The shutdown, which an absent standby must
   * not delay, calls this when no request waits for them any more.
   */
  stopWaiting(): void {
    this.isStopping = true;
    this.sample();
  }

  close(): void {
    clearInterval(this.sampling);
    this.sampling = undefined;
    for (const commit of this.pending) if (ageOf(commit) > SLOW_MS) drop(commit);
  }

  private sample(): void {
    for (const commit of this.pending) {
      const age = ageOf(commit);
      if (age < SLOW_MS) return; // later commits are younger
      this.unconfirmedCommits.probe();
      const { isStalled } = this.unconfirmedCommits;
      if (this.isStopping || (!isStalled && age > this.limitMs)) drop(commit);
      else if (isStalled && age > DETACH_MS) commit.lease.detach();
    }
  }
}

function ageOf({ sinceMs }: PendingCommit): number {
  return performance.now() - sinceMs;
}

/** Destroys the socket, which pg's types omit: pg then fails the statements of the connection. */
function drop({ client }: PendingCommit): void {
  (client as unknown as { connection: { stream: Socket } }).connection.stream.destroy();
}
