import type { QueryRunner } from 'typeorm';
import { withShortLock } from './short-lock';

const IS_TABLE = `SELECT FROM pg_class WHERE oid = to_regclass('idempotency_key') AND relkind = 'r'`;

/**
 * Moves idempotency keys to the table `idempotency_record`, which has the scope of each, and leaves a view with the
 * columns of earlier versions under the former name: replicas of these select all columns with a prepared statement,
 * which PostgreSQL refuses on each of their connections once a column is added. They read and write the same rows
 * through the view. To be called in a transaction; does nothing when it is done.
 */
export async function moveIdempotencyKeys(runner: QueryRunner): Promise<void> {
  if (((await runner.query(IS_TABLE)) as unknown[]).length === 0) return;
  await withShortLock(
    runner,
    `ALTER TABLE idempotency_key RENAME TO idempotency_record;
     ALTER TABLE idempotency_record ADD COLUMN IF NOT EXISTS scope bytea NOT NULL DEFAULT '';
     CREATE VIEW idempotency_key AS
       SELECT subject, key, request_hash, status, location, body, created_at FROM idempotency_record`,
  );
  // A superuser may migrate: the view acts as the owner of the table, for the roles that use the table.
  await runner.query(`DO $$
    DECLARE
      owner regrole := (SELECT relowner FROM pg_class WHERE oid = 'idempotency_record'::regclass);
      granted record;
    BEGIN
      EXECUTE format('ALTER VIEW idempotency_key OWNER TO %s', owner);
      FOR granted IN
        SELECT a.grantee::regrole AS role, a.privilege_type AS privilege
        FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
        WHERE c.oid = 'idempotency_record'::regclass AND a.grantee NOT IN (0, c.relowner)
          AND a.privilege_type IN ('SELECT', 'INSERT')
      LOOP
        EXECUTE format('GRANT %s ON idempotency_key TO %s', granted.privilege, granted.role);
      END LOOP;
    END $$`);
}

/** Gives the table its former name again. To be called in a transaction. */
export async function moveIdempotencyKeysBack(runner: QueryRunner): Promise<void> {
  await runner.query('DROP VIEW idempotency_key');
  await runner.query('ALTER TABLE idempotency_record RENAME TO idempotency_key');
}
