import { ConsoleLogger, Logger, type LogLevel } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import compression from 'compression';
import express, { type Express } from 'express';
import helmet from 'helmet';
import { AppModule } from './app.module';
import { loggingConfig } from './config/logging.config';
import { FrontAdapter } from './front/front.adapter';
import { API_PREFIX, HotRoutes } from './front/hot-routes';
import { HttpFront } from './front/http-front';
import { Lifecycle } from './front/lifecycle';
import { requireAcceptable } from './front/negotiation';
import { parseQuery } from './front/query-string';
import { serveDocumentation } from './openapi';

const LEVELS: LogLevel[] = ['fatal', 'error', 'warn', 'log', 'debug', 'verbose'];
/** Under this many bytes compressing costs more than it saves. */
const COMPRESSION_THRESHOLD_BYTES = 1400;

/** What is answered beside JSON, by the end of the path. */
const OTHER_TYPES = {
  '/audit/events/stream': ['application/x-ndjson', 'text/csv'],
  '/audit/events/bulk': ['application/x-ndjson'],
};

/** A service that is up: the Nest application, and the front that owns its socket. */
export interface RunningService {
  app: NestExpressApplication;
  front: HttpFront;
  /** Stops in order: not ready, running requests finish, connections close. */
  stop: (timeoutMs: number) => Promise<void>;
}

/** What Nest tells of its own boot: for debugging only. */
const BOOT_CONTEXTS = new Set([
  'NestFactory',
  'InstanceLoader',
  'RoutesResolver',
  'RouterExplorer',
  'NestApplication',
]);

class ServiceLogger extends ConsoleLogger {
  override log(message: unknown, ...rest: unknown[]): void {
    const context = rest.at(-1);
    if (typeof context === 'string' && BOOT_CONTEXTS.has(context)) this.debug(message, ...rest);
    else super.log(message, ...rest);
  }
}

/** The logger that `LOG_LEVEL` and `LOG_FORMAT` ask for. */
export function createLogger({ level, format }: ConfigType<typeof loggingConfig>): ConsoleLogger {
  const name = ({ info: 'log', trace: 'verbose' } as Record<string, LogLevel>)[level] ?? level;
  return new ServiceLogger({
    json: format === 'json',
    colors: format === 'pretty' && process.stdout.isTTY === true,
    logLevels: LEVELS.slice(0, LEVELS.indexOf(name) + 1),
  });
}

/** Express as it stands behind the front: middleware that every route shares. */
function createExpress(): Express {
  const application = express();
  application.disable('x-powered-by');
  application.disable('etag');
  application.set('query parser', parseQuery);
  application.use(
    '/docs',
    helmet({ contentSecurityPolicy: { directives: { 'upgrade-insecure-requests': null } } }),
  );
  // Answers to writes are receipts: small, or asked for by programs that do not want them slower.
  // What comes from the cache is in the coding that it is to have.
  const compress = compression({
    threshold: COMPRESSION_THRESHOLD_BYTES,
    filter: (request, response) =>
      !response.hasHeader('X-Cache') && compression.filter(request, response),
  });
  application.use((request, response, next) =>
    request.method === 'GET' || request.method === 'HEAD'
      ? compress(request, response, next)
      : next(),
  );
  application.use('/api', requireAcceptable(OTHER_TYPES));
  return application;
}

/** Nest on top of `front`, wired but not initialised: shared by the service, its tests and the OpenAPI generator. */
export async function createApplication(
  front: HttpFront,
  options: { preview?: boolean } = {},
): Promise<NestExpressApplication> {
  const application = createExpress();
  const app = await NestFactory.create<NestExpressApplication>(
    AppModule,
    new FrontAdapter(front, application),
    {
      bodyParser: false,
      abortOnError: false,
      preview: options.preview ?? false,
      logger: options.preview ? false : createLogger(loggingConfig()),
    },
  );
  app.setGlobalPrefix(API_PREFIX, { exclude: ['health', 'health/*path'] });
  serveDocumentation(app);
  return app;
}

/** Boots everything behind a front that already listens. */
export async function startService(front: HttpFront): Promise<RunningService> {
  const app = await createApplication(front);
  await app.init();
  const application = app.getHttpAdapter().getInstance();
  const lifecycle = app.get(Lifecycle);
  lifecycle.phase = 'ready';
  front.attach(application, app.get(HotRoutes));
  const stop = async (timeoutMs: number) => {
    lifecycle.phase = 'draining';
    const cut = await front.drain(timeoutMs);
    if (cut > 0)
      new Logger('Shutdown').warn(`${cut} requests were still running and have been cut.`);
    await app.close();
  };
  return { app, front, stop };
}
