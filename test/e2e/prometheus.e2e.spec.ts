import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { findFreePort } from '../../src/database/embedded-port';
import { describeWithPromtool, promtool } from '../support/promtool';
import { startTestRedis, type TestRedis } from '../support/redis-server';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

const DEPLOY = join(__dirname, '..', '..', 'deploy');
const RULES = join(DEPLOY, 'prometheus', 'audit-server.rules.yml');
const DASHBOARD = join(DEPLOY, 'grafana', 'dashboards', 'audit-server.json');

/** Known to every Prometheus, not to us. */
const BUILT_IN = new Set(['up']);
const WORDS = new Set(['and', 'or', 'unless', 'on', 'ignoring', 'by', 'without', 'bool']);

/** The series that a PromQL expression reads. */
function seriesIn(expression: string): string[] {
  const bare = expression
    .replace(/"[^"]*"/g, '')
    .replace(/\{[^}]*\}/g, '')
    .replace(/\[[^\]]*\]/g, '')
    .replace(/\b(?:by|without|on|ignoring)\s*\([^)]*\)/g, ' ')
    .replace(/\b[a-z_]+\s*\(/g, ' (');
  return (bare.match(/[a-zA-Z_:][a-zA-Z0-9_:]*/g) ?? []).filter((name) => !WORDS.has(name));
}

/** Every name that a scrape can be asked for. */
function namesIn(text: string): Set<string> {
  const names = new Set<string>();
  for (const [, name = '', type] of text.matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
    const suffixes = type === 'histogram' ? ['_bucket', '_sum', '_count'] : [''];
    for (const suffix of suffixes) names.add(`${name}${suffix}`);
  }
  return names;
}

describe('/metrics on a port of its own, of a service that has worked', () => {
  let service: TestService;
  let redis: TestRedis | undefined;
  let metricsUrl: string;
  let scrape: string;

  beforeAll(async () => {
    redis = await startTestRedis();
    const port = await findFreePort();
    service = await TestService.start({
      HOST: '127.0.0.1',
      METRICS_PORT: String(port),
      ...(redis ? { REDIS_URL: redis.url } : {}),
    });
    metricsUrl = `http://127.0.0.1:${port}/metrics`;
    const token = await tokenOf();
    for (let round = 0; round < 3; round += 1) {
      await service.post(EVENTS, token, eventWith());
      await service.get(EVENTS, token);
      await service.get('/nowhere');
    }
    scrape = await (await fetch(metricsUrl)).text();
  });

  afterAll(async () => {
    await service?.stop();
    await redis?.stop();
    delete process.env.METRICS_PORT;
    delete process.env.HOST;
    delete process.env.REDIS_URL;
  });

  it('is answered there alone', async () => {
    expect((await fetch(metricsUrl, { method: 'HEAD' })).status).toBe(200);
    expect((await fetch(metricsUrl, { method: 'POST' })).status).toBe(405);
    expect((await fetch(metricsUrl.replace('/metrics', '/health'))).status).toBe(404);
    const { status, json } = await service.get('/metrics');
    expect(status).toBe(404);
    expect(json).toMatchObject({ code: 'NOT_FOUND' });
  });

  it('has every series that dashboard and rules name', () => {
    const rules = readFileSync(RULES, 'utf8');
    const own = new Set([...rules.matchAll(/- record: (\S+)/g)].map(([, name]) => name));
    const dashboard = JSON.parse(readFileSync(DASHBOARD, 'utf8')) as {
      panels: { targets: { expr: string }[] }[];
    };
    const expressions = [
      ...[
        ...rules.matchAll(/expr:(?: >-)?((?:.|\n)*?)\n(?:\s*(?:for|labels|annotations|- \w+):|$)/g),
      ].map(([, expression = '']) => expression),
      ...dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
    ];
    expect(expressions.length).toBeGreaterThan(40);
    const named = new Set(expressions.flatMap(seriesIn));
    expect(named.size).toBeGreaterThan(20);
    const there = namesIn(scrape);
    const missing = [...named].filter(
      (name) => !there.has(name) && !own.has(name) && !BUILT_IN.has(name),
    );
    expect(missing).toEqual([]);
  });

  it('shows that the check above sees what is missing', () => {
    expect(
      seriesIn('sum by (a, b) (rate(x_total{c="d"}[5m])) / on (e) group_left y > 0.5'),
    ).toEqual(['x_total', 'group_left', 'y']);
    expect(namesIn('# TYPE a histogram\na_bucket 1\n')).toEqual(
      new Set(['a_bucket', 'a_sum', 'a_count']),
    );
  });

  it('holds nothing of what was written', () => {
    expect(scrape).not.toMatch(/org-1|test\.run|alice|nowhere/);
  });

  const describePromtool = describeWithPromtool();

  describePromtool('by the judgement of promtool', () => {
    it('is without fault', () => {
      expect(promtool(['check', 'metrics'], scrape)).toBe('');
    });

    it('and so are the alert rules and the scrape configuration', () => {
      expect(promtool(['check', 'rules', RULES])).toBe('');
      expect(promtool(['check', 'config', join(DEPLOY, 'prometheus', 'prometheus.yml')])).toBe('');
    });
  });
});
