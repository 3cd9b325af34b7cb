import {
  type BeforeApplicationShutdown,
  Controller,
  Get,
  Inject,
  Injectable,
  Logger,
  type OnApplicationBootstrap,
  Res,
} from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { ApiTags } from '@nestjs/swagger';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Public } from '../auth/auth.guard';
import { NO_STORE, Operation } from '../http/operation.openapi';
import { serverConfig } from '../platform/config/settings';
import { AppError } from '../platform/errors/app-error';
import { urlOfListener } from '../platform/runtime/ip-address';
import { writeProblem } from '../platform/errors/problem';
import { MetricRegistry } from './metrics.registry';

const REQUEST_TIMEOUT_MS = 10_000;

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
    id: 'scrapeMetrics',
    summary: 'Figures for Prometheus',
    description:
      'No token needed; holds no ids and no names of tenants. With METRICS_PORT it is on that port alone.',
    isPublic: true,
    responses: {
      200: {
        description: "In Prometheus' text format.",
        headers: NO_STORE,
        content: {
          'text/plain': {
            schema: { type: 'string', example: 'audit_http_requests_in_flight 1\n' },
          },
        },
      },
    },
    errors: ['NOT_FOUND'],
  })
  async scrape(@Res() response: ServerResponse): Promise<void> {
    if (this.server.metricsPort !== undefined) {
      throw new AppError('NOT_FOUND', 'There is no such route; /docs lists those of REST.');
    }
    await writeMetrics(this.registry, response);
  }
}

/** /metrics on METRICS_PORT, which need not be public. Other paths are refused. */
@Injectable()
export class MetricsListener implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly logger = new Logger('Metrics');
  private server: Server | undefined;
  url: string | undefined;

  constructor(
    private readonly registry: MetricRegistry,
    @Inject(serverConfig.KEY) private readonly config: ConfigType<typeof serverConfig>,
  ) {}

  /** @throws when the port is taken: `code` EADDRINUSE, `port`. */
  async onApplicationBootstrap(): Promise<void> {
    const { metricsPort, host } = this.config;
    if (metricsPort === undefined) return;
    const server = createServer((request, response) => this.respond(request, response));
    server.requestTimeout = REQUEST_TIMEOUT_MS;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ port: metricsPort, host }, () => {
        server.off('error', reject);
        resolve();
      });
    });
    this.server = server;
    this.url = `${urlOfListener(server.address() as AddressInfo)}/metrics`;
    this.logger.log(`Metrics on ${this.url}`);
  }

  async beforeApplicationShutdown(): Promise<void> {
    const { server } = this;
    if (!server) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeAllConnections();
    await closed;
  }

  private respond(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url?.split('?', 1)[0];
    if (path !== '/metrics') {
      const error = new AppError('NOT_FOUND', 'There is only /metrics here.');
      return writeProblem(error, request, response);
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      const headers = { Allow: 'GET, HEAD' };
      const error = new AppError('METHOD_NOT_ALLOWED', 'Allowed: GET, HEAD.', { headers });
      return writeProblem(error, request, response);
    }
    writeMetrics(this.registry, response).catch((error: unknown) =>
      writeProblem(error, request, response),
    );
  }
}

/** Node leaves the body out of a response to HEAD. */
async function writeMetrics(registry: MetricRegistry, response: ServerResponse): Promise<void> {
  const { contentType, text } = await registry.text();
  response.setHeader('Content-Type', contentType);
  response.setHeader('Cache-Control', 'no-store');
  response.end(text);
}
