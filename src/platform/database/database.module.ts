import { Module } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { TerminusModule } from '@nestjs/terminus';
import { TypeOrmModule } from '@nestjs/typeorm';
import type { DataSourceOptions } from 'typeorm';
import { databaseConfig } from '../config/settings';
import {
  assertSessions,
  dataSourceOptions,
  openServer,
  OwningDataSource,
  waitForServer,
} from './data-source';
import { Database } from './database';
import { DatabaseHealthIndicator } from './database.health';
import type { EmbeddedPostgresServer } from './embedded/embedded-postgres';
import { MaintainedTables } from './maintained-tables';
import { runMigrations } from './migrate';
import { Partitions } from './partitions';
import { QueryTimes } from './database-statistics';
import { ReadReplica, ReadReplicas } from './read-replicas';

/** Embedded server, until its data source owns it. */
let opened: EmbeddedPostgresServer | undefined;

/** Separate module, which connections need before the data source exists. */
@Module({
  providers: [
    {
      provide: QueryTimes,
      inject: [databaseConfig.KEY],
      useFactory: (config: ConfigType<typeof databaseConfig>) =>
        new QueryTimes(config.slowQueryThresholdMs),
    },
  ],
  exports: [QueryTimes],
})
class QueryTimesModule {}

/** Opens or starts PostgreSQL and migrates it; the service starts once it answers. */
@Module({
  imports: [
    TerminusModule,
    QueryTimesModule,
    TypeOrmModule.forRootAsync({
      imports: [QueryTimesModule],
      inject: [databaseConfig.KEY, QueryTimes],
      useFactory: async (config: ConfigType<typeof databaseConfig>, queries: QueryTimes) => {
        const { url, server } = await openServer(config);
        opened = server;
        await waitForServer(url);
        await runMigrations(url);
        return { ...dataSourceOptions(url, config, queries), retryAttempts: 1 };
      },
      dataSourceFactory: async (options) => {
        const dataSource = new OwningDataSource(options as DataSourceOptions, opened);
        opened = undefined;
        try {
          await dataSource.initialize();
          await assertSessions(dataSource);
          return dataSource;
        } catch (error) {
          await dataSource.destroy();
          throw error;
        }
      },
    }),
  ],
  providers: [
    Database,
    Partitions,
    MaintainedTables,
    DatabaseHealthIndicator,
    {
      provide: ReadReplicas,
      inject: [databaseConfig.KEY, QueryTimes],
      useFactory: (config: ConfigType<typeof databaseConfig>, queries: QueryTimes) =>
        new ReadReplicas(
          config.replicaUrls.map(
            (url, index) =>
              new ReadReplica(`Read replica ${index + 1}`, dataSourceOptions(url, config, queries)),
          ),
        ),
    },
  ],
  exports: [Database, Partitions, MaintainedTables, DatabaseHealthIndicator, QueryTimesModule],
})
export class DatabaseModule {}
