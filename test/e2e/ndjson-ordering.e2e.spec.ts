import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'pg';
import { AuditWriter } from '../../src/audit/write/audit-writer';
import { until } from '../integration/until.fixture';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

const MAX_EVENTS = 150;
/** What has a transaction to itself, and how many of these there are at once: AuditWriter. */
const [LARGE, LARGE_TRANSACTIONS] = [101, 2];

let service: TestService;
let admin: Client;

beforeAll(async () => {
  service = await TestService.start({ BULK_MAX_EVENTS: String(MAX_EVENTS) });
  admin = await service.connect();
});

afterAll(async () => {
  await admin.end();
  await service.stop();
  delete process.env.BULK_MAX_EVENTS;
});

it('the events of one body of NDJSON are recorded in the order of its lines, whichever writes run beside it', async () => {
  const others = ['a', 'b'];
  expect(others).toHaveLength(LARGE_TRANSACTIONS);
  const token = await tokenOf({ organizations: [...others, 'org-1'] });
  const eventsOf = (organizationId: string, count: number) =>
    Array.from({ length: count }, () => eventWith({ organizationId }));
  for (const id of others) await service.post(EVENTS, token, eventWith({ organizationId: id }));
  const writer = service.provider(AuditWriter);

  await admin.query('BEGIN; SELECT FROM audit_organization FOR UPDATE');
  const bulks = others.map((id) =>
    service.post(`${EVENTS}/bulk`, token, { events: eventsOf(id, LARGE) }),
  );
  await until(() => writer.statistics().runningTransactions === LARGE_TRANSACTIONS);
  // The first of its transactions is a large one and waits; the last is a small one, for which there would be room.
  const lines = eventsOf('org-1', MAX_EVENTS + 10).map((event) => JSON.stringify(event));
  const body = service.post(`${EVENTS}/bulk`, token, lines.join('\n'), {
    'content-type': 'application/x-ndjson',
  });
  await until(() => writer.statistics().waitingEvents === MAX_EVENTS);
  await sleep(500); // enough for the last to be stored, were it not to wait
  await admin.query('ROLLBACK');

  const receipts = (await body).text.trimEnd().split('\n').slice(0, -1);
  const sequences = receipts.map((text) =>
    Number((JSON.parse(text) as { sequence: string }).sequence),
  );
  expect(sequences).toEqual(lines.map((_, index) => index + 1));
  expect((await Promise.all(bulks)).map(({ status }) => status)).toEqual([201, 201]);
});
