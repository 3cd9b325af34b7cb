import { Module } from '@nestjs/common';
import { AuditModule } from '../../audit/audit.module';
import { AuthModule } from '../../auth/auth.module';
import { CachingModule } from '../../caching/caching.module';
import { ConcurrencyModule } from '../../concurrency/concurrency.module';
import { HttpModule } from '../../http/http.module';
import { MaintenanceModule } from '../../maintenance/maintenance.module';
import { MetricsModule } from '../../metrics/metrics.module';
import { GraphqlController } from './graphql.controller';
import { GraphqlDocuments } from './graphql-documents';
import { GraphqlSocket } from './graphql-socket';

/** GraphQL at /graphql, over HTTP and WebSocket. */
@Module({
  imports: [
    AuditModule,
    AuthModule,
    CachingModule,
    ConcurrencyModule,
    HttpModule,
    MaintenanceModule,
    MetricsModule,
  ],
  controllers: [GraphqlController],
  providers: [GraphqlDocuments, GraphqlSocket],
})
export class GraphqlModule {}
