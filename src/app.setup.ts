import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import compression from 'compression';
import express, { type Express } from 'express';
import helmet from 'helmet';
import { AppModule } from './app.module';
import { developmentTokenRoute } from './auth/development-token';
import {
  authConfig,
  buildConfig,
  loggingConfig,
  monitoringConfig,
  serverConfig,
} from './platform/config/settings';
import { watchCompressor } from './http/connection-state';
import { HttpServerAdapter } from './http/http-server.adapter';
import { API_PREFIX, FastRoutes } from './http/fast-routes';
import { CrossOriginSharing } from './http/cross-origin';
import { HttpServer } from './http/http-server';
import { Lifecycle } from './platform/runtime/lifecycle';
import { rootPage } from './http/root-page';
import { StaticAssets } from './http/static-assets';
import { requireAcceptable } from './http/negotiation';
import { parseQuery } from './validation/query-coercion';
import { RequestObserver } from './http/request-observer';
import { LOGS_PATH } from './audit/api/otlp-logs.controller';
import { serveGraphiql } from './api/graphql/graphiql';
import { TrustedProxies } from './http/trusted-proxies';
import { GraphqlSocket } from './api/graphql/graphql-socket';
import { MetricRegistry } from './metrics/metrics.registry';
import { RequestRecorder } from './metrics/request-recorder';
import { serveConsole } from './console';
import { serveDocumentation } from './documentation';
import { stopService } from './shutdown';
import { createLog, type ServiceLog } from './platform/logging/service-logger';

/** Below this compression costs more than it saves. */
const COMPRESSION_THRESHOLD_BYTES = 1400;

/** Media types beside JSON, by the end of the path. */
const OTHER_TYPES = {
  '/audit/events/stream': [
    'application/x-ndjson',
    'text/csv',
    'application/cloudevents-batch+json',
    'text/plain',
  ],
  '/audit/events/bulk': ['application/x-ndjson'],
  '/audit/events/ingest': ['application/x-ndjson'],
  '/audit/events/tail': ['text/event-stream'],
};

/** Nest application, and the server that owns its socket. */
export interface RunningService {
  app: NestExpressApplication;
  server: HttpServer;
  /** Stops the service in the order of shutdown.ts; requests have `timeoutMs` to finish. */
  stop: (timeoutMs: number) => Promise<void>;
}

/** Express for HttpServer. */
function createExpress(): Express {
  const application = express();
  application.disable('x-powered-by');
  application.disable('etag');
  application.set('query parser', parseQuery);
  application.use(
    '/docs',
    helmet({
      contentSecurityPolicy: { directives: { 'upgrade-insecure-requests': null } },
      strictTransportSecurity: false, // of every response: request-context.ts
    }),
  );
  // Responses to writes are small, or for programs that do not want them slower. Those with an ETag have their coding.
  const compress = compression({
    threshold: COMPRESSION_THRESHOLD_BYTES,
    filter: (request, response) =>
      !response.hasHeader('ETag') && compression.filter(request, response),
  });
  application.use((request, response, next) => {
    if (request.method !== 'GET' && request.method !== 'HEAD') return next();
    watchCompressor(response);
    compress(request, response, next);
  });
  application.use('/api', requireAcceptable(OTHER_TYPES));
  return application;
}

/** Nest on top of `server`, not initialised: shared by service, tests and OpenAPI generator. */
export async function createApplication(
  server: HttpServer,
  options: { preview?: boolean; log?: ServiceLog } = {},
): Promise<NestExpressApplication> {
  const application = createExpress();
  const { profile, docsEnabled, consoleEnabled, metricsPort } = serverConfig();
  const links = {
    ...(docsEnabled ? { docs: '/docs', openapi: '/docs-json' } : {}),
    health: '/health',
    ...(metricsPort === undefined ? { metrics: '/metrics' } : {}),
  };
  const assets = new StaticAssets(application);
  const sendPage = consoleEnabled ? serveConsole(application, assets, links) : undefined;
  application.all(
    '/',
    rootPage({
      name: 'audit-server',
      version: buildConfig().version,
      links: { ...(sendPage ? { console: '/console' } : {}), ...links },
      sendPage,
    }),
  );
  const isDevelopment = !options.preview && profile === 'development';
  if (isDevelopment && (docsEnabled || sendPage)) {
    application.get('/development-token', developmentTokenRoute(authConfig()));
  }
  if (isDevelopment && docsEnabled) serveGraphiql(application, assets);
  const app = await NestFactory.create<NestExpressApplication>(
    AppModule,
    new HttpServerAdapter(server, application),
    {
      bodyParser: false,
      abortOnError: false,
      preview: options.preview ?? false,
      logger: options.log?.nest ?? false,
    },
  );
  app.setGlobalPrefix(API_PREFIX, {
    exclude: ['health', 'health/*path', 'metrics', 'graphql', LOGS_PATH],
  });
  if (docsEnabled) serveDocumentation(app, assets, isDevelopment);
  return app;
}

function observerOf(
  app: NestExpressApplication,
  server: HttpServer,
  log: ServiceLog,
  proxies: TrustedProxies,
): RequestObserver {
  const { enabled, slowRequestThresholdMs } = monitoringConfig();
  server.slowRequestMs = slowRequestThresholdMs;
  const recorder = app.get(RequestRecorder);
  recorder.watchRunning(() => server.runningRequests);
  server.slowClients.registerWith(app.get(MetricRegistry));
  return new RequestObserver(
    log.pino,
    slowRequestThresholdMs,
    proxies,
    enabled ? recorder : undefined,
  );
}

/** Boots behind a server that already listens. */
export async function startService(
  server: HttpServer,
  log = createLog(loggingConfig()),
): Promise<RunningService> {
  const { corsOrigins, trustedProxies, hsts } = serverConfig();
  const proxies = new TrustedProxies(trustedProxies);
  if (trustedProxies.length > 0 || hsts === 'always') {
    server.forwarding = (request) => proxies.forwardingOf(request, hsts);
  }
  if (corsOrigins.length > 0) server.crossOrigin = new CrossOriginSharing(corsOrigins);
  const app = await createApplication(server, { log });
  await app.init();
  const application = app.getHttpAdapter().getInstance();
  app.get(Lifecycle).phase = 'ready';
  const registry = app.get(MetricRegistry);
  registry.counter(
    'audit_log_lines_lost_total',
    'Lines of the log that were dropped, as standard output took no more.',
    log.lostLines,
  );
  const build = buildConfig();
  registry.gauge(
    'audit_build_info',
    'Always 1: version and commit of the service, and version of Node.js.',
    () => [{ labels: { ...build }, value: 1 }],
  );
  const observer = observerOf(app, server, log, proxies);
  server.attach(application, app.get(FastRoutes), (request, response) =>
    observer.requestEnded(request, response),
  );
  app
    .get(GraphqlSocket, { strict: false })
    .listenOn(server.server, (operation) => observer.operationEnded(operation));
  return { app, server, stop: (timeoutMs) => stopService(app, server, timeoutMs) };
}
