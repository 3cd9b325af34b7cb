import {
  Inject,
  Injectable,
  Logger,
  type OnApplicationBootstrap,
  type OnModuleDestroy,
} from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { ClientBase, PoolClient } from 'pg';
import { databaseConfig } from '../platform/config/settings';
import { Database } from '../platform/database/database';
import { isUnavailable } from '../platform/database/database-errors';
import type { DedicatedPool } from '../platform/database/dedicated-pool';
import { lockShortage, readLockLimits } from '../platform/database/lock-table';
import { MaintainedTables } from '../platform/database/maintained-tables';
import { findPartitions, type Partition } from '../platform/database/partition-catalog';
import { boundText, type TimeRange } from '../platform/database/partition-ranges';
import { ownershipOf } from '../platform/database/privileges';
import { createSeal, findSeals, type SealedIndex } from '../platform/database/seals';
import { withSessionLock } from '../platform/database/session-lock';
import { TIMED_OUT, withTimeout } from '../platform/runtime/abort';
import { wallClockMs, wallClockText } from '../platform/runtime/clocks';
import { measureSealedIndexes, type SealedIndexFigures } from './sealed-index-report';
import {
  growthLimit,
  mergedRanges,
  outermost,
  rangesOf,
  type SealStep,
  unfinishedSteps,
  wholeSteps,
} from './seal-plan';

const SEALING_LOCK = 0x7365616c; // "seal" in ASCII
const LOOK_MS = 60_000;
const JITTER = 0.1;
const FIRST_MS = 5000;
const CONNECT_TIMEOUT_MS = 5000;
/** For an index over a large partition, and old transactions that its build waits for. */
const BUILD_TIMEOUT_MS = 2 * 3_600_000;
/** Events arrive some seconds after their time; a range ends that far in the past. */
const DELAY_MS = 60_000;
/** After its end a partition gets late events for a while. */
const CLOSED_AFTER_MS = 10 * 60_000;
/** Late events for which a partition still counts as cold: each costs the commit an entry in each seal. */
const COLD_EVENTS_PER_SECOND = 2;
const COLD_SHARE_PER_SECOND = 1e-5;
/** Between two attempts at an index whose build has failed. */
const RETRY_MS = 3_600_000;
/** Seals of another definition may be those of replicas that are about to be replaced. */
const OUTDATED_AFTER_MS = 3_600_000;
const CANCEL_EVERY_MS = 200;
const STALE_LOOK_MS = 10 * LOOK_MS;

const LOW_IMPACT_SETTINGS = [
  // Waits for a lock keep nobody waiting: only maintenance needs one that conflicts.
  'SET lock_timeout = 0',
  'SET max_parallel_maintenance_workers = 0',
  `SET maintenance_work_mem = '64MB'`,
  // No lock is to be held until a synchronous standby confirms.
  'SET synchronous_commit = local',
];

/** A built index and its partition. */
interface BuiltIndex {
  name: string;
  partition: string;
}

/** What this process knows of sealed indexes. */
export interface SealingState {
  /** When this process last looked, or undefined. */
  lookedAt?: string;
  /** When this process last built one. */
  builtAt?: string;
  builds: number;
  failures: number;
  /** Why there is none to build, where something is wrong. */
  refusal?: string;
  lastFailure?: string;
  /** As the last look found them. */
  figures?: SealedIndexFigures;
}

/**
 * Builds the sealed indexes of partitioned tables (platform/database/seals.ts): of a partition that has cooled down for all
 * of it, of one that grows for what has been added, when that is DATABASE_SEAL_EVENTS or more. Looks every minute where
 * maintenance runs. One process at a time, under a session's advisory lock; CREATE INDEX CONCURRENTLY, which no reader or
 * writer waits for. A killed one leaves an invalid index at worst, which the next look drops.
 */
@Injectable()
export class Sealing implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly logger = new Logger(Sealing.name);
  private readonly pool: DedicatedPool;
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<BuiltIndex[] | undefined> | undefined;
  private backend: number | undefined;
  private isStopping = false;
  /** Rows ever inserted into a partition, at the last look, by oid. */
  private readonly inserted = new Map<number, { rows: number; atMs: number }>();
  /** When the build of an index last failed here, by partition and key. */
  private readonly failedAt = new Map<string, number>();
  /** When a seal of another definition was first seen, by name. */
  private readonly outdatedSince = new Map<string, number>();
  private readonly progress: SealingState = { builds: 0, failures: 0 };

  constructor(
    private readonly database: Database,
    private readonly tables: MaintainedTables,
    @Inject(databaseConfig.KEY) private readonly config: ConfigType<typeof databaseConfig>,
  ) {
    this.pool = database.dedicatedPool('sealing', {
      max: 1,
      timeoutMs: BUILD_TIMEOUT_MS,
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
    });
  }

  onApplicationBootstrap(): void {
    if (this.config.upkeepIntervalSeconds === 0 || this.config.sealEvents === 0) return;
    const intervalMs = Math.min(LOOK_MS, this.config.upkeepIntervalSeconds * 1000);
    this.runAfter(Math.min(FIRST_MS, intervalMs), intervalMs);
  }

  /** Cancels a build; the next look, here or elsewhere, drops what it leaves. */
  async onModuleDestroy(): Promise<void> {
    this.isStopping = true;
    clearTimeout(this.timer);
    const ended = this.running?.catch(() => undefined);
    while (ended && (await withTimeout(ended, CANCEL_EVERY_MS)) === TIMED_OUT) {
      if (this.backend === undefined) continue;
      await this.database
        .withClient((client) => client.query('SELECT pg_cancel_backend($1)', [this.backend]))
        .catch(() => undefined);
    }
  }

  /** What this process has done. */
  state(): SealingState {
    return { ...this.progress };
  }

  /**
   * Looks once, and builds and drops what is due; joins a look under way. Resolves with the built indexes, undefined
   * when another replica has the lock or this one may not build.
   * @throws AppError DATABASE_UNAVAILABLE when PostgreSQL is away.
   */
  run(): Promise<BuiltIndex[] | undefined> {
    if (this.isStopping || this.config.sealEvents === 0) return Promise.resolve(undefined);
    this.running ??= this.pool
      .withClient((client) => this.runOnce(client))
      .finally(() => {
        this.running = undefined;
        this.backend = undefined;
      });
    return this.running;
  }

  private runAfter(delayMs: number, intervalMs: number): void {
    if (this.isStopping) return;
    this.timer = setTimeout(() => {
      this.run()
        .catch((error: unknown) =>
          this.logger.warn(
            `Indexes of past events were not looked at: ${String(error)} This is tried again.`,
          ),
        )
        .finally(() =>
          this.runAfter(intervalMs * (1 - JITTER + 2 * JITTER * Math.random()), intervalMs),
        );
    }, delayMs).unref();
  }

  private async runOnce(client: PoolClient): Promise<BuiltIndex[] | undefined> {
    for (const setting of LOW_IMPACT_SETTINGS) await client.query(setting);
    const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    const done = await withSessionLock(client, SEALING_LOCK, async () => {
      this.backend = rows[0]?.pid;
      const built: BuiltIndex[] = [];
      for (const { table, sealedIndexes: indexes = [] } of this.tables.partitioned()) {
        if (indexes.length > 0) built.push(...(await this.seal(client, table, indexes)));
      }
      this.progress.lookedAt = wallClockText();
      this.progress.figures = await measureSealedIndexes(client, this.tables);
      return built;
    });
    return done?.result;
  }

  private async seal(
    client: PoolClient,
    table: string,
    indexes: readonly SealedIndex[],
  ): Promise<BuiltIndex[]> {
    const { mayMaintain } = await ownershipOf(client, table);
    if (!mayMaintain) return []; // Maintenance says so
    await this.dropUseless(client, table, indexes);
    const partitions = await this.findColdAndGrowing(client, table);
    delete this.progress.refusal;
    const shortage = await this.shortage(client, partitions.length, indexes.length);
    if (shortage !== undefined) {
      this.refuse(shortage);
      return [];
    }
    const built: BuiltIndex[] = [];
    // The newest first: most reads are about it.
    for (const partition of partitions.reverse()) {
      const before = built.length;
      // A build may be followed by another one, or by the removal of what it replaces.
      for (let isDone = false; !isDone && !this.isStopping;) {
        const steps = await this.stepsOf(client, table, indexes, partition);
        isDone = steps.length === 0;
        for (const step of steps) {
          if (this.isStopping) break;
          const name = await this.take(client, table, partition, step);
          if (name === undefined) isDone = true;
          else if (step.kind === 'build') built.push({ name, partition: partition.name });
        }
      }
      if (built.length > before && !this.isStopping) await this.analyzeOnce(client, partition);
    }
    return built;
  }

  /** Without statistics the planner takes a range of time for a few rows, which are cheaper to read than any index. */
  private async analyzeOnce(client: ClientBase, { oid, name }: KnownPartition): Promise<void> {
    const { rows } = await client.query<{ isMissing: boolean }>(
      `SELECT pg_stat_get_last_analyze_time($1::oid) IS NULL
          AND pg_stat_get_last_autoanalyze_time($1::oid) IS NULL AS "isMissing"`,
      [oid],
    );
    if (rows[0]?.isMissing === true) await client.query(`ANALYZE ${name}`);
  }

  private async stepsOf(
    client: ClientBase,
    table: string,
    indexes: readonly SealedIndex[],
    partition: KnownPartition,
  ): Promise<SealStep[]> {
    const due = indexes.filter(({ key }) => !this.hasFailed(partition, key));
    if (due.length < indexes.length) return [];
    const seals = (await findSeals(client, table, indexes)).filter(
      (seal) => seal.partition === partition.oid,
    );
    if (partition.isCold) return wholeSteps(indexes, seals);
    if (!partition.isGrowing || seals.some(({ range, isValid }) => isValid && !range)) return [];
    const ranges = rangesOf(seals);
    const unfinished = unfinishedSteps(indexes, ranges);
    if (unfinished.length > 0) return unfinished;
    const range = await this.growthOf(client, partition, outermost(ranges));
    return range ? indexes.map((index) => ({ kind: 'build', index, range })) : [];
  }

  /** The next range of a partition that grows, if enough was added. */
  private async growthOf(
    client: ClientBase,
    { name, lowerMs, upperMs, rows }: KnownPartition,
    ranges: readonly (TimeRange & { rows: number })[],
  ): Promise<TimeRange | undefined> {
    const endMs = Math.floor(Math.min(wallClockMs() - DELAY_MS, upperMs ?? Infinity));
    const beginMs = ranges.at(-1)?.upperMs ?? Math.ceil(lowerMs ?? NaN);
    if (Number.isNaN(beginMs) || endMs <= beginMs) return undefined;
    const limit = growthLimit(this.config.sealEvents, rows);
    const { rows: found } = await client.query<{ events: number }>(
      `SELECT count(*)::int AS events FROM (
         SELECT FROM ${name} WHERE timestamp >= $1 AND timestamp < $2 LIMIT $3) t`,
      [boundText(beginMs), boundText(endMs), limit],
    );
    const events = found[0]?.events ?? 0;
    if (events < limit) return undefined;
    const merged = mergedRanges(
      ranges.map((range) => range.rows),
      events,
    );
    const first = merged === 0 ? undefined : ranges.at(-merged);
    return { lowerMs: first?.lowerMs ?? beginMs, upperMs: endMs };
  }

  /** Resolves with the name of the index, undefined when the step failed. */
  private async take(
    client: ClientBase,
    table: string,
    partition: KnownPartition,
    step: SealStep,
  ): Promise<string | undefined> {
    const { name, statement } =
      step.kind === 'build'
        ? createSeal(table, step.index, partition.name, step.range)
        : {
            name: step.seal.name,
            statement: `DROP INDEX CONCURRENTLY IF EXISTS ${step.seal.name}`,
          };
    try {
      await client.query(statement);
      if (step.kind === 'build') {
        this.progress.builds += 1;
        this.progress.builtAt = wallClockText();
      }
      return name;
    } catch (error) {
      if (isUnavailable(error)) throw error;
      if (this.isStopping) return undefined;
      const key = step.kind === 'build' ? step.index.key : step.seal.key;
      const reason = error instanceof Error ? error.message : String(error);
      this.failedAt.set(`${partition.oid} ${key}`, performance.now());
      this.progress.failures += 1;
      this.progress.lastFailure = `${partition.name} ${key}: ${reason}`;
      this.logger.warn(
        `The index ${key} of ${partition.name} could not be ${step.kind === 'build' ? 'built' : 'dropped'}: ${reason}. ` +
          'Filters look at its events one by one until that succeeds; it is tried again in an hour, and what it left is dropped before.',
      );
      return undefined;
    }
  }

  private hasFailed({ oid }: Partition, key: string): boolean {
    const atMs = this.failedAt.get(`${oid} ${key}`);
    return atMs !== undefined && performance.now() - atMs < RETRY_MS;
  }

  /** Drops interrupted builds, and seals of other definitions once their replicas should be gone. */
  private async dropUseless(
    client: ClientBase,
    table: string,
    indexes: readonly SealedIndex[],
  ): Promise<void> {
    const seals = await findSeals(client, table, indexes);
    const nowMs = performance.now();
    const outdated = new Set(seals.filter(({ isCurrent }) => !isCurrent).map(({ name }) => name));
    for (const name of this.outdatedSince.keys()) {
      if (!outdated.has(name)) this.outdatedSince.delete(name);
    }
    for (const seal of seals) {
      if (!seal.isCurrent && !this.outdatedSince.has(seal.name)) {
        this.outdatedSince.set(seal.name, nowMs);
      }
      const sinceMs = this.outdatedSince.get(seal.name) ?? nowMs;
      if (seal.isValid && nowMs - sinceMs < OUTDATED_AFTER_MS) continue;
      if (this.isStopping) return;
      await client.query(`DROP INDEX CONCURRENTLY IF EXISTS ${seal.name}`);
    }
  }

  private async findColdAndGrowing(client: ClientBase, table: string): Promise<KnownPartition[]> {
    const partitions = (await findPartitions(client, table)).filter(
      ({ isDetaching }) => !isDetaching,
    );
    const { rows } = await client.query<{ oid: number; inserted: number; rows: number }>(
      `SELECT c.oid::int8::float8 AS oid, pg_stat_get_tuples_inserted(c.oid)::float8 AS inserted,
              greatest(c.reltuples, pg_stat_get_live_tuples(c.oid), 0)::float8 AS rows
       FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
       WHERE i.inhparent = $1::regclass AND c.relkind = 'r'`,
      [table],
    );
    const figures = new Map(rows.map((row) => [row.oid, row]));
    const nowMs = wallClockMs();
    return partitions.flatMap((partition) => {
      const found = figures.get(partition.oid);
      if (!found) return []; // partitioned itself, or foreign
      const isClosed = (partition.upperMs ?? Infinity) <= nowMs - CLOSED_AFTER_MS;
      const isCold = isClosed && this.isCold(partition.oid, found);
      const isGrowing = !isClosed && (partition.lowerMs ?? -Infinity) <= nowMs;
      return [{ ...partition, rows: found.rows, isCold, isGrowing }];
    });
  }

  /** False at the first look: how fast a partition grows takes two. */
  private isCold(oid: number, found: { inserted: number; rows: number }): boolean {
    const nowMs = performance.now();
    const before = this.inserted.get(oid);
    this.inserted.set(oid, { rows: found.inserted, atMs: nowMs });
    if (!before || nowMs - before.atMs > STALE_LOOK_MS) return false;
    const seconds = Math.max(nowMs - before.atMs, LOOK_MS) / 1000;
    const allowed = Math.max(COLD_EVENTS_PER_SECOND, found.rows * COLD_SHARE_PER_SECOND);
    return Math.abs(found.inserted - before.rows) / seconds <= allowed;
  }

  /** Each index needs a lock of every statement that is planned for all partitions. */
  private async shortage(
    client: ClientBase,
    partitions: number,
    indexes: number,
  ): Promise<string | undefined> {
    const limits = await readLockLimits(client);
    const found = lockShortage(limits, this.database.readerLimit, partitions, indexes);
    return (
      found &&
      `${found.reason} ALTER SYSTEM SET max_locks_per_transaction = ${found.recommended}, and restart PostgreSQL`
    );
  }

  private refuse(reason: string): void {
    if (this.progress.refusal === undefined) {
      this.logger.warn(`No indexes of past events are built: ${reason}.`);
    }
    this.progress.refusal = reason;
  }
}

interface KnownPartition extends Partition {
  /** An estimate. */
  rows: number;
  /** Its time is over, and hardly any events arrive. */
  isCold: boolean;
  /** Its time has begun and is not over. */
  isGrowing: boolean;
}
