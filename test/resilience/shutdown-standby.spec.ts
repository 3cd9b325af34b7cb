import { Client } from 'pg';
import {
  type Build,
  buildService,
  type ServiceProcess,
  startServiceProcess,
  tokenFor,
} from '../integration/service.fixture';
import { until } from '../integration/until.fixture';
import {
  describeWithPostgresPrograms,
  startStreamingPair,
  type StreamingPair,
} from '../support/streaming-pair';
import { EVENTS, eventWith } from '../support/test-service';

describeWithPostgresPrograms()('a service that is told to stop while a standby is away', () => {
  let pair: StreamingPair;
  let build: Build;
  let admin: Client;
  let service: ServiceProcess;

  beforeAll(async () => {
    pair = await startStreamingPair({ synchronous: true });
    build = await buildService();
    admin = new Client({ connectionString: pair.primaryUrl });
    await admin.connect();
    service = await startServiceProcess(build, pair.primaryUrl, {
      REQUEST_TIMEOUT_MS: '1000',
      SHUTDOWN_TIMEOUT_MS: '6000',
    });
  }, 120_000);

  afterAll(async () => {
    await service?.end('SIGKILL');
    await admin?.end();
    pair?.stop();
    await build?.remove();
  });

  it('says that the outcome of a commit that waits is unknown, gives it up and ends with 0', async () => {
    const token = await tokenFor({ scopes: ['audit:read', 'audit:write'] });
    const write = () =>
      fetch(`${service.url}${EVENTS}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify(eventWith({ organizationId: 'org-1' })),
      });
    expect((await write()).status).toBe(201);
    pair.freezeStandby();
    const waiting = write();
    await until(async () => {
      const { rowCount } = await admin.query(
        `SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = 'audit-server'`,
      );
      return rowCount === 1;
    });
    const ended = service.end('SIGTERM');
    const answer = await waiting;
    expect(answer.status).toBe(503);
    expect(await answer.text()).toMatch(/not known whether this was stored/);
    expect(await ended).toEqual({ code: 0, signal: null });
    expect(service.unhandled()).toEqual([]);
  }, 60_000);
});
