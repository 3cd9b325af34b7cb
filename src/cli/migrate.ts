import { Logger } from '@nestjs/common';
import { ConfigError } from '../platform/config/load-environment';
import { databaseConfig, loggingConfig } from '../platform/config/settings';
import { openServer, waitForServer } from '../platform/database/data-source';
import { runMigrations } from '../platform/database/migrate';
import { surviveClosedOutputs } from '../platform/logging/log-output';
import { createLog } from '../platform/logging/service-logger';

/**
 * Brings the database to the newest schema: every start of the service does the same under the same lock. Waits for a
 * database that does not respond yet. Exit code 1 for wrong settings or a failed migration, 2 for arguments.
 */
async function main(): Promise<void> {
  Logger.overrideLogger(createLog(loggingConfig()).nest);
  const { url, server } = await openServer(databaseConfig());
  try {
    await waitForServer(url);
    const applied = await runMigrations(url);
    const what = applied.length > 0 ? `Applied ${applied.join(', ')}` : 'There was nothing to do';
    new Logger('Migrate').log(`${what}: the schema is the newest one.`);
  } finally {
    await server?.stop();
  }
}

const USAGE = `Usage: npm run migrate

Brings the database of DATABASE_URL (the embedded one without it) to the newest schema, and ends. Takes no arguments.
`;

surviveClosedOutputs();
const [argument, ...others] = process.argv.slice(2);
if (others.length === 0 && (argument === '--help' || argument === '-h')) {
  process.stdout.write(USAGE);
  process.exit(0);
}
if (argument !== undefined) {
  process.stderr.write(USAGE);
  process.exit(2);
}

main().catch((error: unknown) => {
  const reason = error instanceof Error ? error.message : String(error);
  console.error(error instanceof ConfigError ? reason : `The migration failed: ${reason}`);
  process.exit(1);
});
