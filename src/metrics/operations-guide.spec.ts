import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { monitoringConfig } from '../platform/config/settings';
import type { Finding } from './alert-state';
import {
  cacheRule,
  concurrencyRule,
  databaseRule,
  keySetRule,
  lossRule,
  memoryRule,
  partitionRule,
  poolRule,
  redisRule,
  slowRequestsRule,
  stallRule,
} from './alert-monitor';
import { messageSignature } from '../delivery/signed-sender';
import { ALERT_TYPES } from './dto/responses.dto';
import { NO_FIGURES } from './measurement-sources';
import { LatencyWindow } from './request-recorder';

const GUIDE = readFileSync(join(__dirname, '..', '..', 'docs', 'operations.md'), 'utf8');

describe('docs/operations.md', () => {
  const limits = monitoringConfig();
  const findings: Finding[] = [
    memoryRule({ used: 1, total: 2, percentage: 50, limit: 'heap' }, limits),
    cacheRule(NO_FIGURES.cache(), limits),
    concurrencyRule(NO_FIGURES.concurrency(), limits),
    slowRequestsRule(new LatencyWindow().read(), limits),
    poolRule(NO_FIGURES.pool()),
    databaseRule(true),
    redisRule(true),
    keySetRule(true),
    partitionRule([]),
    lossRule(NO_FIGURES.losses()),
    stallRule(false),
  ];

  it('has a row and an advice for every alert, with how often it is looked at', () => {
    expect(findings.map(({ type }) => type).sort()).toEqual([...ALERT_TYPES].sort());
    for (const { type, raiseAfter, resolveAfter } of findings) {
      const looks = `${raiseAfter} / ${resolveAfter}`;
      expect(GUIDE).toMatch(new RegExp(`^\\| \`${type}\` .*\\| ${looks} \\|$`, 'm'));
      expect(GUIDE).toMatch(new RegExp(`^#### ${type}$`, 'm'));
    }
  });

  it('names the limits that hold by default', () => {
    const { memoryAlertPercent, cacheHitRatioAlertPercent, concurrencyAlertPercent } = limits;
    expect(GUIDE).toContain(`\`MEMORY_ALERT_PERCENT\` (${memoryAlertPercent})`);
    expect(GUIDE).toContain(`\`CACHE_HIT_RATIO_ALERT_PERCENT\` (${cacheHitRatioAlertPercent})`);
    expect(GUIDE).toContain(`\`CONCURRENCY_ALERT_PERCENT\` (${concurrencyAlertPercent})`);
    expect(GUIDE).toContain(`\`ALERT_WINDOW_SECONDS\` (${limits.alertWindowSeconds})`);
    expect(GUIDE).toContain(`\`ALERT_INTERVAL_MS\` (${limits.alertIntervalMs / 1000} s)`);
  });

  it('shows how to tell a delivery of ours from others', () => {
    const [, example = ''] = /```js\n([^`]*isAuthentic[\s\S]*?)```/.exec(GUIDE) ?? [];
    // eslint-disable-next-line @typescript-eslint/no-implied-eval -- it is what users are told to run
    const make = new Function('require', `${example}; return isAuthentic;`) as (
      require: NodeJS.Require,
    ) => (secret: string, signature: string, body: Buffer) => boolean;
    const isAuthentic = make(createRequire(__filename));
    const now = Math.floor(Date.now() / 1000);
    const body = '{"title":"Ünë"}';
    const signature = messageSignature('secret', now, body);
    expect(isAuthentic('secret', signature, Buffer.from(body))).toBe(true);
    expect(isAuthentic('other', signature, Buffer.from(body))).toBe(false);
    expect(isAuthentic('secret', signature, Buffer.from(`${body} `))).toBe(false);
    expect(
      isAuthentic('secret', signature.replace(`t=${now}`, `t=${now + 1}`), Buffer.from(body)),
    ).toBe(false);
    const old = messageSignature('secret', now - 301, body);
    expect(isAuthentic('secret', old, Buffer.from(body))).toBe(false);
    expect(isAuthentic('secret', '', Buffer.from(body))).toBe(false);
  });
});
