import { Logger } from '@nestjs/common';
import type { ClientBase } from 'pg';

/** A statement that does not bound time locks a partition and, while planned, its three indexes. */
const LOCKS_PER_PARTITION = 4;

/** Sizes of PostgreSQL's table of locks, which all connections share. */
export interface LockLimits {
  locksPerTransaction: number;
  connections: number;
}

/** Statements over all partitions that need more locks than there are. */
export interface LockShortage {
  needed: number;
  available: number;
  /** Value for max_locks_per_transaction. */
  recommended: number;
  reason: string;
}

/**
 * Compares the locks of `readers` connections that each read all of `partitions` with those that PostgreSQL has.
 * @param sealedIndexes indexes of a partition beside the three of every one (seals.ts).
 */
export function lockShortage(
  { locksPerTransaction, connections }: LockLimits,
  readers: number,
  partitions: number,
  sealedIndexes = 0,
): LockShortage | undefined {
  const needed = readers * partitions * (LOCKS_PER_PARTITION + sealedIndexes);
  const available = locksPerTransaction * connections;
  if (needed <= available) return undefined;
  return {
    needed,
    available,
    recommended: 2 ** Math.ceil(Math.log2(needed / connections)),
    reason: `${readers} connections of this process that each read all of ${partitions} partitions need ${needed} locks, and there are ${available}: beyond, statements fail with "out of shared memory".`,
  };
}

/** Reports when partitions become too many for PostgreSQL's table of locks. */
export class LockTable {
  private readonly logger = new Logger('Database');
  private limits: LockLimits | undefined;
  private reported = 0;

  /** @param readers the largest number of connections with statements about all partitions. */
  constructor(private readonly readers: () => number) {}

  /** Warns of a shortage, again when more locks are needed than the last warning has recommended. */
  async check(client: ClientBase, partitions: number): Promise<void> {
    this.limits ??= await readLockLimits(client); // changes at a restart of PostgreSQL only
    const shortage = lockShortage(this.limits, this.readers(), partitions);
    if (!shortage || shortage.recommended <= this.reported) return;
    this.reported = shortage.recommended;
    this.logger.warn(adviceOf(shortage));
  }

  /** Advice for people, when `partitions` are too many; undefined as well before the first check. */
  adviceFor(partitions: number): string | undefined {
    const shortage = this.limits && lockShortage(this.limits, this.readers(), partitions);
    return shortage && adviceOf(shortage);
  }
}

function adviceOf({ reason, recommended }: LockShortage): string {
  return `${reason} ALTER SYSTEM SET max_locks_per_transaction = ${recommended}, and restart PostgreSQL`;
}

export async function readLockLimits(client: ClientBase): Promise<LockLimits> {
  const { rows } = await client.query<LockLimits>(
    `SELECT current_setting('max_locks_per_transaction')::int AS "locksPerTransaction",
            current_setting('max_connections')::int AS connections`,
  );
  const [limits] = rows;
  if (!limits) throw new Error('PostgreSQL does not tell its settings');
  return limits;
}
