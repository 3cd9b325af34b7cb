import type { MigrationInterface, QueryRunner } from 'typeorm';
import { grantToServers } from './server-privileges';

/**
 * The hashes of an event's targets, for the sealed index over them (docs/adr/0059). A target that `->>` would fail for is
 * left out, as an index must not refuse a row; the service stores none.
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
    // A superuser may migrate: the function belongs to the owner of the events.
    const rows = (await runner.query(
      `SELECT relowner::regrole::text AS owner FROM pg_class WHERE oid = 'audit_event'::regclass`,
    )) as { owner: string }[];
    await runner.query(
      `ALTER FUNCTION audit_event_target_hashes(text, json) OWNER TO ${rows[0]?.owner}`,
    );
    await grantToServers(runner);
  }

  async down(runner: QueryRunner): Promise<void> {
    // With the indexes that use it.
    await runner.query('DROP FUNCTION audit_event_target_hashes(text, json) CASCADE');
  }
}
