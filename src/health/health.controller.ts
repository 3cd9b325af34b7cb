import { Controller, Get, HttpStatus, Res, ServiceUnavailableException } from '@nestjs/common';
import { ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import {
  HealthCheckService,
  type HealthIndicatorFunction,
  type HealthCheckResult,
  HealthIndicatorService,
} from '@nestjs/terminus';
import type { Response } from 'express';
import { Public } from '../auth/public.decorator';
import { DatabaseHealthIndicator } from '../database/database.health';
import { PartitionsHealthIndicator } from '../database/partitions.health';
import { Lifecycle } from '../front/lifecycle';
import { ProcessHealthIndicator } from '../metrics/process.health';

const SHAPE = {
  type: 'object' as const,
  properties: {
    status: { type: 'string' as const, enum: ['ok', 'degraded', 'error', 'shutting_down'] },
    info: { type: 'object' as const, additionalProperties: true },
    error: { type: 'object' as const, additionalProperties: true },
    details: { type: 'object' as const, additionalProperties: true },
  },
  example: { status: 'ok', info: {}, error: {}, details: {} },
};

/** The probes of an orchestrator. Indicators return how things are; an answer of 503 is a fact, not an error. */
@ApiTags('health')
@Public()
@Controller('health')
export class HealthController {
  constructor(
    private readonly health: HealthCheckService,
    private readonly indicators: HealthIndicatorService,
    private readonly lifecycle: Lifecycle,
    private readonly database: DatabaseHealthIndicator,
    private readonly partitions: PartitionsHealthIndicator,
    private readonly process: ProcessHealthIndicator,
  ) {}

  @Get()
  @ApiOperation({ summary: 'Everything at a glance', security: [] })
  @ApiResponse({
    status: 200,
    description: 'The service works; `degraded` when something is impaired.',
    schema: SHAPE,
  })
  @ApiResponse({ status: 503, description: 'PostgreSQL is away.', schema: SHAPE })
  all(@Res({ passthrough: true }) response: Response): Promise<HealthCheckResult> {
    return this.answer(response, [
      () => this.database.check(),
      () => this.partitions.check(),
      () => this.process.memory(),
      () => this.process.disk(),
      () => this.process.eventLoop(),
    ]);
  }

  @Get('live')
  @ApiOperation({ summary: 'Liveness: the event loop turns', security: [] })
  @ApiResponse({
    status: 200,
    description: 'Alive, whatever PostgreSQL or Redis do.',
    schema: SHAPE,
  })
  live(@Res({ passthrough: true }) response: Response): Promise<HealthCheckResult> {
    return this.answer(response, []);
  }

  @Get('ready')
  @ApiOperation({ summary: 'Readiness: requests can be served', security: [] })
  @ApiResponse({
    status: 200,
    description: 'PostgreSQL answers, migrations are done, not shutting down.',
    schema: SHAPE,
  })
  @ApiResponse({ status: 503, description: 'Send no requests now.', schema: SHAPE })
  ready(@Res({ passthrough: true }) response: Response): Promise<HealthCheckResult> {
    return this.answer(response, [
      () => {
        const check = this.indicators.check('lifecycle');
        const { phase } = this.lifecycle;
        return phase === 'ready' ? check.up({ phase }) : check.down({ phase });
      },
      () => this.database.check(),
    ]);
  }

  @Get('startup')
  @ApiOperation({ summary: 'Start-up: the boot is over', security: [] })
  @ApiResponse({ status: 200, description: 'Booted.', schema: SHAPE })
  @ApiResponse({ status: 503, description: 'Still booting.', schema: SHAPE })
  startup(@Res({ passthrough: true }) response: Response): Promise<HealthCheckResult> {
    return this.answer(response, [
      () => {
        const check = this.indicators.check('lifecycle');
        const { phase } = this.lifecycle;
        return phase === 'starting' ? check.down({ phase }) : check.up({ phase });
      },
    ]);
  }

  /** Terminus throws when an indicator is down; a probe wants the same body with 503. */
  private async answer(
    response: Response,
    indicators: HealthIndicatorFunction[],
  ): Promise<HealthCheckResult> {
    response.setHeader('Cache-Control', 'no-store');
    try {
      return await this.health.check(indicators);
    } catch (error) {
      if (!(error instanceof ServiceUnavailableException)) throw error;
      response.status(HttpStatus.SERVICE_UNAVAILABLE);
      return error.getResponse() as HealthCheckResult;
    }
  }
}
