import './v8-flags'; // before anything is optimized
import { tracing } from './tracing'; // first: what is loaded before it cannot be traced
import { Logger } from '@nestjs/common';
import type { AddressInfo } from 'node:net';
import { startService, type RunningService } from './app.setup';
import { signDevelopmentToken } from './auth/development-token';
import { authConfig } from './config/auth.config';
import { assertConfiguration } from './config/environment';
import { loggingConfig } from './config/logging.config';
import { serverConfig } from './config/server.config';
import { HttpFront } from './front/http-front';
import { MetricsListener } from './metrics/metrics.listener';
import { createLog } from './service-logger';

const logger = new Logger('Main');
/** For closing the database and the like, once no request runs any more. */
const SHUTDOWN_GRACE_MS = 4000;

async function main(): Promise<void> {
  assertConfiguration();
  const config = serverConfig();
  const log = createLog(loggingConfig());
  Logger.overrideLogger(log.nest);
  const front = new HttpFront();
  const running: { service?: RunningService } = {};
  const stop = once(async (signal: string) => {
    if (!running.service) {
      logger.log(`${signal}: the start is given up.`);
      process.exit(0); // nothing was acknowledged yet
    }
    logger.log(`${signal}: finishing what runs, for at most ${config.shutdownTimeoutMs} ms.`);
    const overdue = setTimeout(() => {
      logger.fatal('The shutdown takes too long: giving up on what still runs.');
      process.exit(1);
    }, config.shutdownTimeoutMs + SHUTDOWN_GRACE_MS);
    await running.service.stop(config.shutdownTimeoutMs);
    await tracing?.stop();
    clearTimeout(overdue);
    logger.log('Stopped.');
    process.exit(0);
  });
  process.on('SIGTERM', () => stop('SIGTERM'));
  process.on('SIGINT', () => stop('SIGINT'));

  const address = await front.listen(config.port, config.host);
  running.service = await startService(front, log);
  await announce(address, running.service.app.get(MetricsListener).url);
}

/** Runs `work` at the first call only; a failure ends the process. */
function once(work: (reason: string) => Promise<void>): (reason: string) => void {
  let started = false;
  return (reason) => {
    if (started) return;
    started = true;
    work(reason).catch(fail);
  };
}

/** Tells a person where everything is, with a command that works when pasted. */
async function announce({ port }: AddressInfo, metricsElsewhere?: string): Promise<void> {
  const url = `http://localhost:${port}`;
  const config = authConfig();
  const { profile } = serverConfig();
  const metricsUrl = metricsElsewhere ?? `${url}/metrics`;
  logger.log(
    `Listening on ${url}; API docs at ${url}/docs, probes at ${url}/health, metrics at ${metricsUrl}`,
  );
  if (profile !== 'development' || config.keys.kind !== 'secret') return;
  const token = await signDevelopmentToken(config);
  process.stdout.write(
    [
      '',
      `  Audit server     ${url}`,
      `  API docs         ${url}/docs`,
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
  process.exit(1);
}

main().catch(fail);
