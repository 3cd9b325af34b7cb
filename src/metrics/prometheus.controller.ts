import { Controller, Get, Inject, Res } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { Public } from '../auth/auth.guard';
import { serverConfig } from '../platform/config/settings';
import { AppError } from '../platform/errors/app-error';
import { NO_STORE, Operation } from '../http/operation.openapi';
import { MetricRegistry } from './metrics.registry';

/** /metrics for Prometheus; not found when METRICS_PORT gives it a port of its own. */
@ApiTags('performance')
@Public()
@Controller('metrics')
export class PrometheusController {
  constructor(
    private readonly registry: MetricRegistry,
    @Inject(serverConfig.KEY) private readonly server: ConfigType<typeof serverConfig>,
  ) {}

  @Get()
  @Operation({
    summary: 'Figures for Prometheus',
    description:
      'No token needed; holds no ids and no names of tenants. With METRICS_PORT it is on that port alone.',
    isPublic: true,
    responses: {
      200: {
        description: "In Prometheus' text format.",
        headers: NO_STORE,
        content: {
          'text/plain': { schema: { type: 'string', example: 'http_requests_in_flight 1\n' } },
        },
      },
    },
    errors: ['NOT_FOUND'],
  })
  async scrape(@Res() response: Response): Promise<void> {
    if (this.server.metricsPort !== undefined) {
      throw new AppError('NOT_FOUND', 'There is no such route; /docs lists those of REST.');
    }
    const { contentType, text } = await this.registry.text();
    response.setHeader('Content-Type', contentType);
    response.setHeader('Cache-Control', 'no-store');
    response.end(text);
  }
}
