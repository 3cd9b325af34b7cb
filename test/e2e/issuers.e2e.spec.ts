import { randomUUID } from 'node:crypto';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

const ISSUERS = ['https://one.example', 'https://two.example'];

let service: TestService;
beforeAll(async () => {
  service = await TestService.start({
    AUTH_ISSUER: ISSUERS.join(','),
    RATE_LIMIT_ENABLED: 'true',
    RATE_LIMIT_REQUESTS: '3',
    RATE_LIMIT_WINDOW_SECONDS: '600',
    SUBSCRIPTIONS_MAX_PER_PRINCIPAL: '1',
  });
});
afterAll(async () => {
  await service.stop();
  Object.assign(process.env, { RATE_LIMIT_ENABLED: 'false' });
  for (const name of [
    'RATE_LIMIT_REQUESTS',
    'RATE_LIMIT_WINDOW_SECONDS',
    'SUBSCRIPTIONS_MAX_PER_PRINCIPAL',
  ]) {
    delete process.env[name];
  }
});

const [one = '', two = ''] = ISSUERS;

describe.each([
  ['issuers', { iss: one }, { iss: two }],
  ['tenants of an issuer', { iss: one, tid: 'a' }, { iss: one, tid: 'b' }],
  ['a tenant and no tenant', { iss: two, tid: 'a' }, { iss: two }],
])('the same sub of two %s', (_, first, second) => {
  const sub = randomUUID();
  const key = randomUUID();

  it('is two principals, with idempotency keys and a rate limit of their own', async () => {
    const tokens = [await tokenOf({ ...first, sub }), await tokenOf({ ...second, sub })];
    const write = (token: string) =>
      service.post(EVENTS, token, eventWith(), { 'idempotency-key': key });
    const stored = [];
    for (const token of tokens) stored.push(await write(token));
    expect(stored.map(({ status }) => status)).toEqual([201, 201]);
    expect(stored[0]?.json.id).not.toBe(stored[1]?.json.id);
    for (const [index, token] of tokens.entries()) {
      const again = await write(token);
      expect(again.headers.get('idempotency-replayed')).toBe('true');
      expect(again.text).toBe(stored[index]?.text);
      expect(again.headers.get('ratelimit')).toContain('r=1;');
    }
    const other = await service.post(EVENTS, tokens[0] ?? '', eventWith({ action: 'other' }), {
      'idempotency-key': key,
    });
    expect(other.status).toBe(422);
    expect((await write(tokens[0] ?? '')).status).toBe(429);
    expect((await write(tokens[1] ?? '')).status).toBe(201);
  });

  it('has unused tickets of its own', async () => {
    const other = randomUUID();
    const tokens = [
      await tokenOf({ ...first, sub: other }),
      await tokenOf({ ...second, sub: other }),
    ];
    const statuses = [];
    for (const token of [...tokens, ...tokens]) {
      statuses.push((await service.post('/api/v1/auth/tickets', token, '')).status);
    }
    expect(statuses).toEqual([201, 201, 429, 429]);
  });
});

describe('a row of an earlier version', () => {
  it('is replayed byte for byte, also to an earlier version', async () => {
    const [sub, key] = [randomUUID(), randomUUID()];
    const token = await tokenOf({ iss: one, sub });
    const stored = await service.post(EVENTS, token, eventWith(), { 'idempotency-key': key });
    const client = await service.connect();
    const earlier = 'SELECT body FROM idempotency_key WHERE subject = $1 AND key = $2';
    expect((await client.query(earlier, [sub, key])).rows).toEqual([{ body: stored.text }]);
    await client.query(`UPDATE idempotency_record SET scope = '' WHERE subject = $1`, [sub]);
    const again = await service.post(EVENTS, token, eventWith(), { 'idempotency-key': key });
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    expect(again.text).toBe(stored.text);
    await client.end();
  });
});
