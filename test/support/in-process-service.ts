import type { AddressInfo } from 'node:net';
import { type RunningService, startService } from '../../src/app.setup';
import { HttpServer } from '../../src/http/http-server';
import { loggingConfig } from '../../src/platform/config/logging.config';
import { createLog } from '../../src/platform/logging/service-logger';
import { createTestDatabase, type TestDatabase } from './test-database';
import { ServiceClient, TEST_AUTH } from './test-service';

const STOP_TIMEOUT_MS = 5000;

/**
 * The application in the process of the specs, for what no protocol shows: providers, sockets of the server, methods
 * that a spec watches or makes fail. Anything else is asked of a `TestService`.
 */
export class InProcessService extends ServiceClient {
  private constructor(
    url: string,
    private readonly service: RunningService,
    private readonly database: TestDatabase,
  ) {
    super(url, database.url);
  }

  /** Boots it. `viaUrl` may put something between the service and its database. */
  static async start(
    environment: Record<string, string> = {},
    viaUrl: (url: string) => Promise<string> = (url) => Promise.resolve(url),
  ): Promise<InProcessService> {
    const database = await createTestDatabase();
    Object.assign(
      process.env,
      { NODE_ENV: 'test', ...TEST_AUTH, DATABASE_URL: await viaUrl(database.url) },
      environment,
    );
    const httpServer = new HttpServer();
    try {
      const { port }: AddressInfo = await httpServer.listen(0, '127.0.0.1');
      // Through process.stdout, where specs can look at it.
      const service = await startService(httpServer, createLog(loggingConfig(), process.stdout));
      return new InProcessService(`http://127.0.0.1:${port}`, service, database);
    } catch (error) {
      await httpServer.drain(0);
      await database.drop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    await this.service.stop(STOP_TIMEOUT_MS);
    await this.database.drop();
  }

  /** The HTTP server of the service. */
  get httpServer(): HttpServer {
    return this.service.server;
  }

  /** A provider of the running application. */
  provider<T>(type: new (...parameters: never[]) => T): T {
    return this.service.app.get(type, { strict: false });
  }
}
