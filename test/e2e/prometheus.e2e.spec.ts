import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import { findFreePort } from '../../src/platform/database/embedded/embedded-postgres';
import { until } from '../integration/until.fixture';
import { describeWithPromtool, promtool } from '../support/promtool';
import { startTestRedis, type TestRedis } from '../support/redis-server';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

const DEPLOY = join(__dirname, '..', '..', 'deploy');
const RULES = join(DEPLOY, 'prometheus', 'audit-server.rules.yml');
const AUTOSCALER = join(DEPLOY, 'kubernetes', 'components', 'queue-metric', 'queued-requests.yaml');
const OPERATIONS = join(__dirname, '..', '..', 'docs', 'operations.md');
const DASHBOARD = join(DEPLOY, 'grafana', 'dashboards', 'audit-server.json');

/** Known to every Prometheus, not to us. */
const BUILT_IN = new Set(['up']);
/** Put on by Prometheus, or there on every histogram. */
const BUILT_IN_LABELS = new Set(['job', 'instance', 'le']);
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

/** The labels by which expressions choose or group, `series label`, of series that have samples without them. */
function strangeLabelsIn(expressions: string[], scrape: string): string[] {
  const strange = new Set<string>();
  for (const expression of expressions) {
    for (const { 1: name = '', 2: selector = '', index } of expression.matchAll(
      /([a-z_:]+)\{([^}]*)\}/g,
    )) {
      const chosen = [...selector.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)].map(
        ([, label = '']) => label,
      );
      // The nearest grouping before a series is its own.
      const groupings = [...expression.slice(0, index).matchAll(/\bby\s*\(([^)]*)\)/g)];
      const grouped = groupings.at(-1)?.[1]?.split(',') ?? [];
      const samples = scrape.split('\n').filter((line) => /^[a-z_:]+/.exec(line)?.[0] === name);
      for (const label of [...chosen, ...grouped].map((each) => each.trim())) {
        const isThere = samples.some((line) => line.includes(`${label}="`));
        if (samples.length > 0 && !BUILT_IN_LABELS.has(label) && !isThere) {
          strange.add(`${name} ${label}`);
        }
      }
    }
  }
  return [...strange];
}

/** Type and labels of each metric of a scrape. */
function metricsIn(scrape: string): Map<string, { type: string; labels: string[] }> {
  const metrics = new Map<string, { type: string; labels: string[] }>();
  for (const [, name = '', type = ''] of scrape.matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
    const samples = scrape.matchAll(new RegExp(`^${name}(?:_bucket|_sum|_count)?\\{(.*)\\}`, 'gm'));
    const labels = [...samples].flatMap(([, text = '']) =>
      [...text.matchAll(/(\w+)="/g)].map(([, label = '']) => label),
    );
    metrics.set(name, {
      type,
      labels: [...new Set(labels)].filter((label) => label !== 'le').sort(),
    });
  }
  return metrics;
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
    await until(async () => {
      scrape = await (await fetch(metricsUrl)).text();
      return scrape.includes('audit_alerts_active{'); // they are looked at every two seconds
    });
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

  const rules = readFileSync(RULES, 'utf8');
  const ruleExpressions = (
    parse(rules) as { groups: { rules: { expr: string }[] }[] }
  ).groups.flatMap((group) => group.rules.map(({ expr }) => expr));
  const dashboardExpressions = (
    JSON.parse(readFileSync(DASHBOARD, 'utf8')) as { panels: { targets: { expr: string }[] }[] }
  ).panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
  const [, watched = ''] =
    /### Which metrics to watch\n([\s\S]*?)\n###/.exec(readFileSync(OPERATIONS, 'utf8')) ?? [];
  const guideExpressions = watched
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .flatMap((line) => [...line.matchAll(/`([^`]+)`/g)].map(([, expression = '']) => expression));
  const expressions = [...ruleExpressions, ...dashboardExpressions, ...guideExpressions];

  it('has every series that dashboard, rules and the guide for operators name', () => {
    const own = new Set([...rules.matchAll(/- record: (\S+)/g)].map(([, name]) => name));
    expect(ruleExpressions.length).toBeGreaterThan(8);
    expect(dashboardExpressions.length).toBeGreaterThan(30);
    expect(guideExpressions.length).toBeGreaterThan(8);
    const named = new Set(expressions.flatMap(seriesIn));
    expect(named.size).toBeGreaterThan(20);
    const there = namesIn(scrape);
    const missing = [...named].filter(
      (name) => !there.has(name) && !own.has(name) && !BUILT_IN.has(name),
    );
    expect(missing).toEqual([]);
  });

  it('has the labels by which they choose and group', () => {
    expect(strangeLabelsIn(expressions, scrape)).toEqual([]);
    const wrong = 'sum by (statuss) (rate(audit_http_requests_total{methode="GET"}[5m]))';
    expect(strangeLabelsIn([wrong], scrape)).toEqual([
      'audit_http_requests_total methode',
      'audit_http_requests_total statuss',
    ]);
  });

  it('has exactly the metrics of the table in the guide, with their type and labels', () => {
    const [, section = ''] =
      /### All metrics\n([\s\S]*?)\n####/.exec(readFileSync(OPERATIONS, 'utf8')) ?? [];
    const documented = [...section.matchAll(/^\| `(\w+)` +\| (\w+) +\| (.*?) +\| (.+) \|$/gm)].map(
      ([, name, type, labels = '']) => ({
        name,
        type,
        labels: [...labels.matchAll(/`(\w+)`/g)].map(([, label]) => label).sort(),
      }),
    );
    const found = [...metricsIn(scrape)]
      .filter(([name]) => !/^(?:process|nodejs)_/.test(name))
      .map(([name, metric]) => ({ name, ...metric }));
    expect(found.filter(({ name }) => !name.startsWith('audit_'))).toEqual([]);
    const byName = (a: { name?: string }, b: { name?: string }) =>
      (a.name ?? '').localeCompare(b.name ?? '');
    expect(documented.sort(byName)).toEqual(found.sort(byName));
  });

  it('has the new name of each metric that was renamed, and no old one', () => {
    const [, section = ''] =
      /#### Renamed metrics\n([\s\S]*?)\n###/.exec(readFileSync(OPERATIONS, 'utf8')) ?? [];
    const renamed = [...section.matchAll(/^\| `(\w+)` +\| `(\w+)` +\|$/gm)];
    expect(renamed.length).toBeGreaterThan(40);
    const there = metricsIn(scrape);
    for (const [, old = '', now = ''] of renamed) {
      expect({ old, now, isOld: there.has(old), isNow: there.has(now) }).toEqual({
        old,
        now,
        isOld: false,
        isNow: true,
      });
    }
  });

  it('has the metric of the Kubernetes autoscaler, under the name in the adapter rule', () => {
    const patches = parse(readFileSync(AUTOSCALER, 'utf8')) as {
      value: { pods: { metric: { name: string } } };
    }[];
    const names = patches.map(({ value }) => value.pods.metric.name);
    expect(names).toHaveLength(1);
    const there = namesIn(scrape);
    for (const name of names) {
      expect({ name, isThere: there.has(name) }).toEqual({ name, isThere: true });
      expect(readFileSync(OPERATIONS, 'utf8')).toContain(`seriesQuery: '${name}{`);
    }
  });

  it('shows that the check above finds missing series', () => {
    expect(
      seriesIn('sum by (a, b) (rate(x_total{c="d"}[5m])) / on (e) group_left y > 0.5'),
    ).toEqual(['x_total', 'group_left', 'y']);
    expect(namesIn('# TYPE a histogram\na_bucket 1\n')).toEqual(
      new Set(['a_bucket', 'a_sum', 'a_count']),
    );
  });

  it('contains no written event', () => {
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

    it('and so is what Compose mounts', () => {
      const mounted = mkdtempSync(join(tmpdir(), 'prometheus-'));
      try {
        copyFileSync(RULES, join(mounted, 'audit-server.rules.yml'));
        copyFileSync(join(DEPLOY, 'compose.prometheus.yml'), join(mounted, 'prometheus.yml'));
        expect(promtool(['check', 'config', join(mounted, 'prometheus.yml')])).toBe('');
      } finally {
        rmSync(mounted, { recursive: true });
      }
    });
  });
});
