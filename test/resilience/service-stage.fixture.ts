import { Client } from 'pg';
import {
  type Build,
  buildService,
  type ServiceProcess,
  startServiceProcess,
} from '../integration/service.fixture';
import { createTestDatabase, type TestDatabase } from '../support/test-database';

/** A build of the service, a database of its own and a connection to it, and the processes that are started on them. */
export class ServiceStage {
  private readonly running: ServiceProcess[] = [];

  private constructor(
    private readonly test: TestDatabase,
    private readonly build: Build,
    readonly admin: Client,
  ) {}

  static async open(): Promise<ServiceStage> {
    const test = await createTestDatabase();
    const admin = new Client({ connectionString: test.url });
    try {
      await admin.connect();
      return new ServiceStage(test, await buildService(), admin);
    } catch (error) {
      await admin.end();
      await test.drop();
      throw error;
    }
  }

  /** Starts one more process; `close` ends it. */
  async start(
    env: Record<string, string> = {},
    nodeOptions: string[] = [],
  ): Promise<ServiceProcess> {
    const service = await startServiceProcess(this.build, this.test.url, env, nodeOptions);
    this.running.push(service);
    return service;
  }

  /** Ends all processes at once and leaves nothing behind. */
  async close(): Promise<void> {
    await Promise.all(this.running.map((service) => service.end('SIGKILL')));
    await this.build.remove();
    await this.admin.end();
    await this.test.drop();
  }
}
