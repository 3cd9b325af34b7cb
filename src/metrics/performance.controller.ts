import { Controller, Get, Header, Query, type Type, applyDecorators } from '@nestjs/common';
import { ApiProperty, ApiResponse, ApiTags } from '@nestjs/swagger';
import { IsOptional } from 'class-validator';
import { Scopes } from '../auth/scopes.decorator';
import { ApiProblems, headersWith } from '../http/problems/problem.openapi';
import { Procedure } from '../http/procedure.decorator';
import { ApiRoute, COMMON_ERRORS } from '../http/route.openapi';
import { Check, oneOf } from '../validation/constraints';
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

/** Which alerts to show. */
export class AlertsQuery {
  @IsOptional()
  @QueryText()
  @Check(oneOf(SEVERITIES))
  @ApiProperty({ type: String, enum: [...SEVERITIES], required: false, description: 'Only these.' })
  severity?: AlertSeverity;

  @IsOptional()
  @QueryText()
  @Check(oneOf(STATES))
  @ApiProperty({
    type: String,
    enum: [...STATES],
    required: false,
    description: 'Only those that are active, or only those that are over.',
  })
  state?: (typeof STATES)[number];
}

function ApiFigures(summary: string, description: string, type: Type | [Type]): MethodDecorator {
  return applyDecorators(
    ApiRoute('performance:read', summary, description),
    ApiResponse({
      status: 200,
      description: 'As it is now.',
      type,
      headers: headersWith('Cache-Control'),
    }),
    ApiProblems(...COMMON_ERRORS),
  );
}

/** What operators see of the service. */
@ApiTags('performance')
@Controller('performance')
export class PerformanceController {
  constructor(
    private readonly report: PerformanceReport,
    private readonly health: PerformanceHealth,
    private readonly board: AlertState,
  ) {}

  @Get('metrics')
  @Procedure('performance.getMetrics')
  @Scopes('performance:read')
  @Header('Cache-Control', 'no-store')
  @ApiFigures(
    'Show how fast the service is',
    'Measured by the replica that answers, over the last minute; `lastHour` and `slowRequests` over the last hour. ' +
      'Every door counts, and requests whose client did not wait for the answer too. With MONITORING_ENABLED=false no ' +
      'request is counted.',
    PerformanceMetricsDto,
  )
  metrics(): PerformanceMetricsDto {
    return this.report.metrics();
  }

  @Get('health')
  @Procedure('performance.getHealthStatus')
  @Scopes('performance:read')
  @Header('Cache-Control', 'no-store')
  @ApiFigures(
    'Show how the service does, and what to do about it',
    'Names the likeliest bottleneck with the figures that point to it. A process without requests is `healthy`.',
    PerformanceHealthDto,
  )
  check(): PerformanceHealthDto {
    return this.health.check();
  }

  @Get('alerts')
  @Procedure('performance.getAlerts')
  @Scopes('performance:read')
  @Header('Cache-Control', 'no-store')
  @ApiFigures(
    'List alerts',
    'Those that are active, then up to a hundred that are over, each the newest first. Of the replica that answers.',
    [PerformanceAlertDto],
  )
  alerts(@Query() { severity, state }: AlertsQuery): PerformanceAlertDto[] {
    return this.board
      .all()
      .filter((alert) => severity === undefined || alert.severity === severity)
      .filter(
        ({ resolvedAt }) =>
          state === undefined || (state === 'resolved') === (resolvedAt !== undefined),
      );
  }
}
