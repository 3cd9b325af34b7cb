import type { QueryRunner } from 'typeorm';

/** Outlasts our transactions, idle for at most five seconds, and bulk writes, a few more. */
const ATTEMPTS = 60;
const LOCK_NOT_AVAILABLE = '55P03';

/**
 * Runs a statement with a brief exclusive lock. Writers queue behind it, so it waits for at most a second, lets them
 * pass and tries again.
 */
export async function withShortLock(runner: QueryRunner, statement: string): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    await runner.query('SAVEPOINT before_lock');
    try {
      await runner.query(`SET LOCAL lock_timeout = '1s'`);
      await runner.query(statement);
      return;
    } catch (error) {
      await runner.query('ROLLBACK TO SAVEPOINT before_lock');
      const { code } = error as { code?: unknown };
      if (code !== LOCK_NOT_AVAILABLE || attempt === ATTEMPTS) throw error;
      await runner.query('SELECT pg_sleep(0.5)');
    }
  }
}
