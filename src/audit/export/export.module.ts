import { Module } from '@nestjs/common';
import { AuthModule } from '../../auth/auth.module';
import { StreamingModule } from '../../streaming/streaming.module';
import { ReadModule } from '../read/read.module';
import { WriteModule } from '../write/write.module';
import { AuditExports } from './audit-exports';
import { ExportRecorder } from './export-recorder';

@Module({
  imports: [AuthModule, ReadModule, StreamingModule, WriteModule],
  providers: [AuditExports, ExportRecorder],
  exports: [AuditExports],
})
export class ExportModule {}
