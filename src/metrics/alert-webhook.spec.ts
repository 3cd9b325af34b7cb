import { Logger } from '@nestjs/common';
import { until } from '../../test/integration/until.fixture';
import { WebhookReceiver } from '../../test/support/webhook-receiver';
import type { MonitoringConfig } from '../config/monitoring.config';
import { AlertBoard } from './alert-board';
import { AlertWebhook } from './alert-webhook';
import { MetricsRegistry } from './metrics.registry';

const LIMITS = { type: 'HIGH_MEMORY', severity: 'HIGH', source: 'memory' } as const;

describe('the webhook of alerts', () => {
  let receiver: WebhookReceiver;
  let board: AlertBoard;
  let webhook: AlertWebhook;
  let registry: MetricsRegistry;

  async function start(secret?: string, credentials = ''): Promise<void> {
    Logger.overrideLogger(false);
    receiver = new WebhookReceiver();
    const url = `${await receiver.start()}/hook`;
    const alertWebhookUrl = url.replace('://', `://${credentials}`);
    registry = new MetricsRegistry();
    board = new AlertBoard(registry);
    const config = { alertWebhookUrl, alertWebhookSecret: secret } as MonitoringConfig;
    webhook = new AlertWebhook(config, board, registry);
  }

  afterEach(async () => {
    webhook.onApplicationShutdown();
    await receiver.stop();
  });

  const raise = (description: string) =>
    board.take({
      ...LIMITS,
      level: 'bad',
      title: 'title',
      description,
      metadata: {},
      raiseAfter: 1,
      resolveAfter: 1,
    });
  const resolve = () =>
    board.take({
      ...LIMITS,
      level: 'good',
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
