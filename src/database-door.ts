import { Injectable } from '@nestjs/common';
import { DatabaseReport } from './maintenance/database-report';
import { DatabaseStatus } from './maintenance/database-status';
import { DatabaseHealthStatusDto } from './maintenance/dto/health-status.dto';
import { DatabaseOptimizationResultDto } from './maintenance/dto/optimization-result.dto';
import { DatabasePerformanceReportDto } from './maintenance/dto/performance-report.dto';
import { Optimizer } from './maintenance/optimizer';
import type { DatabaseOperations, DatabaseShapes } from './api/graphql/database-operations';

/** The shapes of what DatabaseDoor gives. */
export const DATABASE_SHAPES: DatabaseShapes = {
  report: DatabasePerformanceReportDto,
  health: DatabaseHealthStatusDto,
  optimization: DatabaseOptimizationResultDto,
};

/** The operations on the database for doors, which themselves know nothing of it. */
@Injectable()
export class DatabaseDoor implements DatabaseOperations {
  constructor(
    private readonly reports: DatabaseReport,
    private readonly statuses: DatabaseStatus,
    private readonly optimizer: Optimizer,
  ) {}

  report(): Promise<object> {
    return this.reports.report();
  }

  health(): Promise<object> {
    return this.statuses.status();
  }

  optimize(): Promise<object> {
    return this.optimizer.optimize();
  }
}
