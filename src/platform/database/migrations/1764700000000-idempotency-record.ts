import type { MigrationInterface, QueryRunner } from 'typeorm';
import { moveIdempotencyKeys } from './idempotency-record';

/** For databases whose keys got their scope by builds before a release, which added the column to the former table. */
export class IdempotencyRecord1764700000000 implements MigrationInterface {
  up(runner: QueryRunner): Promise<void> {
    return moveIdempotencyKeys(runner);
  }

  /** The migration of the scope undoes it. */
  async down(): Promise<void> {}
}
