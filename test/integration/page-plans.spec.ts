import { Client, type PoolClient } from 'pg';
import { FIND_RECORDED } from '../../src/audit/feed/event-log-reader';
import {
  countStatement,
  pageStatement,
  type PageRequest,
  type Statement,
} from '../../src/audit/read/page-statement';
import { addMonths } from '../../src/platform/database/partitions';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { makeMonthly } from './monthly-partitions.fixture';
import { openReplica, type Replica } from './replica.fixture';

const MONTHS = 84;
const ORGANIZATIONS = 40;
const PER_MONTH = 600;
const FIRST = '2019-12';
const LAST = addMonths(FIRST, MONTHS - 1);

/** A node of what EXPLAIN (FORMAT JSON) gives. */
interface PlanNode {
  'Node Type': string;
  'Relation Name'?: string;
  'Index Name'?: string;
  'Actual Loops'?: number;
  'Actual Rows'?: number;
  'Rows Removed by Filter'?: number;
  'Subplans Removed'?: number;
  Plans?: PlanNode[];
}

function nodesOf(node: PlanNode): PlanNode[] {
  return [node, ...(node.Plans ?? []).flatMap(nodesOf)];
}

/** What a statement really did. */
interface Work {
  /** Partitions that were read, not merely planned. */
  partitions: string[];
  indexes: string[];
  /** Rows that scans of events returned or threw away. */
  rows: number;
  hasSequentialScan: boolean;
  /** Most rows that a Sort took in. */
  sorted: number;
}

function workOf(plan: PlanNode): Work {
  const run = nodesOf(plan).filter((node) => (node['Actual Loops'] ?? 0) > 0);
  const scans = run.filter((node) => node['Relation Name']?.startsWith('audit_event_'));
  const rowsOf = (node: PlanNode) =>
    ((node['Actual Rows'] ?? 0) + (node['Rows Removed by Filter'] ?? 0)) *
    (node['Actual Loops'] ?? 0);
  const sorts = run.filter((node) => node['Node Type'].includes('Sort'));
  return {
    partitions: [...new Set(scans.map((node) => node['Relation Name'] ?? ''))].sort(),
    indexes: [...new Set(scans.map((node) => node['Index Name'] ?? ''))].sort(),
    rows: scans.reduce((sum, node) => sum + rowsOf(node), 0),
    hasSequentialScan: scans.some((node) => node['Node Type'] === 'Seq Scan'),
    sorted: Math.max(0, ...sorts.flatMap((node) => node.Plans ?? []).map(rowsOf)),
  };
}

describe('the plans of pages, with seven years of partitions', () => {
  let test: TestDatabase;
  let replica: Replica;

  beforeAll(async () => {
    test = await createTestDatabase();
    replica = await openReplica(test.url);
    const months = Array.from({ length: MONTHS }, (_, index) => addMonths(FIRST, index));
    const client = new Client({ connectionString: test.url, options: '-c timezone=UTC' });
    await client.connect();
    await makeMonthly(client, months);
    // Evenly spread: every organization has events in every month; ids carry no order.
    await client.query(
      `INSERT INTO audit_event (organization_id, timestamp, id, sequence, recorded_at, action, status, data_classification)
       SELECT 'org-' || n % $3::int, m + n * interval '1 hour', gen_random_uuid(),
              1 + (row_number() OVER (PARTITION BY n % $3::int ORDER BY m, n)), now(), 'a', 'success', 'INTERNAL'
       FROM generate_series($1::timestamptz, $2::timestamptz, '1 month') m, generate_series(1, $4::int) n`,
      [`${FIRST}-01`, `${LAST}-01`, ORGANIZATIONS, PER_MONTH],
    );
    await client.query(
      `INSERT INTO audit_organization SELECT organization_id, max(sequence) FROM audit_event GROUP BY 1`,
    );
    await client.query('ANALYZE');
    await client.end();
  }, 120_000);

  afterAll(async () => {
    await replica?.close();
    await test?.drop();
  });

  /** Runs a statement as the service does, prepared, and says what it did. */
  async function workFor({ text, values }: Statement): Promise<Work> {
    return replica.database.withClient(async (client: PoolClient) => {
      const { rows: modes } = await client.query(
        `SELECT current_setting('plan_cache_mode') AS plans, current_setting('jit') AS jit`,
      );
      expect(modes).toEqual([{ plans: 'force_generic_plan', jit: 'off' }]);
      const literals = values.map((value) => client.escapeLiteral(literalOf(value))).join(', ');
      await client.query(`PREPARE page AS ${text}`);
      try {
        const { rows } = await client.query<{ 'QUERY PLAN': { Plan: PlanNode }[] }>(
          `EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE page ${literals && `(${literals})`}`,
        );
        const plan = rows[0]?.['QUERY PLAN'][0]?.Plan;
        if (!plan) throw new Error('There is no plan');
        return workOf(plan);
      } finally {
        await client.query('DEALLOCATE page');
      }
    });
  }

  function literalOf(value: unknown): string {
    return Array.isArray(value) ? `{${value.join(',')}}` : String(value);
  }

  const newest: PageRequest = {
    organizations: ['org-7'],
    filter: {},
    sort: { field: 'timestamp', direction: 'desc' },
    limit: 10,
    offset: 0,
  };
  const partitionOf = (month: string) => `audit_event_${month.replace('-', '')}`;
  const twenty = Array.from({ length: 20 }, (_, index) => `org-${index}`);
  const deep = addMonths(FIRST, 40);
  const after = {
    timestamp: `${deep}-20T00:00:00.000000Z`,
    sequence: '1',
    id: '80000000-0000-4000-8000-000000000000',
    organizationId: 'org-7',
  };

  it('one organization: the newest page bounded to its month reads that month and that organization', async () => {
    const work = await workFor(pageStatement({ ...newest, from: `${LAST}-01T00:00:00Z` }));
    expect(work.partitions).toEqual([partitionOf(LAST)]);
    expect(work.hasSequentialScan).toBe(false);
    // So few rows may as well be fetched at once and sorted; those of the organization in its month are 15.
    expect(work.rows).toBeLessThanOrEqual(15);
  });

  it('one organization: the newest page without a bound stops in the newest partition', async () => {
    const work = await workFor(pageStatement(newest));
    expect(work.partitions).toEqual([partitionOf(LAST)]);
    expect(work.rows).toBeLessThanOrEqual(11);
  });

  it('one organization: a deep page by keyset reads nothing newer and stops when it is full', async () => {
    const work = await workFor(pageStatement({ ...newest, after }));
    expect(work.partitions).toEqual([partitionOf(deep)]);
    expect(work.indexes).toEqual([`${partitionOf(deep)}_pkey`]);
    expect(work.rows).toBeLessThanOrEqual(12);
    expect(work.hasSequentialScan).toBe(false);
  });

  it('one organization: a deep page backwards reads nothing older', async () => {
    const sort = { field: 'timestamp', direction: 'asc' } as const;
    const work = await workFor(pageStatement({ ...newest, sort, after }));
    const [first] = work.partitions;
    expect(first).toBe(partitionOf(deep));
    expect(work.partitions.length).toBeLessThanOrEqual(2);
    expect(work.rows).toBeLessThanOrEqual(12);
  });

  it('one organization: a filter of targets reads what a filter of one column reads, in the order of the index', async () => {
    const column = await workFor(pageStatement({ ...newest, filter: { principalIds: ['x'] } }));
    const filter = { resourceTypes: ['a'], resourceIds: ['b'], targetIds: ['c'] };
    const targets = await workFor(pageStatement({ ...newest, filter }));
    expect(targets).toEqual(column);
    expect(targets.hasSequentialScan).toBe(false);
    expect(targets.partitions).toHaveLength(MONTHS);
  });

  it('one organization: pages by sequence use the index on sequence', async () => {
    const sort = { field: 'sequence', direction: 'asc' } as const;
    const work = await workFor(
      pageStatement({ ...newest, sort, after: { ...after, sequence: '600' } }),
    );
    expect(work.indexes.every((name) => name.includes('sequence'))).toBe(true);
    expect(work.hasSequentialScan).toBe(false);
    // One row of each partition that begins beyond, to find the lowest, then the page.
    expect(work.rows).toBeLessThanOrEqual(MONTHS + 12);
  });

  it('twenty organizations: a page of each, not everything of all', async () => {
    const bounded = await workFor(
      pageStatement({ ...newest, organizations: twenty, from: `${LAST}-01T00:00:00Z` }),
    );
    expect(bounded.partitions).toEqual([partitionOf(LAST)]);
    expect(bounded.rows).toBeLessThanOrEqual(20 * 15);
    expect(bounded.hasSequentialScan).toBe(false);
    const further = await workFor(pageStatement({ ...newest, organizations: twenty, after }));
    expect(further.partitions).toEqual([partitionOf(deep)]);
    expect(further.rows).toBeLessThanOrEqual(20 * 12);
  });

  it('twenty organizations: feeds read no more than the next events of each', async () => {
    const { text } = FIND_RECORDED;
    const places = twenty.map(() => String((MONTHS * PER_MONTH) / ORGANIZATIONS - 30));
    const work = await workFor({ text, values: [twenty, places, 10] });
    expect(work.indexes.every((name) => name.includes('sequence'))).toBe(true);
    expect(work.hasSequentialScan).toBe(false);
    expect(work.rows).toBeLessThanOrEqual(20 * 12);
  });

  it('an operator: the index on time, one partition, a page of rows', async () => {
    const first = await workFor(
      pageStatement({ ...newest, organizations: '*', from: `${LAST}-01T00:00:00Z` }),
    );
    expect(first).toMatchObject({
      partitions: [partitionOf(LAST)],
      indexes: [`${partitionOf(LAST)}_timestamp_id_idx`],
      hasSequentialScan: false,
    });
    expect(first.rows).toBeLessThanOrEqual(12);
    const further = await workFor(pageStatement({ ...newest, organizations: '*', after }));
    expect(further.partitions).toEqual([partitionOf(deep)]);
    expect(further.rows).toBeLessThanOrEqual(12);
  });

  it.each([
    ['an operator', '*' as const],
    ['all organizations by name', Array.from({ length: ORGANIZATIONS }, (_, n) => `org-${n}`)],
  ])('%s: a count stops at the first event too many', async (_, organizations) => {
    expect(MONTHS * PER_MONTH).toBeGreaterThan(20_000);
    const { rows } = await workFor(countStatement({ ...newest, organizations }));
    expect(rows).toBe(10_001);
  });

  describe('one event by id', () => {
    async function statementsOf(work: () => Promise<unknown>): Promise<Statement[]> {
      const statements: Statement[] = [];
      const spy = jest.spyOn(replica.database, 'withReader').mockImplementation((reader) =>
        replica.database.withClient((client) =>
          reader({
            query: (statement: Statement) => {
              statements.push(statement);
              return client.query(statement);
            },
          } as unknown as PoolClient),
        ),
      );
      await work();
      spy.mockRestore();
      return statements;
    }

    it.each([
      ['of one organization', ['org-7']],
      ['of twenty', twenty],
      ['of any', '*' as const],
    ])('%s reads the one partition that the id tells', async (_, organizations) => {
      // 2023-04-15T00:00:00Z in milliseconds, as a UUIDv7 carries it.
      const hex = Date.parse(`${deep}-15T00:00:00Z`).toString(16).padStart(12, '0');
      const id = `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`;
      const [byId, byClientId] = await statementsOf(() =>
        replica.queries.findById(organizations, id),
      );
      if (!byId || !byClientId) throw new Error('Two statements were expected');
      const work = await workFor(byId);
      expect(work.partitions).toEqual([partitionOf(deep)]);
      expect(work.hasSequentialScan).toBe(false);
      expect(work.rows).toBeLessThanOrEqual(2);
      expect((await workFor(byClientId)).partitions).toEqual([]);
    });
  });

  it('reads the newest page from one partition through AuditQueries, with everything before it there', async () => {
    const { texts: all } = await replica.queries.findPage({ ...newest, limit: 1000 });
    expect(all).toHaveLength(1000);
    const stamps = all.map((json) => (JSON.parse(json) as { timestamp: string }).timestamp);
    expect(stamps).toEqual([...stamps].sort().reverse());
  });
});
