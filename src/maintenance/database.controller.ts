import { Controller, Get, Header, HttpCode, Post } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { Scopes } from '../auth/auth.guard';
import { NO_STORE, Operation } from '../http/operation.openapi';
import { Procedure } from '../http/procedure.decorator';
import { DatabaseReport } from './database-report';
import {
  DatabaseHealthStatusDto,
  DatabaseOptimizationResultDto,
  DatabasePerformanceReportDto,
} from './dto/responses.dto';
import { Optimizer } from './optimizer';

@ApiTags('performance')
@Controller('performance/database')
export class DatabaseController {
  constructor(
    private readonly reports: DatabaseReport,
    private readonly optimizer: Optimizer,
  ) {}

  @Get('performance-report')
  @Procedure('performance.databaseOptimization.getReport')
  @Scopes('performance:read')
  @Header('Cache-Control', 'no-store')
  @Operation({
    id: 'getDatabaseReport',
    summary: 'Show how the database does',
    description:
      "From PostgreSQL's own statistics, the connections of the replica that answers, and the partitions. What cannot be known is null, and a suggestion says why.",
    responses: {
      200: { description: 'The report.', type: DatabasePerformanceReportDto, headers: NO_STORE },
    },
  })
  report(): Promise<DatabasePerformanceReportDto> {
    return this.reports.report();
  }

  @Get('health')
  @Procedure('performance.databaseOptimization.getHealthStatus')
  @Scopes('performance:read')
  @Header('Cache-Control', 'no-store')
  @Operation({
    id: 'getDatabaseHealth',
    summary: 'Show how healthy the database is',
    description:
      'The figures of the performance report, judged. `overall` is the status of the worst component.',
    responses: {
      200: { description: 'The health.', type: DatabaseHealthStatusDto, headers: NO_STORE },
    },
  })
  health(): Promise<DatabaseHealthStatusDto> {
    return this.reports.status();
  }

  @Post('optimize')
  @HttpCode(200)
  @Procedure('performance.databaseOptimization.optimize')
  @Scopes('performance:manage')
  @Header('Cache-Control', 'no-store')
  @Operation({
    id: 'optimizeDatabase',
    summary: 'Maintain the database now',
    description:
      'Makes missing partitions, runs VACUUM (ANALYZE) where dead rows or stale statistics make it due, rebuilds bloated ' +
      'indexes CONCURRENTLY and removes what an interrupted rebuild left. No reader or writer waits for any of it. Index ' +
      'and settings are only suggested. One at a time over all replicas: a second call is `CONFLICT`. Ends within 20 ' +
      'seconds; what does not fit is skipped and named. It goes on when the client hangs up.',
    responses: {
      200: {
        description: 'What was done, what was skipped and why, what is suggested.',
        type: DatabaseOptimizationResultDto,
        headers: NO_STORE,
      },
    },
    errors: ['CONFLICT'],
  })
  optimize(): Promise<DatabaseOptimizationResultDto> {
    return this.optimizer.optimize();
  }
}
