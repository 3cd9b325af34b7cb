import { Controller, Get, Header, Query, type Type } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { Scopes } from '../auth/auth.guard';
import { NO_STORE, Operation } from '../http/operation.openapi';
import { Procedure } from '../http/procedure.decorator';
import { oneOf } from '../validation/constraints';
import { Parameter } from '../validation/dto-properties';
import { QueryText } from '../validation/query-coercion';
import { AlertState } from './alert-state';
import {
  type AlertSeverity,
  PerformanceAlertDto,
  PerformanceHealthDto,
  PerformanceMetricsDto,
  SEVERITIES,
} from './dto/responses.dto';
import { PerformanceHealth } from './performance-health';
import { PerformanceReport } from './performance.report';

const STATES = ['active', 'resolved'] as const;

export class AlertsQuery {
  @Parameter(QueryText(), oneOf(SEVERITIES), {
    type: String,
    enum: [...SEVERITIES],
    description: 'Only these.',
  })
  severity?: AlertSeverity;

  @Parameter(QueryText(), oneOf(STATES), {
    type: String,
    enum: [...STATES],
    description: 'Only those that are active, or only those that are over.',
  })
  state?: (typeof STATES)[number];
}

const figures = (type: Type | [Type]) => ({
  200: { description: 'As it is now.', type, headers: NO_STORE },
});

@ApiTags('performance')
@Controller('performance')
export class PerformanceController {
  constructor(
    private readonly report: PerformanceReport,
    private readonly health: PerformanceHealth,
    private readonly alertState: AlertState,
  ) {}

  @Get('metrics')
  @Procedure('performance.getMetrics')
  @Scopes('performance:read')
  @Header('Cache-Control', 'no-store')
  @Operation({
    id: 'getPerformanceMetrics',
    summary: 'Show how fast the service is',
    description:
      'Measured by the replica that answers, over the last minute; `lastHour` and `slowRequests` over the last hour. ' +
      'All protocols count, and requests whose client did not wait for the answer too. With MONITORING_ENABLED=false no ' +
      'request is counted.',
    responses: figures(PerformanceMetricsDto),
  })
  metrics(): PerformanceMetricsDto {
    return this.report.metrics();
  }

  @Get('health')
  @Procedure('performance.getHealthStatus')
  @Scopes('performance:read')
  @Header('Cache-Control', 'no-store')
  @Operation({
    id: 'getPerformanceHealth',
    summary: 'Show how the service does, and what to do about it',
    description:
      'Names the likeliest bottleneck with the figures that point to it. A process without requests is `healthy`.',
    responses: figures(PerformanceHealthDto),
  })
  check(): PerformanceHealthDto {
    return this.health.check();
  }

  @Get('alerts')
  @Procedure('performance.getAlerts')
  @Scopes('performance:read')
  @Header('Cache-Control', 'no-store')
  @Operation({
    id: 'listAlerts',
    summary: 'List alerts',
    description:
      'Those that are active, then up to a hundred that are over, each the newest first. Of the replica that answers.',
    responses: figures([PerformanceAlertDto]),
  })
  alerts(@Query() { severity, state }: AlertsQuery): PerformanceAlertDto[] {
    return this.alertState
      .all()
      .filter((alert) => severity === undefined || alert.severity === severity)
      .filter(
        ({ resolvedAt }) =>
          state === undefined || (state === 'resolved') === (resolvedAt !== undefined),
      );
  }
}
