import { Module } from '@nestjs/common';
import { HttpModule } from '../http/http.module';
import { Profiler } from './profiler';
import { ProfilesController } from './profiles.controller';

/** Profiles of the process on demand (docs/adr/0051-profiles-and-spans.md). */
@Module({
  imports: [HttpModule],
  controllers: [ProfilesController],
  providers: [Profiler],
})
export class ProfilingModule {}
