import { randomUUID } from 'node:crypto';
import type { Client } from 'pg';
import { runMigrations } from '../../src/platform/database/migrate';
import { until } from '../integration/until.fixture';
import { GraphqlSubscriber } from '../support/graphql-subscriber';
import { protocolsOf } from '../support/protocols';
import { TailClient } from '../support/tail-client';
import { EVENTS, eventsIn, eventWith, TestService, tokenOf } from '../support/test-service';
import { describeWithPsql, ThreeRoles } from '../support/three-roles';
import { trpcClient } from '../support/trpc-client';

const PERFORMANCE = '/api/v1/performance';

describeWithPsql()('a service with the role of servers', () => {
  let roles: ThreeRoles;
  let service: TestService;
  let admin: Client;
  let token: string;

  beforeAll(async () => {
    roles = await ThreeRoles.create();
    await roles.grant();
    await runMigrations(roles.url('owner'));
    service = await TestService.start({ RETENTION_DAYS: '30', STREAMING_SELF_AUDIT: 'true' }, () =>
      Promise.resolve(roles.url('server')),
    );
    admin = await roles.connect();
    token = await tokenOf({
      scope: 'audit:read audit:write audit:export performance:read performance:manage',
      organizations: ['*'],
    });
  }, 60_000);

  afterAll(async () => {
    await service?.stop();
    await admin?.end();
    await roles?.drop();
    delete process.env['RETENTION_DAYS'];
    delete process.env['STREAMING_SELF_AUDIT'];
  });

  it('connects as that role alone', async () => {
    const { rows } = await admin.query<{ role: string }>(
      `SELECT DISTINCT usename::text AS role FROM pg_stat_activity
       WHERE datname = current_database() AND starts_with(application_name, 'audit-server')`,
    );
    expect(rows).toEqual([{ role: roles.names.server }]);
  });

  it('writes and reads through each protocol, with chosen ids and in any month', async () => {
    for (const [name, protocol] of Object.entries(protocolsOf(service))) {
      const organizationId = `org-${randomUUID()}`;
      const events = ['2026-11-05', '2024-02-01', '1999-01-01', '1970-01-01'].map((day) =>
        eventWith({ organizationId, id: randomUUID(), timestamp: `${day}T00:00:00Z` }),
      );
      const text = JSON.stringify(events);
      expect([name, await protocol.write(text, token)]).toEqual([
        name,
        expect.objectContaining({ created: 4 }),
      ]);
      expect(await protocol.write(text, token)).toMatchObject({ created: 0, duplicates: 4 });
      const found = await protocol.find({ filter: { organizationIds: [organizationId] } }, token);
      expect([name, found.events?.length]).toEqual([name, 4]);
    }
  });

  it('keeps idempotency keys', async () => {
    const headers = { 'idempotency-key': randomUUID() };
    const first = await service.post(EVENTS, token, eventWith(), headers);
    const again = await service.post(EVENTS, token, eventWith(), headers);
    expect([first.status, again.status]).toEqual([201, 201]);
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    expect(again.text).toBe(first.text);
  });

  it('takes NDJSON, and feeds what is written to every kind of reader', async () => {
    const organizationId = `org-${randomUUID()}`;
    const tail = await TailClient.open(`${service.url}${EVENTS}/tail`, {
      authorization: `Bearer ${token}`,
    });
    const subscriber = GraphqlSubscriber.open(
      service.url,
      { authorization: `Bearer ${token}` },
      'subscription { auditEventRecorded { organizationId } }',
    );
    const lines = [1, 2, 3]
      .map(() => `${JSON.stringify(eventWith({ organizationId }))}\n`)
      .join('');
    await until(async () => {
      const { status, text } = await service.request('POST', `${EVENTS}/bulk`, {
        token,
        headers: { 'content-type': 'application/x-ndjson' },
        body: lines,
      });
      expect([status, text]).toEqual([200, expect.stringContaining('"created":3')]);
      return tail.events.length > 0 && subscriber.data.length > 0;
    });
    await tail.close();
    await subscriber.close();
    expect(subscriber.errors).toEqual([]);
  });

  it('streams through tRPC', async () => {
    const events = await trpcClient(service.url, token).performance.streamAuditEvents.query({});
    let count = 0;
    for await (const { id } of events) count += id ? 1 : 0;
    expect(count).toBeGreaterThan(4);
  });

  it.each(['json', 'ndjson', 'csv'])('exports %s, and records that', async (format) => {
    const answer = await service.get(`${EVENTS}/stream?format=${format}`, token);
    expect(answer.status).toBe(200);
    expect(answer.text.length).toBeGreaterThan(1000);
    await until(async () => {
      const page = await service.get(`${EVENTS}?actions=audit.export`, token, {
        'cache-control': 'no-cache',
      });
      return eventsIn(page).length > 0;
    });
  });

  it('is healthy, reports, and optimizes what it may', async () => {
    for (const path of ['/health', '/health/ready', '/metrics']) {
      expect([path, (await service.get(path, token)).status]).toEqual([path, 200]);
    }
    const health = await service.get('/health', token);
    expect(health.json.details.partitions.status).toBe('up');
    for (const path of ['metrics', 'health', 'alerts', 'cache/stats', 'database/health']) {
      const answer = await service.get(`${PERFORMANCE}/${path}`, token);
      expect([path, answer.status]).toEqual([path, 200]);
    }
    const report = await service.get(`${PERFORMANCE}/database/performance-report`, token);
    expect(report.json.partitions.totalPartitions).toBeGreaterThan(4);
    const optimized = await service.post(`${PERFORMANCE}/database/optimize`, token, {});
    expect(optimized.status).toBe(200);
    expect(optimized.json.indexOptimization[0]).toMatchObject({
      action: 'skipped',
      reason: expect.stringContaining(`The role ${roles.names.server} is no member of`),
    });
    const warmed = await service.post(`${PERFORMANCE}/cache/warmup`, token, {});
    expect(warmed.status).toBe(200);
  });
});

describeWithPsql()('a service whose role lacks privileges', () => {
  it('does not start, and names them with what grants them', async () => {
    const roles = await ThreeRoles.create();
    try {
      await roles.grant();
      await runMigrations(roles.url('owner'));
      const owner = await roles.connect('owner');
      await owner.query(
        `REVOKE UPDATE ON audit_organization FROM ${roles.names.server};
         REVOKE EXECUTE ON FUNCTION audit_event_finish_detaching(oid) FROM ${roles.names.server}`,
      );
      await owner.end();
      await expect(
        TestService.start({}, () => Promise.resolve(roles.url('server'))),
      ).rejects.toThrow(
        /lacks privileges \(UPDATE on audit_organization; EXECUTE on audit_event_finish_detaching\(oid\)\): run deploy\/postgresql\/roles.sql/,
      );
    } finally {
      await roles.drop();
    }
  });
});
