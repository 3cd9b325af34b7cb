import type { MigrationInterface, QueryRunner } from 'typeorm';
import { withShortLock } from './short-lock';

/**
 * Adds the time of the last events: after a restore or a failover that lost commits a number may be given twice, the
 * pair of both not. The constant default is kept in the catalogue: no row is written, and statements of older replicas
 * keep working.
 */
export class HeadRecordedAt1764100000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await withShortLock(
      runner,
      `ALTER TABLE audit_organization ADD COLUMN recorded_at timestamptz NOT NULL DEFAULT '-infinity'`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await withShortLock(runner, `ALTER TABLE audit_organization DROP COLUMN recorded_at`);
  }
}
