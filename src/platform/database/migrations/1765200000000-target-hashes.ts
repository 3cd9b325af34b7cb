import type { MigrationInterface, QueryRunner } from 'typeorm';
import { grantToServers } from './server-privileges';

const FUNCTIONS = ['audit_event_target_hashes(text, json)', 'audit_event_by_index(uuid, text)'];

/**
 * Functions of the sealed indexes (docs/adr/0059). The hashes of an event's targets leave out a target that `->>` would
 * fail for, as an index must not refuse a row; the service stores none. `audit_event_by_index` is true for every event: a
 * condition of the indexes and of the statements that are to use them, whose declared cost keeps the planner from every
 * other way, and which forbids parallel workers, whose start takes longer than such a read. Where the index is used it is
 * never called.
 */
export class TargetHashes1765200000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(String.raw`
      CREATE FUNCTION audit_event_target_hashes(organization_id text, targets json) RETURNS bigint[]
      LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 1000 SET search_path = pg_catalog, pg_temp AS $body$
      BEGIN
        IF json_typeof(targets) <> 'array' THEN RETURN NULL; END IF;
        RETURN (
          SELECT array_agg(DISTINCT hashtextextended((organization_id || E'\x01' || (t ->> 'id')) COLLATE "C", 0))
          FROM json_array_elements(targets) t
          WHERE json_typeof(t) = 'object'
            AND CASE WHEN t::text ~ '\\u(0000|[dD][89a-fA-F])' THEN false ELSE t ->> 'id' IS NOT NULL END);
      END
      $body$`);
    await runner.query(`
      CREATE FUNCTION audit_event_by_index(id uuid, index text) RETURNS boolean
      LANGUAGE plpgsql IMMUTABLE PARALLEL UNSAFE COST 1000000 AS $body$ BEGIN RETURN true; END $body$`);
    // A superuser may migrate: the functions belong to the owner of the events.
    const rows = (await runner.query(
      `SELECT relowner::regrole::text AS owner FROM pg_class WHERE oid = 'audit_event'::regclass`,
    )) as { owner: string }[];
    for (const name of FUNCTIONS) {
      await runner.query(`ALTER FUNCTION ${name} OWNER TO ${rows[0]?.owner}`);
    }
    await grantToServers(runner);
  }

  async down(runner: QueryRunner): Promise<void> {
    // With the indexes that use it.
    for (const name of FUNCTIONS) await runner.query(`DROP FUNCTION ${name} CASCADE`);
  }
}
