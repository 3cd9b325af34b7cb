import type { QueryRunner } from 'typeorm';

/** Privileges on tables and functions that the service needs to serve requests; deploy/postgresql/roles.sql grants them. */
export const SERVER_PRIVILEGES = {
  tables: {
    audit_event: ['SELECT', 'INSERT'],
    audit_organization: ['SELECT', 'INSERT', 'UPDATE'],
    audit_client_event_id: ['SELECT', 'INSERT', 'UPDATE'],
    idempotency_record: ['SELECT', 'INSERT'],
    idempotency_key: ['SELECT', 'INSERT'], // the view of earlier versions
    access_ticket: ['SELECT', 'INSERT', 'DELETE'],
    audit_schema: ['SELECT', 'INSERT', 'UPDATE'],
    audit_schema_setting: ['SELECT', 'INSERT', 'UPDATE'],
    service_secret: ['SELECT'],
    migrations: ['SELECT'],
  },
  functions: [
    'audit_event_make_partition(timestamptz, integer)',
    'audit_event_finish_detaching(oid)',
    // Of indexes that writes keep.
    'audit_event_target_hashes(text, json)',
    'audit_event_by_index(uuid, text)',
    // Of filters.
    'audit_fold(text)',
    'audit_normal_number(text)',
    'audit_address(text)',
    'audit_json_has_text(json, text)',
    'audit_json_has_path(json, text[])',
    'audit_json_has_value(json, text[], text[], text[], text[], text[])',
  ],
} as const;

/** Roles to which the owner's default privileges give INSERT on new tables: those of servers, whatever their names. */
const SERVERS = `SELECT DISTINCT a.grantee::regrole::text AS role
  FROM pg_default_acl d CROSS JOIN LATERAL aclexplode(d.defaclacl) a
  WHERE pg_get_userbyid(d.defaclrole) = current_user AND d.defaclnamespace = quote_ident(current_schema())::regnamespace
    AND d.defaclobjtype = 'r' AND a.privilege_type = 'INSERT' AND a.grantee NOT IN (0, d.defaclrole)`;

/**
 * Grants SERVER_PRIVILEGES to the servers' roles, so that deploy/postgresql/roles.sql is run once. A migration that adds
 * a table or a function calls this at its end; tables that do not exist yet are skipped.
 */
export async function grantToServers(runner: QueryRunner): Promise<void> {
  const servers = (await runner.query(SERVERS)) as { role: string }[];
  for (const { role } of servers) {
    for (const [table, privileges] of Object.entries(SERVER_PRIVILEGES.tables)) {
      if (!(await exists(runner, `to_regclass('${table}')`))) continue;
      await runner.query(`GRANT ${privileges.join(', ')} ON ${table} TO ${role}`);
    }
    for (const name of SERVER_PRIVILEGES.functions) {
      if (!(await exists(runner, `to_regprocedure('${name}')`))) continue;
      await runner.query(`GRANT EXECUTE ON FUNCTION ${name} TO ${role}`);
    }
  }
}

async function exists(runner: QueryRunner, object: string): Promise<boolean> {
  const rows = (await runner.query(`SELECT ${object} IS NOT NULL AS found`)) as {
    found: boolean;
  }[];
  return rows[0]?.found === true;
}
