import { Client } from 'pg';
import type { PageRequest } from '../../src/audit/read/page-statement';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { clientEvent, newEvent, openReplica, type Replica, writeRequest } from './replica.fixture';

interface Sent {
  text: string;
  values?: unknown[];
}

interface PlanNode {
  'Node Type': string;
  'Relation Name'?: string;
  Plans?: PlanNode[];
  [member: string]: unknown;
}

const TABLES = /\baudit_(event|organization|client_event_id)\b/;
const CONDITIONS = [
  'Index Cond',
  'Recheck Cond',
  'Filter',
  'Hash Cond',
  'Merge Cond',
  'Join Filter',
];

/** Tables of events that a plan scans without knowing the organization, there or where the scan is joined. */
function scansOfAll(node: PlanNode, known = ''): string[] {
  const conditions = CONDITIONS.map((name) =>
    String((node[name] as string | undefined) ?? ''),
  ).join(' ');
  const all = `${known} ${conditions}`;
  const relation = node['Relation Name'] ?? '';
  const isScan =
    node['Node Type'].includes('Scan') && TABLES.test(relation.replace(/_\d.*|_y\d.*/, ''));
  return [
    ...(isScan && !all.includes('organization_id') ? [`${node['Node Type']} on ${relation}`] : []),
    ...(node.Plans ?? []).flatMap((inner) => scansOfAll(inner, all)),
  ];
}

/**
 * On a PostgreSQL that is distributed by organization_id, a statement that names its organizations is sent to the shards
 * of these alone. So everything that the write path, pages and single events send must name them.
 */
describe('statements of one organization', () => {
  let test: TestDatabase;
  let service: Replica;
  let explainer: Client;
  let spy: jest.SpyInstance;

  beforeAll(async () => {
    spy = jest.spyOn(Client.prototype, 'query'); // before connections are made, which wrap it
    test = await createTestDatabase();
    service = await openReplica(test.url);
    explainer = new Client({ connectionString: test.url });
    await explainer.connect();
  });
  afterAll(async () => {
    spy.mockRestore();
    await service?.close();
    await explainer?.end();
    await test?.drop();
  });

  /** What is sent to PostgreSQL about events meanwhile. */
  async function sentBy(work: () => Promise<unknown>): Promise<Sent[]> {
    const before = spy.mock.calls.length;
    await work();
    const calls = spy.mock.calls.slice(before) as unknown as [unknown][];
    return calls
      .map(([statement]) =>
        typeof statement === 'string' ? { text: statement } : (statement as Sent),
      )
      .filter(({ text }) => TABLES.test(text) && !/^\s*(CREATE|ALTER|LOCK)/.test(text));
  }

  async function scansIn({ text, values }: Sent): Promise<string[]> {
    const { rows } = await explainer.query<{ 'QUERY PLAN': [{ Plan: PlanNode }] }>({
      text: `EXPLAIN (FORMAT JSON) ${text}`,
      values,
    });
    return rows.flatMap((row) =>
      scansOfAll(row['QUERY PLAN'][0].Plan).map((scan) => `${scan}: ${text}`),
    );
  }

  const page = (changes: Partial<PageRequest> = {}): PageRequest => ({
    organizations: ['org-1'],
    filter: {},
    sort: { field: 'timestamp', direction: 'desc' },
    limit: 10,
    offset: 0,
    ...changes,
  });

  it.each<[string, () => Promise<unknown>, number]>([
    ['writes', () => service.writer.write(writeRequest([newEvent(), newEvent()])), 1],
    [
      'writes with ids of clients, and the same again',
      async () => {
        const request = writeRequest([clientEvent(), newEvent({ hasClientId: true })]);
        await service.writer.write(request);
        await service.writer.write(request);
      },
      6,
    ],
    ['a page', () => service.queries.findPage(page()), 1],
    [
      'a page with filters',
      () => service.queries.findPage(page({ filter: { actions: ['test'] } })),
      1,
    ],
    [
      'a page by sequence',
      () => service.queries.findPage(page({ sort: { field: 'sequence', direction: 'asc' } })),
      1,
    ],
    [
      'a page of several',
      () => service.queries.findPage(page({ organizations: ['org-1', 'org-2'] })),
      1,
    ],
    ['a count', () => service.queries.count(page()), 1],
    ['an event', () => service.queries.findById(['org-1'], newEvent().id), 2],
    ['a version', () => service.versions.current(['org-1']), 1],
  ])('name it: %s', async (_what, work, least) => {
    const sent = await sentBy(work);
    expect(sent.length).toBeGreaterThanOrEqual(least);
    for (const statement of sent) expect(await scansIn(statement)).toEqual([]);
  });

  it('differ from those of all organizations, which would be found', async () => {
    const [statement] = await sentBy(() => service.queries.findPage(page({ organizations: '*' })));
    expect(await scansIn(statement ?? { text: '' })).not.toEqual([]);
  });
});
