import { Controller, Get, HttpStatus, Res, ServiceUnavailableException } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import {
  HealthCheckService,
  type HealthIndicatorFunction,
  type HealthCheckResult,
} from '@nestjs/terminus';
import type { Response } from 'express';
import { Public } from '../auth/auth.guard';
import { Probe } from './health.openapi';
import { ProbeIndicators } from './probe-indicators';

const REDIS_AWAY = {
  status: 'degraded',
  configured: true,
  message: 'Redis does not answer: answers come from PostgreSQL and this process alone',
} as const;

interface Outcome {
  status: HttpStatus;
  result: HealthCheckResult;
}

/** The probes of an orchestrator: 503 is a result, not an error. */
@ApiTags('health')
@Public()
@Controller('health')
export class HealthController {
  private readonly running = new Map<string, Promise<Outcome>>();

  constructor(
    private readonly health: HealthCheckService,
    private readonly indicators: ProbeIndicators,
  ) {}

  @Get()
  @Probe({
    summary: 'Everything at a glance',
    up: {
      description: 'The service works; `degraded` when something is impaired.',
      example: {
        database: { status: 'up' },
        redis: { status: 'up', configured: true },
        eventLoop: { status: 'up', p99Ms: 21 },
        cache: { status: 'up', entries: 10, sizeMB: 0.31, hitRatio: 93.75, sharedTier: 'up' },
      },
    },
    degraded: {
      database: { status: 'up' },
      redis: REDIS_AWAY,
      cache: { status: 'degraded', entries: 10, sizeMB: 0.31, hitRatio: 93.75, sharedTier: 'away' },
    },
    down: { description: 'PostgreSQL is away.', example: { database: { status: 'down' } } },
  })
  all(@Res({ passthrough: true }) response: Response): Promise<HealthCheckResult> {
    return this.respond(response, 'all', () => this.indicators.all());
  }

  @Get('live')
  @Probe({
    summary: 'Liveness: the event loop turns',
    up: { description: 'Alive, whatever PostgreSQL or Redis do.', example: {} },
  })
  live(@Res({ passthrough: true }) response: Response): Promise<HealthCheckResult> {
    return this.respond(response, 'live', () => []);
  }

  @Get('ready')
  @Probe({
    summary: 'Readiness: requests can be served',
    up: {
      description:
        'PostgreSQL answers, migrations are done, not shutting down; `degraded` when Redis is away.',
      example: {
        lifecycle: { status: 'up', phase: 'ready' },
        database: { status: 'up' },
        redis: { status: 'up', configured: true },
      },
    },
    degraded: {
      lifecycle: { status: 'up', phase: 'ready' },
      database: { status: 'up' },
      redis: REDIS_AWAY,
    },
    down: {
      description: 'Send no requests now.',
      example: { lifecycle: { status: 'down', phase: 'draining' }, database: { status: 'up' } },
    },
  })
  ready(@Res({ passthrough: true }) response: Response): Promise<HealthCheckResult> {
    return this.respond(response, 'ready', () => this.indicators.readiness());
  }

  @Get('startup')
  @Probe({
    summary: 'Start-up: the boot is over',
    up: { description: 'Booted.', example: { lifecycle: { status: 'up', phase: 'ready' } } },
    down: {
      description: 'Still booting.',
      example: { lifecycle: { status: 'down', phase: 'starting' } },
    },
  })
  startup(@Res({ passthrough: true }) response: Response): Promise<HealthCheckResult> {
    return this.respond(response, 'startup', () => this.indicators.startup());
  }

  /** Probes of one kind share a check that runs: they need no token, and may come as often as a client likes. */
  private async respond(
    response: Response,
    probe: string,
    indicators: () => HealthIndicatorFunction[],
  ): Promise<HealthCheckResult> {
    let check = this.running.get(probe);
    if (!check) {
      check = this.check(indicators()).finally(() => this.running.delete(probe));
      this.running.set(probe, check);
    }
    const { status, result } = await check;
    response.setHeader('Cache-Control', 'no-store');
    response.status(status);
    return result;
  }

  /** Terminus throws when an indicator is down; a probe has the same body with 503. */
  private async check(indicators: HealthIndicatorFunction[]): Promise<Outcome> {
    try {
      return { status: HttpStatus.OK, result: await this.health.check(indicators) };
    } catch (error) {
      if (!(error instanceof ServiceUnavailableException)) throw error;
      const result = error.getResponse() as HealthCheckResult;
      return { status: HttpStatus.SERVICE_UNAVAILABLE, result };
    }
  }
}
