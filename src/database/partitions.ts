import { Injectable } from '@nestjs/common';
import type { PoolClient } from 'pg';
import { wallClockMs } from '../clock/clocks';
import { BrokenConnection } from './broken-connection';
import { abortOf } from './cancellable';
import { Database } from './database';
import { covers, findPartitions, type Partition } from './partition-catalog';

/** A month of UTC as `YYYY-MM`: the unit events are partitioned by. */
export type Month = string;

const PARTITION_LOCK = 0x70617274; // "part" in ASCII
/** Held, with the oid of the partition, by whoever detaches it. */
export const DETACH_LOCK = 0x64657463; // "detc"
/** How long a write into a month that is being removed waits for the end of that. */
const DETACH_WAIT_MS = 5000;
const MONTH = /^(\d{4})-(\d{2})$/;

/** The month after (or, with a negative count, before) the given one. */
export function addMonths(month: Month, count: number): Month {
  const [, year, number] = MONTH.exec(month) ?? [];
  const date = new Date(0);
  date.setUTCFullYear(Number(year), Number(number) - 1 + count, 1);
  return `${String(date.getUTCFullYear()).padStart(4, '0')}-${String(date.getUTCMonth() + 1).padStart(2, '0')}`;
}

/** How many months `to` comes after `from`; negative when before. */
export function monthsBetween(from: Month, to: Month): number {
  const count = (month: Month) => Number(month.slice(0, 4)) * 12 + Number(month.slice(5));
  return count(to) - count(from);
}

/** The month of an ISO 8601 instant in UTC (`2026-11-23T…Z` -> `2026-11`). */
export function monthOf(isoUtc: string): Month {
  return isoUtc.slice(0, 7);
}

/** The current month and `count` after it. */
export function monthsAhead(count: number, now = new Date(wallClockMs())): Month[] {
  const current = monthOf(now.toISOString());
  return Array.from({ length: count + 1 }, (_, index) => addMonths(current, index));
}

/** Those of `months` that have no place: an operator's partition may hold several, one being removed holds none. */
export function missingMonths(partitions: readonly Partition[], months: readonly Month[]): Month[] {
  return months.filter((month) => {
    const startMs = startOf(month);
    return !partitions.some((one) => !one.isDetaching && covers(one, startMs));
  });
}

/**
 * Monthly range partitions of a table on its `timestamp`, made ahead and on demand.
 *
 * A partition is created as a table of its own and then attached: ATTACH takes SHARE UPDATE EXCLUSIVE on the parent,
 * which neither reads nor writes wait for, where `CREATE TABLE … PARTITION OF` would lock both out. There is no
 * DEFAULT partition: it would have to be scanned under a lock at every attach.
 */
@Injectable()
export class Partitions {
  private readonly known = new Map<string, Set<Month>>();
  private lastTurn: Promise<unknown> = Promise.resolve();

  constructor(private readonly database: Database) {}

  /**
   * Makes the partitions of these months exist. Costs nothing for months seen before. When the signal aborts, it is
   * cancelled in PostgreSQL; who waits for his turn then leaves at once.
   */
  async ensure(table: string, months: Iterable<Month>, signal?: AbortSignal): Promise<void> {
    const wanted = new Set(months);
    if (this.areKnown(table, wanted)) return;
    // One after the other: a hundred requests for a new month must not take a hundred connections to wait for it.
    const isMyTurn = this.lastTurn;
    const turn = isMyTurn.then(() => this.make(table, wanted, signal));
    this.lastTurn = turn.catch(() => undefined);
    if (signal) await Promise.race([isMyTurn, abortOf(signal)]);
    await turn;
  }

  private async make(table: string, wanted: Set<Month>, signal?: AbortSignal): Promise<void> {
    const known = this.knownOf(table);
    const missing = [...wanted].filter((month) => !known.has(month)).sort();
    if (missing.length === 0) return;
    await this.database.withClient(async (client) => {
      for (const month of await this.absent(client, table, missing)) {
        await this.create(client, table, month);
      }
    }, signal);
    for (const month of missing) known.add(month);
  }

  /** Whether these months were seen to have their partitions. */
  areKnown(table: string, months: Iterable<Month>): boolean {
    const known = this.knownOf(table);
    for (const month of months) if (!known.has(month)) return false;
    return true;
  }

  /** Makes the partitions of the current month and of `ahead` months after it exist. */
  async ensureAhead(table: string, ahead: number, now = new Date(wallClockMs())): Promise<void> {
    await this.ensure(table, monthsAhead(ahead, now));
  }

  /** Learns anew which months have a partition, after an insert found none: another replica may have dropped it. */
  async refresh(table: string, signal?: AbortSignal): Promise<void> {
    this.known.set(table, new Set(monthsOf(await this.find(table, signal))));
  }

  /** The partitions of `table`, oldest first. */
  find(table: string, signal?: AbortSignal): Promise<Partition[]> {
    return this.database.withClient((client) => findPartitions(client, table), signal);
  }

  /** The months of `table` that have a partition, oldest first; of a longer partition the first. */
  async list(table: string): Promise<Month[]> {
    return monthsOf(await this.find(table));
  }

  private knownOf(table: string): Set<Month> {
    let known = this.known.get(table);
    if (!known) this.known.set(table, (known = new Set()));
    return known;
  }

  private async absent(client: PoolClient, table: string, months: Month[]): Promise<Month[]> {
    const partitions = await findPartitions(client, table);
    return missingMonths(partitions, months);
  }

  private async create(client: PoolClient, table: string, month: Month): Promise<void> {
    await this.finishDetaching(client, table, month);
    await inTransaction(client, async () => {
      // Replicas that need the same month at once go one after the other.
      await client.query('SELECT pg_advisory_xact_lock($1)', [PARTITION_LOCK]);
      if ((await this.absent(client, table, [month])).length === 0) return;
      const name = await freeNameOf(client, table, month);
      // Identifiers cannot be bound; table comes from our code, month has passed MONTH.
      await client.query(`CREATE TABLE ${name} (LIKE ${table} INCLUDING ALL)`);
      await client.query(
        `ALTER TABLE ${table} ATTACH PARTITION ${name}
         FOR VALUES FROM ('${month}-01T00:00:00Z') TO ('${addMonths(month, 1)}-01T00:00:00Z')`,
      );
    });
  }

  /**
   * A partition that is on its way out hides its rows and still takes its place: no other can be made until it is gone.
   * Waits for whoever is detaching it, and finishes it if that one was interrupted.
   * @throws what `pg` throws on a lock timeout, when old transactions still use it.
   */
  private async finishDetaching(client: PoolClient, table: string, month: Month): Promise<void> {
    const startMs = startOf(month);
    const findIt = async () =>
      (await findPartitions(client, table)).find((one) => one.isDetaching && covers(one, startMs));
    const detaching = await findIt();
    if (!detaching) return;
    await inTransaction(client, async () => {
      await client.query(`SET LOCAL lock_timeout = ${DETACH_WAIT_MS}`);
      await client.query('SELECT pg_advisory_xact_lock($1, $2::oid::int)', [
        DETACH_LOCK,
        detaching.oid,
      ]);
      if (await findIt()) {
        await client.query(`ALTER TABLE ${table} DETACH PARTITION ${detaching.name} FINALIZE`);
      }
    });
  }
}

function monthsOf(partitions: readonly Partition[]): Month[] {
  return partitions.flatMap(({ lowerMs, isDetaching }) =>
    lowerMs === null || isDetaching ? [] : [monthOf(new Date(lowerMs).toISOString())],
  );
}

async function inTransaction(client: PoolClient, work: () => Promise<void>): Promise<void> {
  await client.query('BEGIN');
  try {
    await work();
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {
      throw new BrokenConnection(error); // a cancel may have met the rollback
    });
    throw error;
  }
}

/** `table_YYYYMM`, or with a suffix when a table of that name is still there: one that was detached and not dropped. */
async function freeNameOf(client: PoolClient, table: string, month: Month): Promise<string> {
  const name = nameOf(table, month);
  const { rows } = await client.query('SELECT WHERE to_regclass($1) IS NOT NULL', [name]);
  return rows.length === 0 ? name : `${name}_${wallClockMs().toString(36)}`;
}

function startOf(month: Month): number {
  return Date.parse(`${month}-01T00:00:00Z`);
}

function nameOf(table: string, month: Month): string {
  const [, year, number] = MONTH.exec(month) ?? [];
  if (year === undefined || number === undefined) throw new RangeError(`Not a month: ${month}`);
  return `${table}_${year}${number}`;
}
