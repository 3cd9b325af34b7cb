import { createHmac } from 'node:crypto';
import { until } from '../integration/until.fixture';
import { EVENTS, TestService, tokenOf } from '../support/test-service';
import { WebhookReceiver } from '../support/webhook-receiver';

const ALERTS = '/api/v1/performance/alerts';
const SECRET = 'the receiver knows this too';

describe('alerts', () => {
  const receiver = new WebhookReceiver();
  let service: TestService;
  let operator: string;
  let reader: string;
  let log = '';

  beforeAll(async () => {
    const url = await receiver.start();
    jest.spyOn(process.stdout, 'write').mockImplementation((text) => (log += String(text)) !== '');
    service = await TestService.start({
      ALERT_WEBHOOK_URL: `${url}/hooks/path-that-is-a-secret`,
      ALERT_WEBHOOK_SECRET: SECRET,
      ALERT_INTERVAL_MS: '100',
      ALERT_WINDOW_SECONDS: '6',
      // Every request is slow.
      SLOW_REQUEST_THRESHOLD_MS: '1',
      LOG_LEVEL: 'info',
      LOG_FORMAT: 'json',
      REQUEST_TIMEOUT_MS: '30000',
    });
    operator = await tokenOf({ scope: 'performance:read' });
    reader = await tokenOf();
  });

  afterAll(async () => {
    await service?.stop();
    await receiver.stop();
    jest.restoreAllMocks();
    delete process.env.ALERT_WEBHOOK_URL;
    delete process.env.ALERT_WEBHOOK_SECRET;
  });

  const deliveriesOf = (type: string) =>
    receiver.deliveries.filter(({ body }) => (JSON.parse(body) as { type: string }).type === type);

  it('raise one for two hundred slow requests, post it signed, and resolve it', async () => {
    // The first delivery fails: it is tried again.
    receiver.reactions.push(500);
    for (let round = 0; round < 200; round += 1) {
      await service.get(`${EVENTS}?limit=${1 + (round % 500)}&offset=${round}`, reader, {
        'cache-control': 'no-cache',
      });
    }
    await until(() => deliveriesOf('SLOW_REQUESTS').length >= 2);
    const active = await service.get(`${ALERTS}?state=active`, operator);
    expect(active.json).toEqual([
      {
        id: expect.any(String),
        severity: expect.stringMatching(/MEDIUM|HIGH/),
        type: 'SLOW_REQUESTS',
        title: 'Requests are slow',
        description: expect.stringMatching(/^\d+ of \d+ requests of the last \d s took 1 ms/),
        timestamp: expect.any(String),
        source: 'requests',
        metadata: expect.objectContaining({ thresholdMs: 1 }),
      },
    ]);
    const [raised] = active.json;
    await until(() => deliveriesOf('SLOW_REQUESTS').length >= 3);
    const [, posted, over] = deliveriesOf('SLOW_REQUESTS');
    expect(JSON.parse(posted?.body ?? '')).toEqual(raised);
    expect(JSON.parse(over?.body ?? '')).toEqual({ ...raised, resolvedAt: expect.any(String) });
    for (const delivery of [posted, over]) {
      const signature = String(delivery?.headers['x-audit-signature']);
      const [, seconds = '', mac] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(signature) ?? [];
      expect(Math.abs(Date.now() / 1000 - Number(seconds))).toBeLessThan(60);
      const expected = createHmac('sha256', SECRET).update(`${seconds}.${delivery?.body}`);
      expect(mac).toBe(expected.digest('hex'));
    }
    expect((await service.get(`${ALERTS}?state=active`, operator)).json).toEqual([]);
    expect((await service.get(ALERTS, operator)).json).toEqual([
      { ...raised, resolvedAt: expect.any(String) },
    ]);
    const { text } = await service.get('/metrics');
    expect(text).toMatch(/^audit_alerts_raised_total\{type="SLOW_REQUESTS"\} 1$/m);
    expect(text).toMatch(/^audit_alerts_active\{type="SLOW_REQUESTS",severity="\w+"\} 0$/m);
    expect(text).toMatch(/^audit_alert_webhook_deliveries_total\{outcome="delivered"\} 2$/m);
  });

  it('are logged, without what is secret', () => {
    expect(log).toMatch(/SLOW_REQUESTS: \d+ of \d+ requests/);
    expect(log).toContain('SLOW_REQUESTS is over.');
    expect(log).not.toContain(SECRET);
    expect(log).not.toContain('path-that-is-a-secret');
  });
});
