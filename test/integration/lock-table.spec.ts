import { Logger } from '@nestjs/common';
import { HealthIndicatorService } from '@nestjs/terminus';
import type { Client } from 'pg';
import { Maintenance } from '../../src/maintenance/maintenance';
import { PartitionsHealthIndicator } from '../../src/maintenance/partitions.health';
import { databaseConfig } from '../../src/platform/config/settings';
import { makeMonthly } from './monthly-partitions.fixture';
import { openReplica, type Replica } from './replica.fixture';
import { useTwoReplicas } from './two-replicas.fixture';

const STATEMENT = /ALTER SYSTEM SET max_locks_per_transaction = \d+, and restart PostgreSQL/;

describe('the table of locks of PostgreSQL', () => {
  const replicas = useTwoReplicas();
  let admin: Client;
  /** Connections whose statements over two partitions need all locks. */
  let enough: number;
  let warn: jest.SpyInstance;
  let service: Replica | undefined;

  beforeAll(async () => {
    ({ admin } = replicas);
    await makeMonthly(admin, ['2001-01', '2001-02']);
    const { rows } = await admin.query<{ locks: number }>(
      `SELECT current_setting('max_locks_per_transaction')::int * current_setting('max_connections')::int AS locks`,
    );
    enough = Math.floor((rows[0]?.locks ?? 0) / (4 * 2));
  });
  beforeEach(() => {
    warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation(() => undefined);
  });
  afterEach(async () => {
    warn.mockRestore();
    await service?.close();
    service = undefined;
  });

  const warnings = () =>
    (warn.mock.calls as unknown[][])
      .map(([message]) => String(message))
      .filter((message) => message.includes('max_locks_per_transaction'));

  async function advice({ database, partitions, tables }: Replica): Promise<unknown> {
    tables.addPartitioned({ table: 'audit_event', ahead: 0, retentionDays: 0 });
    const maintenance = new Maintenance(database, tables, partitions, databaseConfig());
    const health = new HealthIndicatorService();
    const indicator = new PartitionsHealthIndicator(health, tables, partitions, maintenance);
    const { partitions: state } = (await indicator.check()) as Record<
      string,
      { tables?: Record<string, { advice?: string }> }
    >;
    return state?.tables?.['audit_event']?.advice;
  }

  it('is compared with the partitions that are there, at the start', async () => {
    service = await openReplica(replicas.test.url, { poolMax: enough });
    await service.partitions.ensure('audit_event', ['2001-01']);
    expect(warnings()).toEqual([]);
    expect(await advice(service)).toBeUndefined();
    await service.close();

    service = await openReplica(replicas.test.url, { poolMax: enough + 1 });
    await service.partitions.ensure('audit_event', ['2001-01']);
    expect(warnings()).toEqual([expect.stringMatching(STATEMENT)]);
    expect(await advice(service)).toMatch(STATEMENT);
    await service.partitions.refresh('audit_event');
    expect(warnings()).toHaveLength(1); // once
  });

  it('counts the connections of exports', async () => {
    service = await openReplica(replicas.test.url, { poolMax: enough });
    service.database.dedicatedPool('exports', { max: 1, timeoutMs: 1000, isForCopy: true });
    await service.partitions.refresh('audit_event');
    expect(warnings()).toEqual([expect.stringMatching(STATEMENT)]);
  });

  it('is compared with a new partition before that is made', async () => {
    service = await openReplica(replicas.test.url, { poolMax: enough });
    await service.partitions.ensure('audit_event', ['2001-02']);
    expect(warnings()).toEqual([]);
    await service.partitions.ensure('audit_event', ['2001-03']);
    expect(warnings()).toEqual([expect.stringMatching(/all of 3 partitions.*ALTER SYSTEM/)]);
  });
});
