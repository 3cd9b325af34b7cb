import { Logger } from '@nestjs/common';
import type { ClientBase } from 'pg';

/** Locks of a statement without bounds on time, for each partition: the table and, while it is planned, three indexes. */
const LOCKS_PER_PARTITION = 4;

/** Sizes of PostgreSQL's table of locks, which all connections share. */
export interface LockLimits {
  locksPerTransaction: number;
  connections: number;
}

/** Shortage: statements about all partitions need more locks than the server has. */
export interface LockShortage {
  needed: number;
  available: number;
  /** Recommended value of max_locks_per_transaction. */
  recommended: number;
  reason: string;
}

/**
 * Compares the locks that `readers` connections need to read all `partitions` at once with those that PostgreSQL has.
 * @param sealedIndexes indexes of a partition beyond the three that every partition has (seals.ts).
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

  /** @param readers returns the largest number of connections with statements about all partitions. */
  constructor(private readonly readers: () => number) {}

  /** Warns of a shortage; again once more locks are needed than the last warning recommended. */
  async check(client: ClientBase, partitions: number): Promise<void> {
    this.limits ??= await readLockLimits(client); // they only change with a restart of PostgreSQL
    const shortage = lockShortage(this.limits, this.readers(), partitions);
    if (!shortage || shortage.recommended <= this.reported) return;
    this.reported = shortage.recommended;
    this.logger.warn(adviceOf(shortage));
  }

  /** Advice for operators when `partitions` are too many; undefined before the first check, too. */
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
