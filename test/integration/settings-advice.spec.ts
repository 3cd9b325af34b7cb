import type { Client } from 'pg';
import { adviseSettings } from '../../src/maintenance/settings-advice';
import { makeMonthly } from './monthly-partitions.fixture';
import { useTwoReplicas } from './two-replicas.fixture';

describe('the advice on settings', () => {
  const replicas = useTwoReplicas();
  let admin: Client;
  beforeAll(() => {
    ({ admin } = replicas);
  });

  it('counts the locks that readers of all partitions take together', async () => {
    await makeMonthly(admin, ['2001-01', '2001-02', '2001-03']);
    const { rows } = await admin.query<{ locks: number }>(
      `SELECT current_setting('max_locks_per_transaction')::int * current_setting('max_connections')::int AS locks`,
    );
    const enough = Math.floor((rows[0]?.locks ?? 0) / (4 * 3));
    const adviceFor = async (poolMax: number) =>
      (await adviseSettings(admin, poolMax)).find(
        ({ setting }) => setting === 'max_locks_per_transaction',
      );
    expect(await adviceFor(enough)).toBeUndefined();
    const advice = await adviceFor(enough + 1);
    expect(Number(advice?.recommendedValue)).toBeGreaterThan(Number(advice?.currentValue));
  });
});
