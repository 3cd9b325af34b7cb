import { Logger } from '@nestjs/common';
import type { NestExpressApplication } from '@nestjs/platform-express';
import type { HttpServer } from './http/http-server';
import { Lifecycle } from './platform/runtime/lifecycle';

/**
 * Shutdown, in this order:
 * 1. `stopOnSignals`: the first SIGTERM or SIGINT.
 * 2. `Lifecycle` is draining: readiness fails, and live feeds end (`Lifecycle.onDraining`).
 * 3. `HttpServer.drain`: no connection is accepted, and running requests finish, or are cut after the timeout.
 * 4. `app.close()`: Nest's hooks. `onModuleDestroy` ends maintenance, `beforeApplicationShutdown` ends exports, the
 *    writer, feeds and dedicated pools, `onApplicationShutdown` closes the data source, replicas and Redis.
 * 5. main.ts: traces are flushed, and `endProcess` ends the process.
 */
export async function stopService(
  app: NestExpressApplication,
  server: HttpServer,
  timeoutMs: number,
): Promise<void> {
  app.get(Lifecycle).phase = 'draining';
  const disconnected = await server.drain(timeoutMs);
  if (disconnected > 0) {
    new Logger('Shutdown').warn(`${disconnected} requests were still running and have been cut.`);
  }
  await app.close();
}

/** npm forwards a Ctrl-C that the terminal has already delivered: a signal this soon is the same one. */
const SAME_SIGNAL_MS = 1000;

/** Calls `stop` at the first SIGTERM or SIGINT, and `interrupt` at a later SIGINT. */
export function stopOnSignals(stop: (signal: string) => void, interrupt: () => void): void {
  let signalledAtMs: number | undefined;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (signalledAtMs === undefined) {
      signalledAtMs = performance.now();
      stop(signal);
    } else if (signal === 'SIGINT' && performance.now() - signalledAtMs > SAME_SIGNAL_MS) {
      interrupt();
    }
  };
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
}
