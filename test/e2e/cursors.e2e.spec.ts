import * as fc from 'fast-check';
import { expectProblem } from '../support/problem';
import { type Answer, EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

let service: TestService;

beforeAll(async () => {
  service = await TestService.start();
  const events = ['org-1', 'org-2'].flatMap((organizationId) =>
    ['a', 'b', 'c'].flatMap((action) => Array(4).fill(eventWith({ organizationId, action }))),
  );
  await service.post(`${EVENTS}/bulk`, await tokenOf({ organizations: ['*'] }), { events });
});

afterAll(() => service.stop());

async function page(token: string, query: Record<string, string>): Promise<Answer> {
  const answer = await service.get(`${EVENTS}?${new URLSearchParams(query).toString()}`, token);
  expect({ status: answer.status, text: answer.text.slice(0, 500) }).toMatchObject({ status: 200 });
  return answer;
}

describe('a cursor', () => {
  const query = { limit: '3', actions: 'a,b', sort_field: 'timestamp', sort_direction: 'desc' };
  let cursor: string;
  let token: string;

  beforeAll(async () => {
    token = await tokenOf({ organizations: ['org-1', 'org-2'] });
    cursor = (await page(token, query)).json.pagination.nextCursor;
  });

  const refused = async (who: string, changed: Record<string, string>, code = 'INVALID_CURSOR') => {
    const parameters = new URLSearchParams({ ...query, cursor, ...changed }).toString();
    expectProblem(await service.get(`${EVENTS}?${parameters}`, who), 400, code);
  };

  it('is good again for the same query, however that is spelt, and for another token of the same principal', async () => {
    const other = await tokenOf({ organizations: ['org-2', 'org-1'], iat: 1 });
    const { text } = await page(token, { ...query, cursor });
    const spelt = { limit: '3', actions: 'b,a,a', organization_ids: 'org-2,org-1', cursor };
    expect((await page(other, spelt)).text).toBe(text);
    expect((await page(token, { ...query, limit: '1', cursor })).json.data).toHaveLength(1);
  });

  it('of another principal, filter, sort or set of organizations is refused', async () => {
    await refused(await tokenOf({ sub: 'mallory', organizations: ['org-1', 'org-2'] }), {});
    await refused(await tokenOf({ organizations: ['org-1'] }), {});
    await refused(await tokenOf({ organizations: ['*'] }), {});
    await refused(token, { organization_ids: 'org-1' });
    await refused(token, { actions: 'a' });
    await refused(token, { statuses: 'success' });
    await refused(token, { start_date: '2020-01-01' });
    await refused(token, { end_date: '2030-01-01' });
    await refused(token, { sort_direction: 'asc' });
    await refused(token, { sort_field: 'sequence' });
  });

  it('with any one character changed, cut off or added is refused', async () => {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ .';
    await fc.assert(
      fc.asyncProperty(
        fc.nat(cursor.length),
        fc.nat(1),
        fc.constantFrom(...alphabet, ''),
        async (at, cut, put) => {
          const changed = `${cursor.slice(0, at)}${put}${cursor.slice(at + cut)}`;
          fc.pre(changed !== cursor);
          await refused(token, { cursor: changed });
        },
      ),
      { numRuns: 100 },
    );
  });

  it('made of garbage is refused', async () => {
    for (const garbage of [
      'x',
      'null',
      '{}',
      '0',
      'A'.repeat(4096),
      '\u2028',
      '../..',
      cursor.repeat(2),
    ]) {
      await refused(token, { cursor: garbage });
    }
    await refused(token, { cursor: '' }, 'VALIDATION_FAILED');
    await refused(token, { cursor: 'A'.repeat(4097) }, 'VALIDATION_FAILED');
    await refused(token, { cursor: 'a\0b' }, 'VALIDATION_FAILED');
    await refused(token, { offset: '0' }, 'VALIDATION_FAILED');
  });
});

describe('a total', () => {
  it('is exact up to 10 000 and says so when it is not', async () => {
    const organizationId = 'org-many';
    const token = await tokenOf({ organizations: [organizationId] });
    const events = Array.from({ length: 9_999 }, () => ({
      organizationId,
      action: 'a',
      status: 'success',
    }));
    const totals = async () =>
      (await page(token, { include_total: 'true', limit: '1' })).json.pagination;
    expect((await service.post(`${EVENTS}/bulk`, token, { events })).status).toBe(201);
    expect(await totals()).toMatchObject({ total: 9_999, totalIsExact: true });
    await service.post(EVENTS, token, events[0]);
    expect(await totals()).toMatchObject({ total: 10_000, totalIsExact: true });
    await service.post(EVENTS, token, events[0]);
    expect(await totals()).toMatchObject({ total: 10_000, totalIsExact: false });
    expect((await page(token, { include_total: 'false' })).json.pagination).not.toHaveProperty(
      'total',
    );
  });
});
