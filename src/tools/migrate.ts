import { ConfigError } from '../config/config.error';
import { databaseConfig } from '../config/database.config';
import { openServer, waitForServer } from '../database/data-source';
import { runMigrations } from '../database/migrate';

/**
 * Brings the database to the newest schema and ends: `npm run migrate`, or a job before a release is rolled out. It does
 * what every start of the service does, under the same lock, so that both may run at once. It waits for a database that
 * does not answer yet. Exit code 1, with the reason on stderr, when the settings are wrong or a migration fails.
 */
async function main(): Promise<void> {
  const { url, server } = await openServer(databaseConfig());
  try {
    await waitForServer(url);
    await runMigrations(url);
    console.log('The schema is the newest one.');
  } finally {
    await server?.stop();
  }
}

main().catch((error: unknown) => {
  const isOurs = error instanceof ConfigError;
  console.error(isOurs ? error.message : `The migration failed: ${String(error)}`);
  process.exit(1);
});
