import { Global, Module } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { ScheduleModule } from '@nestjs/schedule';
import { TerminusModule } from '@nestjs/terminus';
import { TypeOrmModule } from '@nestjs/typeorm';
import type { DataSourceOptions } from 'typeorm';
import { databaseConfig } from '../config/database.config';
import { dataSourceOptions, openServer, OwningDataSource, waitForServer } from './data-source';
import { Database } from './database';
import { DatabaseController } from '../../maintenance/database.controller';
import { DatabaseHealthIndicator } from './database.health';
import { DatabaseReport } from '../../maintenance/database-report';
import { DatabaseStatus } from '../../maintenance/database-status';
import type { EmbeddedPostgresServer } from './embedded/embedded-postgres';
import { MaintainedTables } from './maintained-tables';
import { runMigrations } from './migrate';
import { Optimizer } from '../../maintenance/optimizer';
import { Partitions } from './partitions';
import { PartitionsHealthIndicator } from '../../maintenance/partitions.health';
import { QueryCacheSource } from './query-cache-figures';
import { QueryTimes } from './query-times';
import { ReadReplica, ReadReplicas } from './read-replicas';
import { assertSession } from './session-settings';
import { Maintenance } from '../../maintenance/maintenance';
import { MaintenanceSchedule } from '../../maintenance/maintenance.schedule';

/** The server that this process started for itself, between being opened and being owned by the data source. */
let opened: EmbeddedPostgresServer | undefined;

/** Apart, as the connections need it before there is a data source. */
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

/** PostgreSQL: opens (or starts) the server, migrates, lends connections. It boots only once the database answers. */
@Global()
@Module({
  imports: [
    TerminusModule,
    ScheduleModule.forRoot(),
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
          await assertSession(dataSource);
          return dataSource;
        } catch (error) {
          await dataSource.destroy();
          throw error;
        }
      },
    }),
  ],
  controllers: [DatabaseController],
  providers: [
    Database,
    Partitions,
    MaintainedTables,
    QueryCacheSource,
    DatabaseReport,
    DatabaseStatus,
    Optimizer,
    Maintenance,
    MaintenanceSchedule,
    DatabaseHealthIndicator,
    PartitionsHealthIndicator,
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
  exports: [
    Database,
    Partitions,
    MaintainedTables,
    QueryCacheSource,
    DatabaseReport,
    DatabaseStatus,
    Optimizer,
    Maintenance,
    DatabaseHealthIndicator,
    PartitionsHealthIndicator,
    QueryTimesModule,
  ],
})
export class DatabaseModule {}
