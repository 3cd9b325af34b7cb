import { randomUUID } from 'node:crypto';
import { EVENTS, eventsIn, eventWith, TestService, tokenOf } from '../support/test-service';
import { trpcClient } from '../support/trpc-client';

describe('a PAGINATION_MAX_LIMIT below the usual page', () => {
  let service: TestService;
  let token: string;
  const organization = `org-${randomUUID()}`;

  beforeAll(async () => {
    service = await TestService.start({ REDIS_URL: '', PAGINATION_MAX_LIMIT: '20' });
    token = await tokenOf({ organizations: [organization] });
    const events = Array.from({ length: 30 }, () => eventWith({ organizationId: organization }));
    await service.post(`${EVENTS}/bulk`, token, { events });
  });
  afterAll(async () => {
    await service.stop();
    delete process.env['PAGINATION_MAX_LIMIT'];
  });

  it('is the default page, through every protocol', async () => {
    expect(eventsIn(await service.get(EVENTS, token))).toHaveLength(20);
    const members = 'edges { node { id } } pageInfo { hasNextPage }';
    for (const pagination of ['', '(pagination: { offset: 0 })', '(pagination: { limit: 20 })']) {
      const query = `{ optimizedAuditEvents${pagination} { ${members} } }`;
      const { json } = await service.post('/graphql', token, { query });
      expect(json).not.toHaveProperty('errors');
      expect(json.data.optimizedAuditEvents.edges).toHaveLength(20);
    }
    const { performance } = trpcClient(service.url, token);
    for (const input of [undefined, { pagination: { offset: 0 } }]) {
      expect((await performance.getOptimizedAuditEvents.query(input)).data).toHaveLength(20);
    }
  });

  it('refuses more', async () => {
    const answer = await service.get(`${EVENTS}?limit=21`, token);
    expect(answer.json.errors).toEqual([{ path: 'limit', message: 'must be at most 20' }]);
  });
});
