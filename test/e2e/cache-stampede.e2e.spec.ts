import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { ResponseCache } from '../../src/caching/response-cache';
import { until } from '../integration/until.fixture';
import { EVENTS, eventsIn, eventWith, TestService, tokenOf } from '../support/test-service';

const READERS = 1000;

let service: TestService;
let admin: Client;
// Connections keep the method they find when they are made, so it is watched before the first one and to the end.
let query: jest.SpiedFunction<Client['query']>;

beforeAll(async () => {
  query = jest.spyOn(Client.prototype, 'query');
  service = await TestService.start({ REDIS_URL: '' });
  admin = new Client({ connectionString: service.databaseUrl });
  await admin.connect();
});

afterAll(async () => {
  await admin?.end();
  await service?.stop();
  query.mockRestore();
});

/** Statements that wait for a lock, as PostgreSQL sees them: the page, and whatever else looks at events just now. */
async function waiting(): Promise<number> {
  const { rows } = await admin.query<{ waiting: string }>(
    `SELECT count(*) AS waiting FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
  );
  return Number(rows[0]?.waiting);
}

describe.each([
  ['on the fast path', {}],
  ['on the ordinary path', { accept: 'application/json;q=0.9, text/html;q=0.1' }],
])('a thousand readers of one cold page %s', (_, headers) => {
  it('make PostgreSQL read it once', async () => {
    const organization = `org-${randomUUID()}`;
    const token = await tokenOf({ organizations: [organization] });
    await service.post(EVENTS, token, eventWith({ organizationId: organization }));
    query.mockClear();
    const getOrLoad = jest.spyOn(ResponseCache.prototype, 'getOrLoad');
    try {
      // The page cannot be read until everybody has asked for it.
      await admin.query('BEGIN; LOCK TABLE audit_event IN ACCESS EXCLUSIVE MODE');
      const asked = Array.from({ length: READERS }, () => service.get(EVENTS, token, headers));
      await until(() => getOrLoad.mock.calls.length === READERS);
      await until(async () => (await waiting()) > 0);
      await admin.query('COMMIT');
      const answers = await Promise.all(asked);

      expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
      expect(answers.map(eventsIn).every((events) => events.length === 1)).toBe(true);
      const statements = query.mock.calls.filter(([statement]) =>
        /FROM audit_event\b/.test((statement as unknown as { text?: string }).text ?? ''),
      );
      // A page that is not full is looked for in the newest months, and then in the rest.
      expect(statements.length).toBeGreaterThanOrEqual(1);
      expect(statements.length).toBeLessThanOrEqual(2);
    } finally {
      await admin.query('ROLLBACK');
      getOrLoad.mockRestore();
    }
  });
});
