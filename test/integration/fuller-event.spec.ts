import { Client } from 'pg';
import { DataSource } from 'typeorm';
import type { NewEvent } from '../../src/audit/event/audit-event';
import { MIGRATIONS, runMigrations } from '../../src/platform/database/migrate';
import { createTestDatabase, type TestDatabase } from '../support/test-database';
import { newEvent, openReplica, receiptsIn, type Replica, writeRequest } from './replica.fixture';

/** The statement of the release before the sparse members, for one event. */
const OLDER_WRITE = {
  name: 'audit-record-event',
  text: `WITH head AS (
           INSERT INTO audit_organization AS o (organization_id, last_sequence, recorded_at)
           SELECT $1::text, 1, clock_timestamp() FROM set_config('lock_timeout', '2000', true)
           ON CONFLICT (organization_id) DO UPDATE SET
             last_sequence = o.last_sequence + 1, recorded_at = clock_timestamp()
           RETURNING organization_id, last_sequence, recorded_at
         ), event AS (
           INSERT INTO audit_event (organization_id, timestamp, id, principal_id, action, target_resource_type,
             target_resource_id, status, outcome_description, data_classification, correlation_id, session_context,
             metadata, timestamp_submicros, sequence, recorded_at)
           SELECT $1::text, $2::timestamptz, $3::uuid, $4::text, $5::text, $6::text, $7::text, $8::text, $9::text,
             $10::text, $11::text, $12::json, $13::json, $14::text, last_sequence, recorded_at FROM head
         )
         SELECT organization_id, last_sequence::text, recorded_at::text FROM head`,
};
/** What that release read. */
const OLDER_READ = `SELECT '{"id":"' || e.id
  || '","timestamp":"' || to_char(e.timestamp, 'YYYY-MM-DD"T"HH24:MI:SS.US') || coalesce(e.timestamp_submicros, '')
  || 'Z","recordedAt":"' || to_char(e.recorded_at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
  || '","sequence":"' || e.sequence
  || '","organizationId":' || to_json(e.organization_id)
  || ',"principalId":' || coalesce(to_json(e.principal_id)::text, 'null')
  || ',"action":' || to_json(e.action)
  || ',"targetResourceType":' || coalesce(to_json(e.target_resource_type)::text, 'null')
  || ',"targetResourceId":' || coalesce(to_json(e.target_resource_id)::text, 'null')
  || ',"status":"' || e.status
  || '","outcomeDescription":' || coalesce(to_json(e.outcome_description)::text, 'null')
  || ',"dataClassification":"' || e.data_classification
  || '","correlationId":' || coalesce(to_json(e.correlation_id)::text, 'null')
  || ',"sessionContext":' || coalesce(e.session_context::text, 'null')
  || ',"metadata":' || coalesce(e.metadata::text, 'null') || '}' AS text
  FROM (SELECT * FROM audit_event WHERE organization_id = $1) e ORDER BY e.sequence`;

const ORGANIZATION = 'org-rolling';

describe('replicas of the release before the sparse members', () => {
  let test: TestDatabase;
  let older: Client;
  let newer: Replica;

  beforeAll(async () => {
    test = await createTestDatabase();
    older = new Client({ connectionString: test.url, options: '-c timezone=UTC' });
    await older.connect();
    await older.query('DROP SCHEMA public CASCADE');
    await older.query('CREATE SCHEMA public');
    const dataSource = new DataSource({
      type: 'postgres',
      url: test.url,
      migrations: MIGRATIONS.filter(({ name }) => !name.startsWith('FullerEvent')),
    });
    await dataSource.initialize();
    await dataSource.runMigrations({ transaction: 'each' });
    await dataSource.destroy();
    await older.query(
      `CREATE TABLE audit_event_202601 PARTITION OF audit_event FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')`,
    );
  });

  afterAll(async () => {
    await newer?.close();
    await older?.end();
    await test?.drop();
  });

  const eventOf = (changes: Partial<NewEvent> = {}) =>
    newEvent({
      organizationId: ORGANIZATION,
      timestamp: '2026-01-15T00:00:00.123456Z',
      targetResourceType: 'Patient',
      metadata: '{"n":1.50}',
      ...changes,
    });

  async function writeOlder(event: NewEvent): Promise<void> {
    const { organizationId, timestamp, id, principalId, action, targetResourceType } = event;
    const first = [organizationId, timestamp, id, principalId, action, targetResourceType];
    const { targetResourceId, status, outcomeDescription, dataClassification } = event;
    const second = [targetResourceId, status, outcomeDescription, dataClassification];
    const { correlationId, sessionContext, metadata, timestampSubmicros } = event;
    const third = [correlationId, sessionContext, metadata, timestampSubmicros];
    await older.query({ ...OLDER_WRITE, values: [...first, ...second, ...third] });
  }

  const readOlder = async (): Promise<string[]> =>
    (await older.query<{ text: string }>(OLDER_READ, [ORGANIZATION])).rows.map(({ text }) => text);

  it('go on writing and reading during the migration and after it, and their rows are what they were', async () => {
    const fileOf = async () =>
      (await older.query(`SELECT pg_relation_filenode('audit_event_202601') AS file`)).rows;
    await writeOlder(eventOf());
    const [before] = await readOlder();
    const file = await fileOf();
    expect(await runMigrations(test.url)).toEqual(['FullerEvent1764600000000']);
    expect(await fileOf()).toEqual(file);
    newer = await openReplica(test.url);

    const sparse = {
      targets: '[{"type":"Patient"},{"id":"b","name":null}]',
      changes: '[{"path":"","old":1.50}]',
      schemaVersion: '2',
    };
    const written: string[] = [before ?? ''];
    for (const changes of [{}, sparse, {}, sparse]) {
      await writeOlder(eventOf());
      written.push((await readOlder()).at(-1) ?? '');
      const [receipt] = receiptsIn(await newer.writer.write(writeRequest([eventOf(changes)])));
      written.push(receipt?.text ?? '');
    }
    const { texts: page } = await newer.queries.findPage({
      organizations: [ORGANIZATION],
      filter: {},
      sort: { field: 'sequence', direction: 'asc' },
      limit: 100,
      offset: 0,
    });
    expect(page).toEqual(written);
    expect(page.map((text) => (JSON.parse(text) as { sequence: string }).sequence)).toEqual(
      Array.from({ length: 9 }, (_, index) => String(index + 1)),
    );
    expect(page[0]).toBe(before);
    // To them an event with such members is one without.
    const isSparse = (text: string) => text.includes('"schemaVersion":"2"');
    expect(page.filter(isSparse)).toHaveLength(2);
    const plain = page.map((text) => text.replace(/,"targets":.*$/, '}'));
    expect(await readOlder()).toEqual(plain);
  });
});
