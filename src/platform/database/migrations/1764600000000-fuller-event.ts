import type { MigrationInterface, QueryRunner } from 'typeorm';
import { withShortLock } from './short-lock';

/**
 * Adds the optional members of an event that came later (docs/adr/0054). No row is written, and statements of older
 * replicas keep working.
 */
export class FullerEvent1764600000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await withShortLock(
      runner,
      `ALTER TABLE audit_event
         ADD COLUMN principal_type text COLLATE "C",
         ADD COLUMN principal_name text COLLATE "C",
         ADD COLUMN targets json,
         ADD COLUMN changes json,
         ADD COLUMN source json,
         ADD COLUMN schema_version text COLLATE "C"`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await withShortLock(
      runner,
      `ALTER TABLE audit_event
         DROP COLUMN principal_type, DROP COLUMN principal_name, DROP COLUMN targets,
         DROP COLUMN changes, DROP COLUMN source, DROP COLUMN schema_version`,
    );
  }
}
