import { Client, type PoolClient } from 'pg';
import { EVENT_TABLE } from '../../src/audit/event/audit-event';
import { SEARCH_INDEXES, type SearchKey } from '../../src/audit/search/search-indexes';
import { sealedStatement, type SealedRequest } from '../../src/audit/search/sealed-statement';
import type { Statement } from '../../src/audit/read/page-statement';
import { addMonths } from '../../src/platform/database/partitions';
import { createSeal } from '../../src/platform/database/seals';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { makeMonthly } from './monthly-partitions.fixture';
import { openReplica, type Replica } from './replica.fixture';

const FIRST = '2020-01';
const MONTHS = 30;
const PER_MONTH = 3000;
const LAST = addMonths(FIRST, MONTHS);
const startOf = (month: string) => Date.parse(`${month}-01T00:00:00Z`);
const partitionOf = (month: string) => `audit_event_${month.replace('-', '')}`;
/** Of the last month, which grows. */
const PART = { lowerMs: startOf(LAST), upperMs: startOf(LAST) + 20 * 86_400_000 };

interface PlanNode {
  'Node Type': string;
  'Index Name'?: string;
  'Relation Name'?: string;
  'Actual Rows'?: number;
  'Rows Removed by Filter'?: number;
  'Actual Loops'?: number;
  Plans?: PlanNode[];
}

const nodesOf = (node: PlanNode): PlanNode[] => [node, ...(node.Plans ?? []).flatMap(nodesOf)];

describe('the plans of reads through sealed indexes', () => {
  let test: TestDatabase;
  let replica: Replica;
  let admin: Client;

  beforeAll(async () => {
    test = await createTestDatabase();
    replica = await openReplica(test.url);
    admin = new Client({ connectionString: test.url, options: '-c timezone=UTC' });
    await admin.connect();
    const months = Array.from({ length: MONTHS + 1 }, (_, index) => addMonths(FIRST, index));
    await makeMonthly(admin, months);
    for (const month of months) {
      await admin.query(`ALTER TABLE ${partitionOf(month)} SET (autovacuum_enabled = off)`);
    }
    // One action, so that statistics say that its hash finds everything; the rest is rare.
    await admin.query(
      `INSERT INTO audit_event (organization_id, timestamp, id, sequence, recorded_at, principal_id, action, target_resource_id,
         correlation_id, session_context, status, data_classification)
       SELECT 'org', m + n * interval '10 minutes', gen_random_uuid(), n, now(), 'p' || n % 5, 'a', 't' || n, 'c' || n,
         json_build_object('sessionId', 's' || n, 'ipAddress', '10.0.0.' || n % 250), 'success', 'INTERNAL'
       FROM generate_series($1::timestamptz, $2::timestamptz, '1 month') m, generate_series(1, $3::int) n`,
      [`${FIRST}-01`, `${LAST}-01`, PER_MONTH],
    );
    for (const index of SEARCH_INDEXES) {
      for (const month of months) {
        const range = month === LAST ? PART : undefined;
        await admin.query(createSeal(EVENT_TABLE, index, partitionOf(month), range).statement);
      }
    }
  }, 120_000);

  afterAll(async () => {
    await admin?.end();
    await replica?.close();
    await test?.drop();
  });

  async function planOf({ text, values }: Statement, settings: string[]): Promise<PlanNode[]> {
    return replica.database.withClient(async (client: PoolClient) => {
      const literal = (value: unknown) =>
        client.escapeLiteral(Array.isArray(value) ? `{${value.join(',')}}` : String(value));
      for (const setting of settings) await client.query(`SET ${setting}`);
      await client.query(`PREPARE sealed AS ${text}`);
      try {
        const { rows } = await client.query<{ 'QUERY PLAN': { Plan: PlanNode }[] }>(
          `EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE sealed (${values.map(literal).join(', ')})`,
        );
        return nodesOf(rows[0]?.['QUERY PLAN'][0]?.Plan);
      } finally {
        await client.query('DEALLOCATE sealed');
        for (const setting of settings) await client.query(`RESET ${setting.split(' ')[0]}`);
      }
    });
  }

  const requestOf = (key: SearchKey, value: string, direction: 'asc' | 'desc'): SealedRequest => ({
    organizations: ['org', 'another'],
    filter: {},
    sort: { field: 'timestamp', direction },
    by: { key, values: [value], ...(key === 'target' ? { isOfTargets: true as const } : {}) },
    ranges: [
      { lowerMs: startOf(FIRST), upperMs: startOf(LAST), isWhole: true },
      { ...PART, isWhole: false },
    ],
  });
  const VALUES: Record<SearchKey, string> = {
    correlation: 'c7',
    session: 's7',
    target: 't7',
    ip: '10.0.0.7',
    principal: 'p7',
    action: 'a',
  };
  const cases = Object.entries(VALUES).flatMap(([key, value]) => [
    [key as SearchKey, value] as const,
    [key as SearchKey, 'none'] as const,
  ]);

  describe.each([
    ['without statistics', [] as string[]],
    ['with statistics', ['ANALYZE audit_event']],
  ])('%s', (_, prepare) => {
    beforeAll(async () => {
      for (const statement of prepare) await admin.query(statement);
    });

    // An index without an order cannot be told from a walk without statistics, which maintenance sees to.
    const known = cases.filter(([key]) => key !== 'target' || prepare.length > 0);
    it.each(known)(
      '%s %s: reads the index of each range and no other, in the order of the list',
      async (key, value) => {
        for (const direction of ['asc', 'desc'] as const) {
          const statement = sealedStatement(requestOf(key, value, direction), 51);
          const nodes = await planOf(statement, []);
          const scans = nodes.filter((node) => node['Relation Name']?.startsWith('audit_event'));
          const others = scans.filter(
            (node) =>
              node['Node Type'] !== 'Index Scan' && node['Node Type'] !== 'Bitmap Heap Scan',
          );
          expect(others).toEqual([]);
          expect(nodes.map((node) => node['Node Type'])).not.toContain('Gather');
          const indexes = new Set(nodes.flatMap((node) => node['Index Name'] ?? []));
          for (const name of indexes) expect(name).toMatch(new RegExp(`_seal_${key}`));
          const ordered = scans.filter((node) => node['Node Type'] === 'Index Scan');
          expect(ordered).toHaveLength(MONTHS + 1);
          // One event of each range more than are found, for each organization.
          const rows = scans.reduce(
            (sum, node) =>
              sum +
              ((node['Actual Rows'] ?? 0) + (node['Rows Removed by Filter'] ?? 0)) *
                (node['Actual Loops'] ?? 0),
            0,
          );
          expect(rows).toBeLessThanOrEqual(2 * (51 + MONTHS + 1));
        }
      },
    );
  });

  it('are of statements whose names say nothing of values', () => {
    const [one, other] = ['c7', 'c8'].map((value) =>
      sealedStatement(requestOf('correlation', value, 'desc'), 51),
    );
    expect(one?.name).toBe(other?.name);
    expect(one?.group).toEqual({ name: expect.any(String), max: expect.any(Number) });
  });
});
