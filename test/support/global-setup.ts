import { rmSync } from 'node:fs';
import { chmod, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EmbeddedPostgresServer } from '../../src/platform/database/embedded/embedded-postgres';
import { runMigrations } from '../../src/platform/database/migrate';
import { createTemplate, dropDatabasesOfRun, newRunPrefix } from './test-database';

/** Undoes what the setup did; called by global-teardown.ts, which runs in the same process. */
declare global {
  var tearDownTestServer: (() => Promise<void>) | undefined;
}

/** Tests may lose their data in a power cut. */
const FAST_SETTINGS = {
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  max_connections: '200',
};

/**
 * One PostgreSQL for the whole run, with a migrated template database that every spec file copies. It is the server
 * of TEST_DATABASE_URL, where the run leaves nothing behind, or an embedded one in a temporary folder.
 */
export default async function setUp(): Promise<void> {
  const server = await openServer();
  const prefix = newRunPrefix();
  globalThis.tearDownTestServer = async () => {
    await dropDatabasesOfRun(server.url, prefix);
    await server.stop();
  };
  try {
    await createTemplate(server.url, prefix, runMigrations);
  } catch (error) {
    await globalThis.tearDownTestServer(); // Jest runs no teardown after a failed setup
    throw error;
  }
  process.env['TEST_SERVER_URL'] = server.url;
  process.env['TEST_DATABASE_PREFIX'] = prefix;
}

async function openServer(): Promise<{ url: string; stop: () => Promise<void> }> {
  const given = process.env['TEST_DATABASE_URL'];
  if (given) return { url: given, stop: () => Promise.resolve() };
  const dataDir = await mkdtemp(join(tmpdir(), 'audit-server-test-'));
  await chmod(dataDir, 0o755); // as root, PostgreSQL runs as somebody else, who has to get in
  const removeData = (): void => rmSync(dataDir, { recursive: true, force: true, maxRetries: 10 });
  const log = (): void => undefined;
  const server = await EmbeddedPostgresServer.start({
    dataDir,
    log,
    settings: FAST_SETTINGS,
  }).catch((error: unknown) => {
    removeData();
    throw error;
  });
  // Ctrl-C ends Jest without teardown; "exit" listeners then stop the server.
  const interrupted = (): void => process.exit(130);
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted).once('exit', removeData);
  return {
    url: server.url,
    stop: async () => {
      await server.stop();
      process.off('SIGINT', interrupted).off('SIGTERM', interrupted).off('exit', removeData);
      removeData();
    },
  };
}
