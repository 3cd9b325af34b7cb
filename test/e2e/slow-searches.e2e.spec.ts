import { randomUUID } from 'node:crypto';
import { until } from '../integration/until.fixture';
import { fetchExport } from '../support/export-client';
import { protocolsOf } from '../support/protocols';
import { TailClient } from '../support/tail-client';
import { EVENTS, eventsIn, TestService, tokenOf } from '../support/test-service';

const ROWS = 500_000;
/** Much shorter than a look at the metadata of all events takes. */
const REQUEST_TIMEOUT_MS = 500;
const organizationId = `org-${randomUUID()}`;

let service: TestService;
let token: string;

beforeAll(async () => {
  service = await TestService.start({
    REQUEST_TIMEOUT_MS: String(REQUEST_TIMEOUT_MS),
    MONITORING_ENABLED: 'false',
    DATABASE_UPKEEP_INTERVAL_SECONDS: '0',
    DATABASE_SEAL_EVENTS: '0',
  });
  token = await tokenOf({ organizations: [organizationId], scope: 'audit:read audit:export' });
  const admin = await service.connect();
  // All in this month, whose partition is there.
  await admin.query(
    `INSERT INTO audit_event (organization_id, timestamp, id, sequence, recorded_at, action, status, data_classification, metadata)
     SELECT $1, t.month + n * interval '1 microsecond', gen_random_uuid(), n, t.month + n * interval '1 microsecond', 'a', 'success', 'INTERNAL',
            json_build_object('text', repeat('x', 100), 'order', json_build_object('id', CASE WHEN n = 1 THEN 'sought' ELSE n::text END))
     FROM (SELECT date_trunc('month', now()) AS month) t, generate_series(1, $2::int) n`,
    [organizationId, ROWS],
  );
  await admin.query('INSERT INTO audit_organization VALUES ($1, $2, now())', [
    organizationId,
    ROWS,
  ]);
  await admin.query('VACUUM ANALYZE audit_event');
  await admin.end();
}, 120_000);

afterAll(() => service?.stop());

const filter = 'metadata=order.id%3Dsought';

describe('a search that takes longer than a request may', () => {
  it('is answered in parts, and finds the one event at the end of the list', async () => {
    let pages = 0;
    const found: unknown[] = [];
    let path = `${EVENTS}?${filter}`;
    for (;;) {
      const answer = await service.get(path, token);
      expect(answer.status).toBe(200);
      pages += 1;
      found.push(...eventsIn(answer).map(({ sequence }) => sequence));
      const { hasNext, partial, nextCursor } = answer.json.pagination;
      if (!hasNext) break;
      expect(partial).toBe(true);
      path = `${EVENTS}?${filter}&cursor=${String(nextCursor)}`;
    }
    expect(found).toEqual(['1']);
    expect(pages).toBeGreaterThan(1);
  }, 60_000);

  it.each(['REST', 'GraphQL', 'tRPC'] as const)(
    'with a total is answered in time through %s',
    async (name) => {
      const search = { filter: { metadata: ['order.id=sought'] } };
      const outcome = await protocolsOf(service)[name].find(search, token);
      expect(outcome).toMatchObject({ events: [], partial: true, hasNext: true });
      expect(outcome).toMatchObject({ total: 0, totalIsExact: false });
    },
  );

  it('goes on in an export for as long as it takes', async () => {
    const answer = await fetchExport(service, token, `${filter}&format=ndjson`);
    expect(answer.trailers).toMatchObject({ 'x-export-complete': 'true', 'x-export-rows': '1' });
  }, 60_000);

  it('goes on in a feed until that has caught up', async () => {
    const url = `${service.url}${EVENTS}/tail?${filter}`;
    const headers = { authorization: `Bearer ${token}`, 'last-event-id': '1' };
    const feed = await TailClient.open(url, headers);
    const first = await TailClient.open(url, { ...headers, 'last-event-id': '0' });
    try {
      await until(() => first.events.length === 1);
      expect(first.events[0]).toMatchObject({ sequence: '1' });
      expect([feed.isOver, first.isOver]).toEqual([false, false]);
    } finally {
      await feed.close();
      await first.close();
    }
  }, 60_000);
});
