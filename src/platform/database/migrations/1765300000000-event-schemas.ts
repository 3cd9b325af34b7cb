import type { MigrationInterface, QueryRunner } from 'typeorm';
import { grantToServers } from './server-privileges';

/** Adds schemas of actions, and how each organization uses them (docs/adr/0056-schemas-of-actions.md). */
export class EventSchemas1765300000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      -- json rather than jsonb: numbers keep their text. Rows are never deleted, so that no version gets another schema.
      CREATE TABLE audit_schema (
        organization_id text COLLATE "C" NOT NULL,
        action          text COLLATE "C" NOT NULL,
        version         text COLLATE "C" NOT NULL,
        ordinal         bigint GENERATED ALWAYS AS IDENTITY,
        schema          json NOT NULL,
        compatibility   text COLLATE "C" NOT NULL CHECK (compatibility IN ('backward', 'none')),
        registered_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
        registered_by   text COLLATE "C" NOT NULL,
        withdrawn_at    timestamptz,
        withdrawn_by    text COLLATE "C",
        PRIMARY KEY (organization_id, action, version)
      )`);
    await runner.query(`
      -- The lock of changes of an organization. The sum of all revisions tells replicas of any change.
      CREATE TABLE audit_schema_setting (
        organization_id text COLLATE "C" PRIMARY KEY,
        mode            text COLLATE "C" NOT NULL DEFAULT 'off' CHECK (mode IN ('off', 'warn', 'enforce')),
        revision        bigint NOT NULL DEFAULT 0,
        changed_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
        changed_by      text COLLATE "C"
      )`);
    // A superuser may migrate: maintenance acts as the owner of the events.
    const rows = (await runner.query(
      `SELECT relowner::regrole::text AS owner FROM pg_class WHERE oid = 'audit_event'::regclass`,
    )) as { owner: string }[];
    for (const table of ['audit_schema', 'audit_schema_setting']) {
      await runner.query(`ALTER TABLE ${table} OWNER TO ${rows[0]?.owner}`);
    }
    await grantToServers(runner);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP TABLE audit_schema, audit_schema_setting`);
  }
}
