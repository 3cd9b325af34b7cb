import type { Client } from 'pg';
import { FairScheduler } from '../../src/concurrency/fair-scheduler';
import { until } from '../integration/until.fixture';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';
import { allowEventChanges } from '../support/event-changes';

const FRESH = { 'cache-control': 'no-cache' };

let service: TestService;
let admin: Client;
let token: string;

beforeAll(async () => {
  service = await TestService.start();
  token = await tokenOf();
  admin = await service.connect();
});

afterAll(async () => {
  await admin.end();
  await service.stop();
});

// So that a case that has failed keeps nobody waiting.
afterEach(() => admin.query('ROLLBACK'));

/** How many statements wait for a lock. */
async function waiting(): Promise<number> {
  const { rows } = await admin.query<{ n: number }>(
    `SELECT count(*)::int AS n FROM pg_locks WHERE NOT granted AND database = (
       SELECT oid FROM pg_database WHERE datname = current_database())`,
  );
  return rows[0]?.n ?? 0;
}

/** Stores one more event like those that are there, and moves the version. */
async function commitOneMore(): Promise<void> {
  await admin.query(
    `CREATE TEMP TABLE one ON COMMIT DROP AS SELECT * FROM audit_event ORDER BY sequence DESC LIMIT 1`,
  );
  await admin.query(`UPDATE one SET id = gen_random_uuid(), sequence = sequence + 1`);
  await admin.query(`INSERT INTO audit_event SELECT * FROM one`);
  await admin.query(
    `UPDATE audit_organization SET last_sequence = last_sequence + 1, recorded_at = clock_timestamp()`,
  );
  await admin.query('COMMIT');
}

it.each([
  ['a page', () => `${EVENTS}?limit=9`],
  ['an event', (id: string) => `${EVENTS}/${id}`],
])('%s has its permit before the version is known, and is read after it', async (_, pathOf) => {
  const stored = await service.post(EVENTS, token, eventWith());
  const id = String(stored.json.id);
  const path = pathOf(id);
  const isPage = !path.endsWith(id);
  await admin.query('BEGIN');
  await admin.query('LOCK TABLE audit_organization IN ACCESS EXCLUSIVE MODE');
  const asked = service.get(path, token, FRESH);
  await until(async () => (await waiting()) > 0);
  await new Promise((resolve) => setTimeout(resolve, 100)); // who does not wait for the version has read by now
  expect(service.provider(FairScheduler).statistics().active).toBe(1);
  await allowEventChanges(admin);
  if (!isPage) await admin.query(`UPDATE audit_event SET action = 'test.seen' WHERE id = $1`, [id]);
  await commitOneMore();
  const answer = await asked;
  expect(answer.status).toBe(200);
  const sequences = () => (answer.json.data as { sequence: string }[]).map((e) => e.sequence);
  if (isPage) expect(sequences()).toContain(String(Number(stored.json.sequence) + 1));
  else expect(answer.json.action).toBe('test.seen');
  const kept = await service.get(path, token);
  expect(kept.headers.get('x-cache')).toBe('HIT');
  expect(kept.text).toBe(answer.text);
});
