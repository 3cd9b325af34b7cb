import { randomUUID } from 'node:crypto';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

/**
 * Replicas of this version go on while the migrations of a later one add columns: PostgreSQL refuses a prepared
 * statement whose result would change, on every connection that has it.
 */
describe('columns that a later version adds', () => {
  let service: TestService;

  beforeAll(async () => {
    service = await TestService.start({ DATABASE_POOL_MAX: '1', CACHE_ENABLED: 'false' });
  });
  afterAll(async () => {
    await service?.stop();
    for (const name of ['DATABASE_POOL_MAX', 'CACHE_ENABLED']) delete process.env[name];
  });

  async function statusesOfEveryUse(): Promise<Record<string, number>> {
    const token = await tokenOf({ scope: 'audit:read audit:write audit:export' });
    const id = randomUUID();
    const one = eventWith({ id });
    const key = { 'idempotency-key': randomUUID() };
    const uses: [string, () => Promise<{ status: number }>][] = [
      ['write', () => service.post(EVENTS, token, eventWith())],
      ['bulk', () => service.post(`${EVENTS}/bulk`, token, { events: [eventWith(), eventWith()] })],
      ['client id', () => service.post(EVENTS, token, one)],
      ['duplicate', () => service.post(EVENTS, token, one)],
      ['first with a key', () => service.post(EVENTS, token, eventWith({ action: 'a' }), key)],
      ['replay', () => service.post(EVENTS, token, eventWith({ action: 'a' }), key)],
      ['page', () => service.get(`${EVENTS}?limit=2&include_total=true`, token)],
      ['page by sequence', () => service.get(`${EVENTS}?limit=2&sort_field=sequence`, token)],
      ['event', () => service.get(`${EVENTS}/${id}`, token)],
      ['export', () => service.get('/api/v1/audit/events/stream?format=ndjson', token)],
      ['ticket', () => service.post('/api/v1/auth/tickets', token, undefined)],
    ];
    const statuses: Record<string, number> = {};
    for (const [name, use] of uses) statuses[name] = (await use()).status;
    return statuses;
  }

  it('fail no statement that is prepared', async () => {
    const before = await statusesOfEveryUse();
    expect(Object.entries(before).filter(([, status]) => status >= 300)).toEqual([]);
    const admin = await service.connect();
    const { rows } = await admin.query<{ name: string }>(
      `SELECT oid::regclass::text AS name FROM pg_class
       WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition`,
    );
    for (const { name } of rows) await admin.query(`ALTER TABLE ${name} ADD COLUMN later text`);
    await admin.end();

    expect(rows.map(({ name }) => name)).toContain('idempotency_record');
    expect(await statusesOfEveryUse()).toEqual(before);
  });
});
