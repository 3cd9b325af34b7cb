import { Logger } from '@nestjs/common';
import { until } from '../../test/integration/until.fixture';
import { WebhookReceiver } from '../../test/support/webhook-receiver';
import type { MonitoringConfig } from '../platform/config/settings';
import { AlertState } from '../metrics/alert-state';
import { AlertWebhook } from './alert-webhook';
import { MetricRegistry } from '../metrics/metrics.registry';

const LIMITS = { type: 'HIGH_MEMORY', severity: 'HIGH', source: 'memory' } as const;

describe('the webhook of alerts', () => {
  let receiver: WebhookReceiver;
  let alerts: AlertState;
  let webhook: AlertWebhook;
  let registry: MetricRegistry;

  async function start(secret?: string, credentials = ''): Promise<void> {
    Logger.overrideLogger(false);
    receiver = new WebhookReceiver();
    const url = `${await receiver.start()}/hook`;
    const alertWebhookUrl = url.replace('://', `://${credentials}`);
    registry = new MetricRegistry();
    alerts = new AlertState(registry);
    const config = { alertWebhookUrl, alertWebhookSecret: secret } as MonitoringConfig;
    webhook = new AlertWebhook(config, alerts, registry);
  }

  afterEach(async () => {
    jest.restoreAllMocks();
    webhook.onApplicationShutdown();
    await receiver.stop();
  });

  const raise = (description: string) =>
    alerts.apply({
      ...LIMITS,
      level: 'breach',
      title: 'title',
      description,
      metadata: {},
      raiseAfter: 1,
      resolveAfter: 1,
    });
  const resolve = () =>
    alerts.apply({
      ...LIMITS,
      level: 'ok',
      title: '',
      description: '',
      metadata: {},
      raiseAfter: 1,
      resolveAfter: 1,
    });
  const texts = () =>
    receiver.deliveries.map(({ body }) => {
      const { description, resolvedAt } = JSON.parse(body) as Record<string, string>;
      return `${description} ${resolvedAt === undefined ? 'raised' : 'over'}`;
    });
  const counted = async (outcome: string) =>
    Number(
      new RegExp(`deliveries_total\\{outcome="${outcome}"\\} (\\d+)`).exec(
        (await registry.text()).text,
      )?.[1],
    );

  it('posts in order, unsigned without a secret, and takes its time between attempts', async () => {
    await start();
    receiver.reactions.push(503, 429);
    raise('first');
    resolve();
    await until(() => receiver.deliveries.length === 4);
    expect(texts()).toEqual(['first raised', 'first raised', 'first raised', 'first over']);
    const [one] = receiver.deliveries;
    expect(one).toMatchObject({ path: '/hook', headers: { 'content-type': 'application/json' } });
    expect(one?.headers).not.toHaveProperty('x-audit-signature');
    await until(async () => (await counted('delivered')) === 2);
  });

  it('follows no redirect and does not insist on what was refused for good', async () => {
    await start('secret');
    receiver.reactions.push(307, 400);
    raise('redirected');
    resolve();
    await until(async () => (await counted('failed')) === 2);
    expect(receiver.deliveries.map(({ path }) => path)).toEqual(['/hook', '/hook']);
  });

  it('takes no part of an answer but its status, however much there is', async () => {
    await start();
    // Ended not by its deadline, but because its body is not read.
    jest.spyOn(AbortSignal, 'timeout').mockReturnValue(new AbortController().signal);
    receiver.reactions.push('flood');
    raise('flooded');
    resolve();
    await until(async () => (await counted('delivered')) === 2);
    await until(() => receiver.cut === 1);
    // Of an endless response, only the buffers of two sockets are filled.
    expect(receiver.flooded).toBeLessThan(64 * 1024 * 1024);
  });

  // The clock is real; pauses are recorded and shortened.
  it('gives up a receiver that is silent or slow, after growing pauses, logs that, and continues', async () => {
    const pauses: number[] = [];
    const sleepFor = globalThis.setTimeout;
    jest.spyOn(globalThis, 'setTimeout').mockImplementation((work: () => void, ms = 0) => {
      const isPause = new Error().stack?.includes('SignedSender.pause') === true;
      if (isPause) pauses.push(ms);
      return sleepFor(work, isPause ? 0 : ms);
    });
    jest.spyOn(AbortSignal, 'timeout').mockImplementation((ms) => {
      timeouts.push(ms);
      const controller = new AbortController();
      sleepFor(() => controller.abort(new DOMException('', 'TimeoutError')), 100);
      return controller.signal;
    });
    const timeouts: number[] = [];
    await start();
    const error = jest.spyOn(Logger.prototype, 'error');
    receiver.reactions.push('silence', 'drip', 'silence', 'drip', 'silence', 'drip', 'silence');
    receiver.reactions.push('drip', 204);
    raise('hung');
    resolve();
    await until(async () => (await counted('delivered')) === 1);
    expect(await counted('failed')).toBe(1);
    expect(texts()).toEqual([...Array.from({ length: 8 }, () => 'hung raised'), 'hung over']);
    await until(() => receiver.cut === 8);
    expect(timeouts).toEqual(Array.from({ length: 9 }, () => 5000));
    expect(pauses).toHaveLength(7);
    for (const [attempt, ms] of pauses.entries()) {
      const longest = Math.min(30_000, 500 * 2 ** attempt);
      expect(ms).toBeGreaterThanOrEqual(longest / 2);
      expect(ms).toBeLessThanOrEqual(longest);
    }
    expect(error.mock.calls.map(([text]) => String(text))).toEqual([
      expect.stringMatching(/^Alert [-0-9a-f]{36} was not delivered to ALERT_WEBHOOK_URL.$/),
    ]);
  });

  it('sends user and password of the URL as basic authentication', async () => {
    await start(undefined, 'alerts:p%40ss@');
    raise('first');
    await until(() => receiver.deliveries.length === 1);
    const [one] = receiver.deliveries;
    const encoded = Buffer.from('alerts:p@ss').toString('base64');
    expect(one).toMatchObject({ path: '/hook', headers: { authorization: `Basic ${encoded}` } });
    await until(async () => (await counted('delivered')) === 1);
  });

  it('keeps no more than a hundred while its receiver is silent, and makes nobody wait', async () => {
    await start();
    receiver.reactions.push('silence');
    for (let round = 0; round < 80; round += 1) {
      raise(`alert ${round}`);
      resolve();
    }
    // One is on its way, a hundred wait.
    expect(await counted('dropped')).toBe(160 - 101);
    await until(() => receiver.deliveries.length === 1);
    webhook.onApplicationShutdown(); // in the middle of a delivery: nothing is waited for, nothing fails
  });
});
