import type { MigrationInterface, QueryRunner } from 'typeorm';
import { moveIdempotencyKeys, moveIdempotencyKeysBack } from './idempotency-record';
import { withShortLock } from './short-lock';

/**
 * Idempotency keys of equal subjects of different issuers and tenants. Rows without a scope are those of older replicas,
 * whose statements keep working. The index is built without a lock that writers wait for, so outside a transaction; an
 * interrupted one is built again.
 */
export class IdempotencyScope1764500000000 implements MigrationInterface {
  readonly transaction = false;

  async up(runner: QueryRunner): Promise<void> {
    await inTransaction(runner, () => moveIdempotencyKeys(runner));
    await runner.query('DROP INDEX CONCURRENTLY IF EXISTS idempotency_key_scope_pkey');
    await runner.query(
      'CREATE UNIQUE INDEX CONCURRENTLY idempotency_key_scope_pkey ON idempotency_record (subject, key, scope)',
    );
    await inTransaction(runner, () =>
      withShortLock(
        runner,
        `ALTER TABLE idempotency_record DROP CONSTRAINT idempotency_key_pkey,
           ADD CONSTRAINT idempotency_key_pkey PRIMARY KEY USING INDEX idempotency_key_scope_pkey`,
      ),
    );
  }

  /** Keeps one row of those that earlier versions cannot tell apart. */
  async down(runner: QueryRunner): Promise<void> {
    await runner.query(
      `DELETE FROM idempotency_record k USING idempotency_record o
       WHERE k.subject = o.subject AND k.key = o.key AND k.scope > o.scope`,
    );
    await inTransaction(runner, async () => {
      await moveIdempotencyKeysBack(runner);
      await runner.query('ALTER TABLE idempotency_key DROP CONSTRAINT idempotency_key_pkey');
      await runner.query('ALTER TABLE idempotency_key DROP COLUMN scope');
      await runner.query('ALTER TABLE idempotency_key ADD PRIMARY KEY (subject, key)');
    });
  }
}

async function inTransaction(runner: QueryRunner, work: () => Promise<void>): Promise<void> {
  await runner.startTransaction();
  try {
    await work();
    await runner.commitTransaction();
  } catch (error) {
    await runner.rollbackTransaction();
    throw error;
  }
}
