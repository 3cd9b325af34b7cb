import { Injectable, Logger, type OnApplicationShutdown } from '@nestjs/common';
import type { Pool } from 'pg';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { assertSessions, poolOf } from './data-source';

const DOWN_FOR_MS = 5000;

/** Read replica, which is connected on its first use, and skipped for five seconds after a failure. */
export class ReadReplica {
  private readonly logger = new Logger(ReadReplica.name);
  private readonly dataSource: DataSource;
  private connecting: Promise<unknown> | undefined;
  private downUntilMs = 0;

  constructor(
    private readonly name: string,
    options: DataSourceOptions,
  ) {
    this.dataSource = new DataSource(options);
  }

  get isUp(): boolean {
    return performance.now() >= this.downUntilMs;
  }

  /** Resolves with the pool of connections; rejects when the replica cannot be reached. */
  async pool(): Promise<Pool> {
    if (!this.dataSource.isInitialized) {
      this.connecting ??= this.connect().finally(() => {
        this.connecting = undefined;
      });
      await this.connecting;
    }
    return poolOf(this.dataSource);
  }

  private async connect(): Promise<void> {
    await this.dataSource.initialize();
    try {
      await assertSessions(this.dataSource);
    } catch (error) {
      await this.dataSource.destroy();
      throw error;
    }
  }

  /** Makes `pick` skip the replica for five seconds. */
  markDown(error: unknown): void {
    this.downUntilMs = performance.now() + DOWN_FOR_MS;
    const reason = error instanceof Error ? error.message : String(error);
    this.logger.warn(`${this.name} does not answer (${reason}); reads go elsewhere for 5 s.`);
  }

  async close(): Promise<void> {
    await this.connecting?.catch(() => undefined);
    if (this.dataSource.isInitialized) await this.dataSource.destroy();
  }
}

/** Read replicas in rotation. With TypeORM's replication, a dead replica would make the start fail. */
@Injectable()
export class ReadReplicas implements OnApplicationShutdown {
  private next = 0;

  constructor(private readonly replicas: ReadReplica[]) {}

  /** Returns the next replica that is up, or undefined. */
  pick(): ReadReplica | undefined {
    for (let tried = 0; tried < this.replicas.length; tried += 1) {
      this.next = (this.next + 1) % this.replicas.length;
      const replica = this.replicas[this.next];
      if (replica?.isUp) return replica;
    }
    return undefined;
  }

  async onApplicationShutdown(): Promise<void> {
    await Promise.all(this.replicas.map((replica) => replica.close()));
  }
}
