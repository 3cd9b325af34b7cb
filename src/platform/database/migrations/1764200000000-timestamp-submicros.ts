import type { MigrationInterface, QueryRunner } from 'typeorm';
import { withShortLock } from './short-lock';

/**
 * Adds the digits of an event's second after the microsecond, which timestamptz does not keep; without zeros at the end,
 * NULL for none. No row is written, and statements of older replicas keep working.
 */
export class TimestampSubmicros1764200000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await withShortLock(
      runner,
      `ALTER TABLE audit_event ADD COLUMN timestamp_submicros text COLLATE "C"`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await withShortLock(runner, `ALTER TABLE audit_event DROP COLUMN timestamp_submicros`);
  }
}
