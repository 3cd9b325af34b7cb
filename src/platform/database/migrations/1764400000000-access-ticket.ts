import { randomBytes } from 'node:crypto';
import type { MigrationInterface, QueryRunner } from 'typeorm';
import { grantToServers } from './server-privileges';

/**
 * Adds tickets (docs/adr/0047-tickets-for-browsers.md). UNLOGGED: the table is empty after a crash and on a promoted standby,
 * so that no ticket whose use was lost can be used again.
 */
export class AccessTicket1764400000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE UNLOGGED TABLE access_ticket (
        hash         bytea PRIMARY KEY,
        subject      text COLLATE "C" NOT NULL,
        scope        bytea NOT NULL,
        sealed_token bytea NOT NULL,
        expires_at   timestamptz NOT NULL
      )`);
    await runner.query(`CREATE INDEX ON access_ticket (subject, scope, expires_at)`);
    await runner.query(`CREATE INDEX ON access_ticket (expires_at)`);
    // A superuser may migrate: maintenance acts as the owner of the events.
    const rows = (await runner.query(
      `SELECT relowner::regrole::text AS owner FROM pg_class WHERE oid = 'audit_event'::regclass`,
    )) as { owner: string }[];
    await runner.query(`ALTER TABLE access_ticket OWNER TO ${rows[0]?.owner}`);
    await grantToServers(runner);
    // Authenticates tickets, for all replicas.
    await runner.query(`INSERT INTO service_secret VALUES ('ticket', $1)`, [randomBytes(32)]);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DELETE FROM service_secret WHERE name = 'ticket'`);
    await runner.query(`DROP TABLE access_ticket`);
  }
}
