import {
  type BeforeApplicationShutdown,
  Inject,
  Injectable,
  Logger,
  type OnApplicationBootstrap,
} from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { serverConfig } from '../platform/config/settings';
import { AppError } from '../platform/errors/app-error';
import { writeProblem } from '../platform/errors/problem';
import { MetricRegistry } from './metrics.registry';

const REQUEST_TIMEOUT_MS = 10_000;

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
    const { port } = server.address() as AddressInfo;
    this.url = `http://localhost:${port}/metrics`;
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
    this.registry
      .text()
      .then(({ contentType, text }) => {
        response.setHeader('Content-Type', contentType);
        response.setHeader('Cache-Control', 'no-store');
        response.end(request.method === 'HEAD' ? undefined : text);
      })
      .catch((error: unknown) => writeProblem(error, request, response));
  }
}
