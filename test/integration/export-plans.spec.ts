import { Client } from 'pg';
import { exportStatement, type ExportList } from '../../src/audit/export/export-statement';
import { createTestDatabase, type TestDatabase } from '../support/test-database';

const MONTHS = 12;

let database: TestDatabase;
let client: Client;

beforeAll(async () => {
  database = await createTestDatabase();
  client = new Client({ connectionString: database.url });
  await client.connect();
  for (let month = 1; month <= MONTHS; month += 1) {
    const [from, to] = [new Date(Date.UTC(2024, month - 1)), new Date(Date.UTC(2024, month))];
    await client.query(
      `CREATE TABLE audit_event_2024${String(month).padStart(2, '0')} PARTITION OF audit_event
       FOR VALUES FROM ('${from.toISOString()}') TO ('${to.toISOString()}')`,
    );
  }
  await client.query(
    `INSERT INTO audit_event (organization_id, timestamp, id, sequence, recorded_at, action, status, data_classification, metadata)
     SELECT 'org-' || i % 20, timestamptz '2024-01-01Z' + i * interval '1050 seconds', gen_random_uuid(), i, now(), 'a',
       'success', 'INTERNAL', json_build_object('note', repeat('x', 300)) FROM generate_series(0, 29999) i`,
  );
  await client.query('ANALYZE audit_event');
});

afterAll(async () => {
  await client?.end();
  await database?.drop();
});

/** The kinds of node in the plan of an export. */
async function nodesOf(list: Partial<ExportList>): Promise<string[]> {
  const { statement, settings } = exportStatement({
    organizations: '*',
    filter: {},
    sort: { field: 'timestamp', direction: 'desc' },
    format: 'ndjson',
    schema: 'native',
    isRawCsv: false,
    delimiter: 'comma',
    columns: [],
    offset: 0,
    ...list,
  });
  const [, query = ''] = /^COPY \(([^]*)\) TO STDOUT/.exec(statement) ?? [];
  await client.query('BEGIN');
  for (const [name, value] of Object.entries(settings)) {
    await client.query('SELECT set_config($1, $2, true)', [name, value]);
  }
  const { rows } = await client.query(`EXPLAIN (FORMAT JSON) ${query}`);
  await client.query('ROLLBACK');
  return [...JSON.stringify(rows).matchAll(/"Node Type":"([^"]+)"/g)].map(([, name = '']) => name);
}

const few = ['org-1', 'org-2', 'org-3'];
const sixteen = Array.from({ length: 16 }, (_, index) => `org-${index}`).sort();

describe.each(['asc', 'desc'] as const)('an export, %s', (direction) => {
  it.each([
    ['one organization by time', ['org-1'], 'timestamp'],
    ['one organization by sequence', ['org-1'], 'sequence'],
    ['some organizations by time', few, 'timestamp'],
    ['some organizations by sequence', few, 'sequence'],
    ['16 organizations by time', sixteen, 'timestamp'],
    ['all organizations by time', '*', 'timestamp'],
  ] as const)(
    'of %s comes out of indexes, in order, and is not sorted first',
    async (_, organizations, field) => {
      for (const format of ['ndjson', 'csv'] as const) {
        const nodes = await nodesOf({ organizations, sort: { field, direction }, format });
        // An incremental sort only orders events of one moment.
        expect(nodes).not.toContain('Sort');
        expect(nodes.filter((name) => /Seq Scan|Bitmap/.test(name))).toEqual([]);
      }
    },
  );
});

it('looks only at the months that it is about', async () => {
  const startDate = { micros: Date.UTC(2024, 4) * 1000, submicros: '' };
  const nodes = await nodesOf({ organizations: ['org-1'], filter: { startDate } });
  expect(nodes.filter((name) => /Index/.test(name)).length).toBeLessThan(MONTHS);
});
