import { Injectable } from '@nestjs/common';
import type { PoolClient } from 'pg';
import type { Tenants } from '../../caching/cache-key';
import type { DedicatedPool } from '../../platform/database/dedicated-pool';
import { Database } from '../../platform/database/database';
import { isMissingColumn, isUnavailable } from '../../platform/database/database-errors';
import type { UnconfirmedCommits } from '../../platform/database/unconfirmed-commits';
import { LogTimeline } from '../event/log-timeline';
import { microsOf } from './position';

const TIMEOUT_MS = 2000;

/** Head of an organization's log: last sequence and the microsecond of its recording (0: none, or not known). */
interface Head {
  lastSequence: string;
  recordedMicros: number;
}

type Heads = ReadonlyMap<string, Head>;

const NO_HEAD: Head = { lastSequence: '0', recordedMicros: 0 };
const NO_TENANTS = Promise.resolve('0');

/** Microseconds since 1970, which a double holds exactly until the year 2255. */
const MICROS = microsOf('audit_organization');

const FIND_HEADS = {
  name: 'audit-find-heads',
  text: `SELECT organization_id, last_sequence::text, (${MICROS})::text
         FROM audit_organization WHERE organization_id = ANY($1::text[])`,
};

const SUMS = `SELECT coalesce(sum(last_sequence), 0)::text AS sequences, coalesce(sum(${MICROS}), 0)::text AS micros FROM audit_organization`;

/** Start of the server in seconds; each start of each server has its own. */
const SERVER_START = 'extract(epoch FROM pg_postmaster_start_time())';

/**
 * Returns the current snapshot, and the sums of all heads if the snapshot differs from the known one ($1). The snapshot
 * is NULL on a standby, where its text omits running transactions.
 */
const FIND_ALL_HEADS = {
  name: 'audit-find-all-heads',
  text: `SELECT s.snapshot, CASE WHEN s.snapshot = $1 THEN NULL ELSE (SELECT ARRAY[sequences, micros] FROM (${SUMS}) t) END
         FROM (SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_current_snapshot()::text || ' ' || ${SERVER_START} END AS snapshot) s`,
};

/** NULL on a standby; the timeline is the first eight digits of the name of a WAL file. */
const FIND_SERVER = {
  name: 'audit-find-server',
  text: `SELECT CASE WHEN NOT pg_is_in_recovery() THEN (${SERVER_START})::text END,
                CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END`,
};
const SERVER_CHECK_MS = 2000;

/**
 * One row beside those of a statement, which fails where the newest migration of events is missing: an idle standby may
 * show every commit and lack the column. The parent alone has no rows to read.
 */
const NEWEST_COLUMN = '(SELECT count(schema_version) FROM ONLY audit_event) newest';

/** Heads on a replica of organizations ($1). */
const FIND_REPLICA_HEADS = {
  name: 'audit-find-replica-heads',
  text: `SELECT o.organization_id, o.last_sequence::text, (${microsOf('o')})::text
         FROM audit_organization o, ${NEWEST_COLUMN}
         WHERE o.organization_id = ANY($1::text[])`,
};
const SUM_REPLICA_HEADS = {
  name: 'audit-sum-replica-heads',
  text: `SELECT sequences, micros FROM (${SUMS}) t, ${NEWEST_COLUMN}`,
};

interface Gathering {
  organizations: Set<string>;
  /** Keyed by a single organization, else by the list itself: callers with the same one share a promise. */
  versions: Map<string | readonly string[], Promise<string>>;
  heads: Promise<Heads>;
}

/**
 * Versions of tenants from head rows on the primary, which each commit of events moves. A cache entry under the version
 * before its read, used only while that is current, is never stale (docs/adr/0007-versions-from-head-rows.md). A call
 * never joins a read that began before it (CoalescedRead).
 */
@Injectable()
export class TenantVersions {
  private readonly pool: DedicatedPool;
  private readonly listed = new CoalescedRead(() => this.readListed());
  private readonly everything = new CoalescedRead(() => this.readAll());
  private gathering: Gathering | undefined;
  /** Last version of all organizations, with connection and snapshot of its read. */
  private known: { client: PoolClient; snapshot: string; version: string } | undefined;
  private asked = 0;
  private reads = 0;
  private sums = 0;
  private readonly unconfirmedCommits: UnconfirmedCommits;
  private nextServerCheckMs = 0;

  constructor(
    database: Database,
    private readonly timeline: LogTimeline,
  ) {
    this.unconfirmedCommits = database.unconfirmedCommits;
    this.pool = database.dedicatedPool('versions', { max: 1, timeoutMs: TIMEOUT_MS });
  }

  /**
   * The version of these organizations: sums of their last sequences and last recording times (microseconds in base
   * 36), such as `1042.mf3k2q1z9a`; only characters of [0-9a-z.]. The second sum differs when sequences are assigned
   * again after a failover or restore. An organization without events counts 0, an empty list is '0'. Lists must not
   * change during the call. Unconfirmed commits (UnconfirmedCommits) have no version: a cache entry may not be durable.
   * @throws AppError DATABASE_UNAVAILABLE while commits are unconfirmed, and when PostgreSQL does not reply within
   * seconds; others as Database.
   */
  current(tenants: Tenants): Promise<string> {
    if (this.unconfirmedCommits.affect(tenants)) {
      return this.unconfirmedCommits.readConfirmed(tenants, () => this.current(tenants));
    }
    this.asked += 1;
    if (tenants === '*') return this.everything.join();
    const [first] = tenants;
    if (first === undefined) return NO_TENANTS;
    const gathering = this.gather(tenants);
    const key = tenants.length === 1 ? first : tenants;
    let version = gathering.versions.get(key);
    if (version === undefined) {
      version = gathering.heads.then((heads) => versionOf(heads, tenants));
      gathering.versions.set(key, version);
    }
    return version;
  }

  /**
   * Checks that a replica shows every commit of these organizations that the primary showed at the call, and no other
   * history, as a former primary may. Each head has to equal the primary's, or be ahead with the primary's last event
   * at its sequence; for '*' the sums have to be equal. A replica without the newest migration is not fresh.
   * @throws AppError when the primary cannot be read; what `pg` throws when the replica cannot.
   */
  async isFresh(replica: PoolClient, tenants: Tenants): Promise<boolean> {
    try {
      return await this.isSameThere(replica, tenants);
    } catch (error) {
      if (isMissingColumn(error)) return false;
      throw error;
    }
  }

  private async isSameThere(replica: PoolClient, tenants: Tenants): Promise<boolean> {
    if (tenants === '*') {
      const version = await this.current('*');
      const { rows } = await replica.query<[string, string]>({
        ...SUM_REPLICA_HEADS,
        rowMode: 'array',
      });
      const [sequences = '0', micros = '0'] = rows[0] ?? [];
      return versionText(sequences, BigInt(micros)) === version;
    }
    this.asked += 1;
    const heads = await this.gather(tenants).heads;
    const { rows } = await replica.query<[string, string, string]>({
      ...FIND_REPLICA_HEADS,
      values: [tenants],
      rowMode: 'array',
    });
    const there = new Map(rows.map(([id, ...head]) => [id, head]));
    return tenants.every((id) => isSameHead(heads.get(id) ?? NO_HEAD, there.get(id)));
  }

  /** Counts calls, statements that served them, and statements that added up all heads. */
  statistics(): { asked: number; reads: number; sums: number } {
    return { asked: this.asked, reads: this.reads, sums: this.sums };
  }

  private gather(organizations: readonly string[]): Gathering {
    this.gathering ??= {
      organizations: new Set(),
      versions: new Map(),
      heads: this.listed.join(),
    };
    for (const id of organizations) this.gathering.organizations.add(id);
    return this.gathering;
  }

  private async readListed(): Promise<Heads> {
    const organizations = [...(this.gathering?.organizations ?? [])];
    this.gathering = undefined; // later calls share the next one
    this.reads += 1;
    const asked = this.timeline.ask();
    return this.pool.withClient(async (client) => {
      const { rows } = await client.query<[string, string, string]>({
        ...FIND_HEADS,
        values: [organizations],
        rowMode: 'array',
      });
      const heads = new Map(
        rows.map(([id, lastSequence, micros]) => [
          id,
          { lastSequence, recordedMicros: Number(micros) },
        ]),
      );
      await this.watchTimeline(client, organizations, heads, asked);
      return heads;
    });
  }

  private async watchTimeline(
    client: PoolClient,
    organizations: readonly string[],
    heads: Heads,
    asked: number,
  ): Promise<void> {
    const older: [string, Head][] = [];
    for (const id of organizations) {
      const head = heads.get(id) ?? NO_HEAD;
      const seen = { sequence: Number(head.lastSequence), micros: head.recordedMicros };
      if (this.timeline.isOlder(id, seen, asked)) older.push([id, head]);
      else this.timeline.note(id, seen);
    }
    const isDue = performance.now() >= this.nextServerCheckMs;
    if (older.length === 0 && !isDue) return;
    this.nextServerCheckMs = performance.now() + SERVER_CHECK_MS;
    const isPrimary = await this.checkServer(client);
    if (!isPrimary) return; // a standby may only lag
    for (const [id, { lastSequence }] of older)
      this.timeline.noteRewindTo(id, Number(lastSequence));
  }

  /** Identifies the server; true for a primary. Some servers that look like PostgreSQL do not say. */
  private async checkServer(client: PoolClient): Promise<boolean> {
    try {
      const { rows } = await client.query<[string | null, string | null]>({
        ...FIND_SERVER,
        rowMode: 'array',
      });
      const [startedAt = null, timeline = null] = rows[0] ?? [];
      if (startedAt === null) return false;
      this.timeline.noteServer(startedAt, Number.parseInt(timeline ?? '0', 16));
    } catch (error) {
      if (isUnavailable(error)) throw error;
      this.nextServerCheckMs = Infinity;
    }
    return true;
  }

  /**
   * Adds up all heads, at a cost in proportion to their number, unless the snapshot's text (xmin, xmax and the
   * transactions running between them) is the known one. A transaction's id is running or unassigned in a snapshot
   * before its commit, neither after it: equal texts have no commit between them. Ids are unique within one server, but
   * a pooled connection may outlive a promotion or restore: the text also identifies the server and its start.
   */
  private async readAll(): Promise<string> {
    this.reads += 1;
    return this.pool.withClient(async (client) => {
      const known = this.known?.client === client ? this.known : undefined;
      const { rows } = await client.query<[string | null, [string, string] | null]>({
        ...FIND_ALL_HEADS,
        values: [known?.snapshot ?? null],
        rowMode: 'array',
      });
      const [snapshot = null, totals = null] = rows[0] ?? [];
      if (totals === null && known !== undefined) return known.version;
      this.sums += 1;
      const [sum, micros] = totals ?? ['0', '0'];
      const version = versionText(sum, BigInt(micros));
      this.known = snapshot === null ? undefined : { client, snapshot, version };
      return version;
    });
  }
}

/** Checks that a replica's head (sequence, time) is the primary's: one that is ahead may have events that were lost. */
function isSameHead(
  { lastSequence, recordedMicros }: Head,
  there: readonly [string, string] | undefined,
): boolean {
  if (!there) return lastSequence === '0';
  const [sequence, micros] = there;
  return sequence === lastSequence && Number(micros) === recordedMicros;
}

function versionOf(heads: Heads, organizations: readonly string[]): string {
  const [first, ...others] = organizations.map((id) => heads.get(id) ?? NO_HEAD);
  if (first === undefined) return '0';
  if (others.length === 0) return versionText(first.lastSequence, first.recordedMicros);
  let sum = BigInt(first.lastSequence);
  let micros = BigInt(first.recordedMicros);
  for (const { lastSequence, recordedMicros } of others) {
    sum += BigInt(lastSequence);
    micros += BigInt(recordedMicros);
  }
  return versionText(String(sum), micros);
}

function versionText(sum: string, micros: number | bigint): string {
  return `${sum}.${micros.toString(36)}`;
}

interface Pending<T> {
  promise: Promise<T>;
  resolve: (found: T) => void;
  reject: (error: unknown) => void;
}

/**
 * Shares a read among callers of one cycle of the event loop; callers during it share the next. No read begins before
 * its callers' calls, so results are as fresh as of separate reads. A failure rejects its callers only.
 */
export class CoalescedRead<T> {
  private next: Pending<T> | undefined;
  private isRunning = false;

  constructor(private readonly read: () => Promise<T>) {}

  join(): Promise<T> {
    if (this.next === undefined) {
      this.next = pending<T>();
      if (!this.isRunning) this.schedule();
    }
    return this.next.promise;
  }

  /**
   * Begins in the second next cycle of the event loop, which both share: with 64 clients a cached response took 5 of 32
   * µs less, and an idle loop takes microseconds.
   */
  private schedule(): void {
    setImmediate(() => setImmediate(() => this.begin()));
  }

  private begin(): void {
    const { next } = this;
    if (next === undefined) return;
    this.next = undefined;
    this.isRunning = true;
    const proceed = (): void => {
      this.isRunning = false;
      if (this.next !== undefined) this.schedule();
    };
    this.read().then(next.resolve, next.reject).then(proceed, proceed);
  }
}

function pending<T>(): Pending<T> {
  const settle: Partial<Pending<T>> = {};
  const promise = new Promise<T>((resolve, reject) => Object.assign(settle, { resolve, reject }));
  return { ...settle, promise } as Pending<T>;
}
