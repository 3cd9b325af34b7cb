import type { ClientBase } from 'pg';
import { SERVER_PRIVILEGES } from './migrations/server-privileges';

/**
 * Checks the privileges of a connection's role.
 * @throws Error with the missing privileges and the script that grants them.
 */
export async function assertPrivileges(client: ClientBase): Promise<void> {
  const wanted = Object.entries(SERVER_PRIVILEGES.tables).flatMap(([table, privileges]) =>
    privileges.map((privilege) => ({ table, privilege })),
  );
  const { rows } = await client.query<{ role: string; missing: string }>(
    `SELECT current_user::text AS role, t.privilege || ' on ' || t.name AS missing
     FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS t (name, privilege, n)
     WHERE NOT coalesce(has_table_privilege(to_regclass(t.name)::oid, t.privilege), false)
     UNION ALL
     SELECT current_user::text, 'EXECUTE on ' || f FROM unnest($3::text[]) AS f
     WHERE NOT coalesce(has_function_privilege(to_regprocedure(f)::oid, 'EXECUTE'), false)`,
    [
      wanted.map(({ table }) => table),
      wanted.map(({ privilege }) => privilege),
      SERVER_PRIVILEGES.functions,
    ],
  );
  const [first] = rows;
  if (!first) return;
  throw new Error(
    `The role ${first.role} lacks privileges (${rows.map(({ missing }) => missing).join('; ')}): ` +
      'run deploy/postgresql/roles.sql with the names of your roles (docs/operations.md, "Three roles")',
  );
}

/** Relation of a role to the owner of a table. */
export interface Ownership {
  role: string;
  owner: string;
  isOwner: boolean;
  /** True when the role owns the table, is a member of its owner, or a superuser: it may detach, drop and vacuum. */
  mayMaintain: boolean;
}

export async function ownershipOf(client: ClientBase, table: string): Promise<Ownership> {
  const { rows } = await client.query<Ownership>(
    `SELECT current_user::text AS role, relowner::regrole::text AS owner,
            pg_get_userbyid(relowner) = current_user AS "isOwner", pg_has_role(relowner, 'USAGE') AS "mayMaintain"
     FROM pg_class WHERE oid = $1::regclass`,
    [table],
  );
  const [found] = rows;
  if (!found) throw new Error(`There is no table ${table}`);
  return found;
}
