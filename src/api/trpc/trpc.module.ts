import { Module } from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import { AuditModule } from '../../audit/audit.module';
import { AuthModule } from '../../auth/auth.module';
import { AuditProcedures } from './audit.procedures';
import { InputServices } from './batch-inputs';
import { ProcedureHandlers } from './procedure-handlers';
import { TrpcAdapter } from './trpc.adapter';

/** tRPC at /trpc. */
@Module({
  imports: [AuditModule, AuthModule, DiscoveryModule],
  providers: [AuditProcedures, InputServices, ProcedureHandlers, TrpcAdapter],
})
export class TrpcModule {}
