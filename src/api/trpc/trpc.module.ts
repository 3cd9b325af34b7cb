import { Module } from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import { AuditModule } from '../../audit/audit.module';
import { AuthModule } from '../../auth/auth.module';
import { AuditProcedures } from './audit.procedures';
import { BatchBodyReader } from './batch-inputs';
import { ProcedureHandlers } from './procedure-handlers';
import { TrpcAdapter } from './trpc.adapter';
import { MetricsModule } from '../../metrics/metrics.module';
import { HttpModule } from '../../http/http.module';
import { ConcurrencyModule } from '../../concurrency/concurrency.module';
import { CachingModule } from '../../caching/caching.module';
import { StreamingModule } from '../../streaming/streaming.module';

/** tRPC at /trpc. */
@Module({
  imports: [
    MetricsModule,
    HttpModule,
    ConcurrencyModule,
    CachingModule,
    StreamingModule,
    AuditModule,
    AuthModule,
    DiscoveryModule,
  ],
  providers: [AuditProcedures, BatchBodyReader, ProcedureHandlers, TrpcAdapter],
})
export class TrpcModule {}
