import './v8-flags'; // before anything is optimized
import { tracing } from './tracing/tracing'; // first: what is loaded before it cannot be traced
import { Logger } from '@nestjs/common';
import type { AddressInfo } from 'node:net';
import { startService, type RunningService } from './app.setup';
import { signDevelopmentToken } from './auth/development-token';
import { authConfig, loggingConfig, serverConfig } from './platform/config/settings';
import { assertConfiguration } from './platform/config/config.module';
import { HttpServer } from './http/http-server';
import { MetricsListener } from './metrics/prometheus.controller';
import { surviveClosedOutputs } from './platform/logging/log-output';
import { urlOfListener } from './platform/runtime/ip-address';
import { endProcess } from './platform/runtime/process-end';
import { stopOnSignals } from './shutdown';
import { createLog, type ServiceLog } from './platform/logging/service-logger';

const logger = new Logger('Main');
/** Time to close connections once no request runs. */
const SHUTDOWN_GRACE_MS = 4000;
/** Status of a program that Ctrl-C has ended. */
const INTERRUPTED = 130;

async function main(): Promise<void> {
  surviveClosedOutputs();
  process.on('uncaughtException', (error: unknown, origin) => {
    logger.fatal(`${origin}: ${error instanceof Error ? error.stack : String(error)}`);
    exit(1);
  });
  assertConfiguration();
  const config = serverConfig();
  const log = createLog(loggingConfig());
  Logger.overrideLogger(log.nest);
  const server = new HttpServer();
  const running: { service?: RunningService } = {};
  const stop = async (signal: string): Promise<void> => {
    if (!running.service) {
      logger.log(`${signal}: the start is given up.`);
      return endProcess(0); // nothing was acknowledged yet
    }
    logger.log(`${signal}: finishing what runs, for at most ${config.shutdownTimeoutMs} ms.`);
    const overdue = setTimeout(() => {
      logger.fatal('The shutdown takes too long: giving up on what still runs.');
      exit(1);
    }, config.shutdownTimeoutMs + SHUTDOWN_GRACE_MS);
    await running.service.stop(config.shutdownTimeoutMs);
    await tracing?.stop();
    clearTimeout(overdue);
    logger.log('Stopped.');
    return endProcess(0);
  };
  stopOnSignals(
    (signal) => void stop(signal).catch(fail),
    () => {
      logger.warn('SIGINT again: what still runs is given up.');
      exit(INTERRUPTED);
    },
  );

  const address = await server.listen(config.port, config.host);
  running.service = await startService(server, log);
  await announce(log, address, running.service.app.get(MetricsListener).url);
}

/** Prints the addresses, with a command that works when pasted. */
async function announce(
  log: ServiceLog,
  address: AddressInfo,
  metricsElsewhere?: string,
): Promise<void> {
  const url = urlOfListener(address);
  const config = authConfig();
  const { profile, docsEnabled, consoleEnabled } = serverConfig();
  const metricsUrl = metricsElsewhere ?? `${url}/metrics`;
  logger.log(
    `Listening on ${url}; ${docsEnabled ? `API docs at ${url}/docs, ` : ''}probes at ${url}/health, metrics at ${metricsUrl}`,
  );
  if (profile !== 'development' || config.keys.kind !== 'secret') return;
  const token = await signDevelopmentToken(config);
  log.print(
    [
      '',
      `  Audit server     ${url}${consoleEnabled ? ', with the console' : ''}`,
      ...(docsEnabled ? [`  API docs         ${url}/docs`] : []),
      `  GraphQL          ${url}/graphql`,
      `  Health           ${url}/health`,
      `  Metrics          ${metricsUrl}`,
      '',
      '  Try it (the token is for development and lasts 12 hours):',
      '',
      `  curl -s ${url}/api/v1/audit/events \\`,
      `    -H 'Authorization: Bearer ${token}' \\`,
      `    -H 'Content-Type: application/json' \\`,
      `    -d '{"organizationId":"org-1","action":"hello.world","status":"success"}'`,
      '',
      '',
    ].join('\n'),
  );
}

function fail(error: unknown): void {
  const { code, port } = (error ?? {}) as { code?: string; port?: number };
  if (code === 'EADDRINUSE') {
    const variable = port === serverConfig().metricsPort ? 'METRICS_PORT' : 'PORT';
    logger.fatal(`Port ${port} is in use: set ${variable} to another one.`);
  } else {
    logger.fatal(error instanceof Error ? error.message : String(error));
    if (error instanceof Error) logger.debug(error.stack);
  }
  exit(1);
}

function exit(status: number): void {
  endProcess(status).catch(() => process.exit(status));
}

main().catch(fail);
