import { Injectable } from '@nestjs/common';
import type { PoolClient } from 'pg';
import type { Tenants } from '../caching/cache-key';
import { Database } from '../database/database';
import type { Durability } from '../database/durability';
import type { SidePool } from '../database/side-pool';
import { SharedRead } from './shared-read';

/** A read of one row takes less than a millisecond; who gets no answer for this long will not get one. */
const TIMEOUT_MS = 2000;

/** What is known of an organization: the last number given, and the microsecond of its recording (0: none, or not known). */
interface Head {
  lastSequence: string;
  recordedMicros: number;
}

type Heads = ReadonlyMap<string, Head>;

const NO_HEAD: Head = { lastSequence: '0', recordedMicros: 0 };
const OF_NOBODY = Promise.resolve('0');

/** A timestamp of recording in microseconds since 1970, which a double holds exactly until the year 2255. */
const MICROS = `coalesce(extract(epoch FROM nullif(recorded_at, '-infinity')) * 1000000, 0)::bigint`;

const FIND_HEADS = {
  name: 'audit-find-heads',
  text: `SELECT organization_id, last_sequence::text, (${MICROS})::text
         FROM audit_organization WHERE organization_id = ANY($1::text[])`,
};

/**
 * Snapshot and, unless it is the one that is known ($1), sums of all heads: of the same snapshot, as it is one
 * statement. A standby's list of running transactions is not in the text of its snapshot, so there it is NULL.
 */
const FIND_ALL_HEADS = {
  name: 'audit-find-all-heads',
  text: `SELECT s.snapshot, CASE WHEN s.snapshot = $1 THEN NULL ELSE (
           SELECT ARRAY[coalesce(sum(last_sequence), 0)::text, coalesce(sum(${MICROS}), 0)::text] FROM audit_organization
         ) END
         FROM (SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_current_snapshot()::text END AS snapshot) s`,
};

/** Asked on replicas: nothing but what the first migration made, as the later ones may still be on their way to them. */
const FIND_SEQUENCES = {
  name: 'audit-find-sequences',
  text: `SELECT organization_id, last_sequence::text FROM audit_organization WHERE organization_id = ANY($1::text[])`,
};
const SUM_SEQUENCES = {
  name: 'audit-sum-sequences',
  text: `SELECT coalesce(sum(last_sequence), 0)::text FROM audit_organization`,
};

/** A read of listed organizations that has not begun: whose heads it will read, and the epochs that will come of it. */
interface Gathering {
  organizations: Set<string>;
  /** By the organization, when it is a single one, or by the list itself: callers with the same one share a promise. */
  epochs: Map<string | readonly string[], Promise<string>>;
  heads: Promise<Heads>;
}

/**
 * The epochs of organizations, read from the primary: a text that changes with every commit of any of them, because the
 * head row moves in the same transaction as the events. Whoever keeps an answer under the epoch that was current before
 * the answer was read, and gives it only to those for whom that epoch is still current, is never stale, whatever
 * becomes of the place where it is kept (docs/adr/0007-epochs-from-head-rows.md).
 *
 * Exact, though reads are shared: a caller never joins a read that began before it asked (SharedRead). The statement
 * therefore takes its snapshot after the call, and sees every commit that anybody was told of before.
 */
@Injectable()
export class HeadEpochs {
  private readonly pool: SidePool;
  private readonly listed = new SharedRead(() => this.readListed());
  private readonly everything = new SharedRead(() => this.readAll());
  private gathering: Gathering | undefined;
  /** The last epoch of all organizations, and in which connection which snapshot saw it. */
  private known: { client: PoolClient; snapshot: string; epoch: string } | undefined;
  private asked = 0;
  private reads = 0;
  private sums = 0;
  private readonly durability: Durability;

  constructor(database: Database) {
    this.durability = database.durability;
    this.pool = database.sidePool('epochs', { max: 1, timeoutMs: TIMEOUT_MS });
  }

  /**
   * The epoch of these organizations together: the sum of their last sequences, and that of the times of their last
   * recordings (microseconds in base 36), such as `1042.mf3k2q1z9a`; only characters of [0-9a-z.]. The first grows with
   * each commit, so an equal text means equal events. The times tell apart what sequences cannot: numbers given a second
   * time after a failover or a restore that lost commits. One without events counts 0; '0' when the list is empty. Lists
   * are not to be changed while a call with them runs. While they are in doubt (Durability) there is none: an answer that
   * is kept may show what is not durable.
   * @throws AppError DATABASE_UNAVAILABLE while they are in doubt, and when PostgreSQL is away or silent, after at most a few seconds; others as Database.
   */
  current(tenants: Tenants): Promise<string> {
    if (this.durability.isInDoubt(tenants)) {
      return this.durability.reading(tenants, () => this.current(tenants));
    }
    this.asked += 1;
    if (tenants === '*') return this.everything.join();
    const [first] = tenants;
    if (first === undefined) return OF_NOBODY;
    const gathering = this.gather(tenants);
    const key = tenants.length === 1 ? first : tenants;
    let epoch = gathering.epochs.get(key);
    if (epoch === undefined) {
      epoch = gathering.heads.then((heads) => epochOf(heads, tenants));
      gathering.epochs.set(key, epoch);
    }
    return epoch;
  }

  /**
   * Whether a replica shows every commit of these organizations that the primary showed when this was asked. Each head
   * is compared, as commits of different organizations may become visible in another order than they were logged in;
   * for '*', where that would be all there are, only their sum.
   * @throws AppError when the primary cannot be asked; what `pg` throws when the replica cannot.
   */
  async isFresh(replica: PoolClient, tenants: Tenants): Promise<boolean> {
    if (tenants === '*') {
      const epoch = await this.current('*');
      const { rows } = await replica.query<[string]>({ ...SUM_SEQUENCES, rowMode: 'array' });
      return BigInt(rows[0]?.[0] ?? 0) >= BigInt(epoch.slice(0, epoch.indexOf('.')));
    }
    this.asked += 1;
    const heads = await this.gather(tenants).heads;
    const { rows } = await replica.query<[string, string]>({
      ...FIND_SEQUENCES,
      values: [tenants],
      rowMode: 'array',
    });
    const shown = new Map(rows);
    return tenants.every((id) => {
      const { lastSequence } = heads.get(id) ?? NO_HEAD;
      return BigInt(shown.get(id) ?? 0) >= BigInt(lastSequence);
    });
  }

  /** How many calls there were, how many statements answered them, and how many of those added up all there are. */
  statistics(): { asked: number; reads: number; sums: number } {
    return { asked: this.asked, reads: this.reads, sums: this.sums };
  }

  /** Adds organizations to the read that is still to begin. */
  private gather(organizations: readonly string[]): Gathering {
    this.gathering ??= {
      organizations: new Set(),
      epochs: new Map(),
      heads: this.listed.join(),
    };
    for (const id of organizations) this.gathering.organizations.add(id);
    return this.gathering;
  }

  private async readListed(): Promise<Heads> {
    const organizations = [...(this.gathering?.organizations ?? [])];
    this.gathering = undefined; // who asks from now on is read by the next one
    this.reads += 1;
    const { rows } = await this.pool.withClient((client) =>
      client.query<[string, string, string]>({
        ...FIND_HEADS,
        values: [organizations],
        rowMode: 'array',
      }),
    );
    return new Map(
      rows.map(([id, lastSequence, micros]) => [
        id,
        { lastSequence, recordedMicros: Number(micros) },
      ]),
    );
  }

  /**
   * Adding up every head costs in proportion to their number. The text of the snapshot (xmin, xmax and the transactions
   * running between them) saves that: a transaction that changes anything has an id from its first change on. When it
   * commits after one snapshot was taken, its id was running or not yet given out there, and is neither in the next one; so if
   * two texts are equal, nothing was committed between them, and the sum that was read with the first still holds.
   * Ids are never given twice by a server, but are by one that took over from another or was restored; no connection
   * lives through that, so a snapshot is compared only with others of its own connection.
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
      if (totals === null && known !== undefined) return known.epoch;
      this.sums += 1;
      const [sum, micros] = totals ?? ['0', '0'];
      const epoch = epochText(sum, BigInt(micros));
      this.known = snapshot === null ? undefined : { client, snapshot, epoch };
      return epoch;
    });
  }
}

function epochOf(heads: Heads, organizations: readonly string[]): string {
  const [first, ...others] = organizations.map((id) => heads.get(id) ?? NO_HEAD);
  if (first === undefined) return '0';
  if (others.length === 0) return epochText(first.lastSequence, first.recordedMicros);
  let sum = BigInt(first.lastSequence);
  let micros = BigInt(first.recordedMicros);
  for (const { lastSequence, recordedMicros } of others) {
    sum += BigInt(lastSequence);
    micros += BigInt(recordedMicros);
  }
  return epochText(String(sum), micros);
}

function epochText(sum: string, micros: number | bigint): string {
  return `${sum}.${micros.toString(36)}`;
}
