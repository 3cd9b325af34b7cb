import { Controller, Get, Inject, Res } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { Public } from '../auth/public.decorator';
import { serverConfig } from '../platform/config/server.config';
import { AppError } from '../platform/errors/app-error';
import { ApiProblems, ApiRequestId, headersWith } from '../http/problems/problem.openapi';
import { MetricRegistry } from './metrics.registry';

/** The door for Prometheus; closed when METRICS_PORT gives it another one. */
@ApiTags('performance')
@Public()
@Controller('metrics')
export class PrometheusController {
  constructor(
    private readonly registry: MetricRegistry,
    @Inject(serverConfig.KEY) private readonly server: ConfigType<typeof serverConfig>,
  ) {}

  @Get()
  @ApiOperation({
    summary: 'Figures for Prometheus',
    description:
      'No token needed; holds no ids and no names of tenants. With METRICS_PORT it is on that port alone.',
    security: [],
  })
  @ApiRequestId()
  @ApiResponse({
    status: 200,
    description: "In Prometheus' text format.",
    headers: headersWith('Cache-Control'),
    content: {
      'text/plain': { schema: { type: 'string', example: 'http_requests_in_flight 1\n' } },
    },
  })
  @ApiProblems('NOT_FOUND', 'CLIENT_TIMEOUT', 'HEADERS_TOO_LARGE', 'INTERNAL')
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
