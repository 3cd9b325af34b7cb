import { Controller, Get, HttpStatus, Res, ServiceUnavailableException } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import {
  HealthCheckService,
  type HealthIndicatorFunction,
  type HealthCheckResult,
} from '@nestjs/terminus';
import type { Response } from 'express';
import { Public } from '../auth/public.decorator';
import { DatabaseHealthIndicator } from '../database/database.health';
import { PartitionsHealthIndicator } from '../database/partitions.health';
import { LifecycleHealthIndicator } from '../front/lifecycle.health';
import { ProcessHealthIndicator } from '../metrics/process.health';
import { ApiProbe } from './health.openapi';

/** The probes of an orchestrator. Indicators return how things are; an answer of 503 is a fact, not an error. */
@ApiTags('health')
@Public()
@Controller('health')
export class HealthController {
  constructor(
    private readonly health: HealthCheckService,
    private readonly lifecycle: LifecycleHealthIndicator,
    private readonly database: DatabaseHealthIndicator,
    private readonly partitions: PartitionsHealthIndicator,
    private readonly process: ProcessHealthIndicator,
  ) {}

  @Get()
  @ApiProbe({
    summary: 'Everything at a glance',
    up: {
      description: 'The service works; `degraded` when something is impaired.',
      example: { database: { status: 'up' }, eventLoop: { status: 'up', p99Ms: 21 } },
    },
    down: { description: 'PostgreSQL is away.', example: { database: { status: 'down' } } },
  })
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
  @ApiProbe({
    summary: 'Liveness: the event loop turns',
    up: { description: 'Alive, whatever PostgreSQL or Redis do.', example: {} },
  })
  live(@Res({ passthrough: true }) response: Response): Promise<HealthCheckResult> {
    return this.answer(response, []);
  }

  @Get('ready')
  @ApiProbe({
    summary: 'Readiness: requests can be served',
    up: {
      description: 'PostgreSQL answers, migrations are done, not shutting down.',
      example: { lifecycle: { status: 'up', phase: 'ready' }, database: { status: 'up' } },
    },
    down: {
      description: 'Send no requests now.',
      example: { lifecycle: { status: 'down', phase: 'draining' }, database: { status: 'up' } },
    },
  })
  ready(@Res({ passthrough: true }) response: Response): Promise<HealthCheckResult> {
    return this.answer(response, [() => this.lifecycle.isReady(), () => this.database.check()]);
  }

  @Get('startup')
  @ApiProbe({
    summary: 'Start-up: the boot is over',
    up: { description: 'Booted.', example: { lifecycle: { status: 'up', phase: 'ready' } } },
    down: {
      description: 'Still booting.',
      example: { lifecycle: { status: 'down', phase: 'starting' } },
    },
  })
  startup(@Res({ passthrough: true }) response: Response): Promise<HealthCheckResult> {
    return this.answer(response, [() => this.lifecycle.isStarted()]);
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
