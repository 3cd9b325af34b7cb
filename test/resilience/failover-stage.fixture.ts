import {
  type Build,
  buildService,
  type ServiceProcess,
  startServiceProcess,
  tokenFor,
} from '../integration/service.fixture';
import { describeWithPgBouncer, startPgBouncer, type TestPgBouncer } from '../support/pgbouncer';
import { PostgresCluster } from '../support/postgres-cluster';
import {
  describeWithPrivateRedis,
  type PrivateRedis,
  startPrivateRedis,
} from '../support/redis-server';
import { describeWithPostgresPrograms } from '../support/streaming-pair';
import { SwitchableProxy } from '../support/switchable-proxy';
import { WriteLedger } from './write-ledger.fixture';

/** Of operators as well: everything that the protocols offer. */
const SCOPES = ['audit:read', 'audit:write', 'audit:export', 'performance:read'] as const;

/** How the service reaches its databases. */
export interface StageOptions {
  /** Whether the standby also answers reads (DATABASE_REPLICA_URLS). */
  hasReadReplica?: boolean;
  /** Whether PgBouncer, in transaction mode, stands before the stable address. */
  hasPooler?: boolean;
  /** Settings of the first and of the second replica of the service. */
  environments?: readonly [Record<string, string>, Record<string, string>];
}

/** `describe` for suites on a stage; skipped loudly where a program is missing, a failure with CI=true. */
export function describeFailover(options: StageOptions = {}): jest.Describe {
  const all = [describeWithPostgresPrograms(), describeWithPrivateRedis()];
  if (options.hasPooler === true) all.push(describeWithPgBouncer());
  return all.find((each) => each !== describe) ?? describe;
}

/** What runs, and has to be stopped. */
interface StageParts {
  cluster: PostgresCluster;
  database: SwitchableProxy;
  reader: SwitchableProxy;
  redis: PrivateRedis;
  pooler: TestPgBouncer | undefined;
  build: Build;
  replicas: readonly ServiceProcess[];
}

/**
 * Two replicas of the service in processes of their own, one Redis, and a PostgreSQL cluster behind a stable address
 * (`database`) that is switched to another server as a failover of production does, without a restart of the service.
 */
export class FailoverStage {
  readonly urls: readonly string[];
  private readonly ledgers: WriteLedger[] = [];

  private constructor(
    private readonly parts: StageParts,
    readonly token: string,
  ) {
    this.urls = parts.replicas.map(({ url }) => url);
  }

  get cluster(): PostgresCluster {
    return this.parts.cluster;
  }

  /** The address of the primary. */
  get database(): SwitchableProxy {
    return this.parts.database;
  }

  /** The address of the read replica. */
  get reader(): SwitchableProxy {
    return this.parts.reader;
  }

  static async start(options: StageOptions = {}): Promise<FailoverStage> {
    const { environments = [{}, {}] } = options;
    const [cluster, redis, build] = await Promise.all([
      PostgresCluster.start(),
      startPrivateRedis(),
      buildService(),
    ]);
    const database = await SwitchableProxy.open(cluster.primary.port);
    const reader = await SwitchableProxy.open(cluster.standby.port);
    let url = database.via(cluster.primary.url);
    let pooler: TestPgBouncer | undefined;
    const common: Record<string, string> = { REDIS_URL: redis.url };
    if (options.hasReadReplica === true) {
      common['DATABASE_REPLICA_URLS'] = reader.via(cluster.standby.url);
    }
    if (options.hasPooler === true) {
      // What docs/operations.md tells operators to set, as PgBouncer does not hand on what clients ask for.
      for (const setting of [`timezone = 'UTC'`, `datestyle = 'ISO'`]) {
        await cluster.primary.query(`ALTER DATABASE postgres SET ${setting}`);
      }
      pooler = await startPgBouncer(url, 10);
      url = pooler.via(url);
      common['DATABASE_PREPARED_STATEMENTS'] = String(pooler.knowsPreparedStatements);
      common['DATABASE_UPKEEP_INTERVAL_SECONDS'] = '0';
    }
    const replicas: ServiceProcess[] = [];
    for (const own of environments) {
      replicas.push(await startServiceProcess(build, url, { ...common, ...own }));
    }
    const token = await tokenFor({ scopes: [...SCOPES] });
    const parts = { cluster, database, reader, redis, pooler, build, replicas };
    return new FailoverStage(parts, token);
  }

  /** A ledger of writes to these organizations, which nobody else writes to. */
  ledger(organizations: readonly string[], urls = this.urls): WriteLedger {
    const ledger = new WriteLedger(urls, this.token, organizations);
    this.ledgers.push(ledger);
    return ledger;
  }

  /** After a spec that failed: nothing goes on writing, no server stands still, and the primary can be reached. */
  settle(): void {
    for (const ledger of this.ledgers.splice(0)) ledger.abandon();
    this.cluster.primary.thaw();
    this.cluster.standby.thaw();
    if (this.database.isCut) this.pointAtPrimary();
  }

  /** Points the stable address at the primary of now, and takes connections again. */
  pointAtPrimary(): void {
    this.database.pointAt(this.cluster.primary.port);
    this.database.restore();
  }

  /** Lines in which a replica tells of something that nobody handled. */
  unhandled(): string[] {
    return this.parts.replicas.flatMap((replica) => replica.unhandled());
  }

  /** The end of what the replicas wrote. */
  output(): string {
    return this.parts.replicas.map((replica) => replica.output()).join('\n');
  }

  async stop(): Promise<void> {
    const { replicas, pooler, database, reader, cluster, redis, build } = this.parts;
    await Promise.all(replicas.map((replica) => replica.end('SIGKILL')));
    await pooler?.stop();
    await database.close();
    await reader.close();
    await cluster.stop();
    await redis.stop();
    await build.remove();
  }
}
