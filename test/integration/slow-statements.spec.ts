import { mkdtemp, rm, chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { EmbeddedPostgresServer } from '../../src/platform/database/embedded/embedded-postgres';
import { findSlowStatements } from '../../src/maintenance/database-report';

describe('slow statements with pg_stat_statements', () => {
  let dataDir: string;
  let server: EmbeddedPostgresServer;
  let client: Client;

  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'audit-statements-'));
    await chmod(dataDir, 0o755); // as root, PostgreSQL runs as somebody else, who has to get in
    server = await EmbeddedPostgresServer.start({
      dataDir,
      log: () => undefined,
      settings: { fsync: 'off', shared_preload_libraries: 'pg_stat_statements' },
    });
    client = new Client({ connectionString: server.url });
    await client.connect();
    await client.query('CREATE SCHEMA extensions');
    await client.query('CREATE EXTENSION pg_stat_statements SCHEMA extensions');
  });

  afterAll(async () => {
    await client?.end();
    await server?.stop();
    await rm(dataDir, { recursive: true, force: true, maxRetries: 10 });
  });

  it('are named by their average, without their values', async () => {
    await client.query(`SELECT pg_sleep(0.3), 'secret'`);
    await client.query(`SELECT 1`);
    const { count, notes } = await findSlowStatements(client, 250);
    expect(count).toBe(1);
    expect(notes).toHaveLength(1);
    expect(notes[0]).toMatch(
      /^\d+ ms on average over 1 calls \(pg_stat_statements\): SELECT pg_sleep/,
    );
    expect(notes[0]).not.toContain('secret');
    expect(await findSlowStatements(client, 60_000)).toEqual({ count: 0, notes: [] });
  });

  it('are those that run right now for a role that may not read it', async () => {
    await client.query('CREATE ROLE plain');
    await client.query('SET ROLE plain');
    const { count, notes } = await findSlowStatements(client, 250);
    await client.query('RESET ROLE');
    expect(count).toBe(0);
    expect(notes.join()).toMatch(/pg_stat_statements cannot be read/);
  });
});
