import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import { ALERT_TYPES } from '../../src/metrics/dto/responses.dto';
import { describeWithPromtool, promtool } from '../support/promtool';

const ROOT = join(__dirname, '..', '..');
const RULES = join(ROOT, 'deploy', 'prometheus', 'audit-server.rules.yml');
const DASHBOARD = join(ROOT, 'deploy', 'grafana', 'dashboards', 'audit-server.json');
const GUIDE = readFileSync(join(ROOT, 'docs', 'operations.md'), 'utf8');
const TESTS = 'audit-server.rules.test.yml';

interface Alert {
  alert: string;
  expr: string;
  labels: Record<string, string>;
  annotations: Record<string, string>;
}

const { groups } = parse(readFileSync(RULES, 'utf8')) as {
  groups: { rules: (Alert | { record: string })[] }[];
};
const alerts = groups.flatMap(({ rules }) => rules).filter((rule) => 'alert' in rule);

/** The anchors of the headings of a page, as GitHub and GitLab make them. */
const anchors = new Set(
  [...GUIDE.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-'),
  ),
);

/** The anchors that a link stands for: one for each type where it has a place for one. */
function anchorsOf(url: string): string[] {
  const [, anchor = ''] = /^https:\/\/\S+\/docs\/operations\.md#(.+)$/.exec(url) ?? [];
  const typed = '{{ $labels.type | toLower }}';
  return anchor === typed ? ALERT_TYPES.map((type) => type.toLowerCase()) : [anchor];
}

describe('the alert rules', () => {
  it.each(alerts)('$alert has a severity, a summary and an existing page', (rule) => {
    expect(['critical', 'warning', 'info']).toContain(rule.labels.severity);
    expect(rule.annotations.summary).toBeTruthy();
    expect(rule.annotations.description).toBeTruthy();
    const named = anchorsOf(rule.annotations.runbook_url ?? '');
    expect(named.filter((anchor) => !anchors.has(anchor))).toEqual([]);
    const row = new RegExp(`^\\| \`${rule.alert}\` +\\| ${rule.labels.severity} +\\|`, 'm');
    expect(GUIDE).toMatch(row);
  });

  it('are all in the guide, which has no others', () => {
    const documented = [...GUIDE.matchAll(/^\| `(AuditServer\w+)`/gm)].map(([, name]) => name);
    expect([...documented].sort()).toEqual(alerts.map(({ alert }) => alert).sort());
  });

  it('alert by exactly one severity whatever the service reports', () => {
    const severities = alerts.flatMap(({ alert, expr }) =>
      [...(/^\(*sum by \(job, type\) \(audit_alerts_active\{severity="(\w+)"/.exec(expr) ?? [])]
        .slice(1)
        .map((severity) => [alert, severity]),
    );
    expect(severities).toEqual([
      ['AuditServerCritical', 'CRITICAL'],
      ['AuditServerHigh', 'HIGH'],
      ['AuditServerMedium', 'MEDIUM'],
    ]);
  });

  const describePromtool = describeWithPromtool();

  describePromtool('on series of outages', () => {
    it('alert each cause once', () => {
      const folder = mkdtempSync(join(tmpdir(), 'rules-'));
      try {
        copyFileSync(RULES, join(folder, 'audit-server.rules.yml'));
        copyFileSync(join(__dirname, TESTS), join(folder, TESTS));
        expect(promtool(['test', 'rules', join(folder, TESTS)])).toBe('');
      } finally {
        rmSync(folder, { recursive: true });
      }
    });
  });
});

describe('the dashboard', () => {
  interface Panel {
    title: string;
    type: string;
    links?: { url: string }[];
    fieldConfig: { defaults: { thresholds?: { steps: { value: number | null }[] } } };
  }
  const dashboard = JSON.parse(readFileSync(DASHBOARD, 'utf8')) as {
    panels: Panel[];
    links: { url: string }[];
  };

  it('links to existing pages', () => {
    const urls = [dashboard, ...dashboard.panels].flatMap(({ links = [] }) =>
      links.map(({ url }) => url),
    );
    expect(urls.length).toBeGreaterThan(10);
    const broken = urls.filter((url) => {
      const [page = '', anchor] = url.split('#');
      return (
        !page.endsWith('/docs/operations.md') || (anchor !== undefined && !anchors.has(anchor))
      );
    });
    expect(broken).toEqual([]);
  });

  it('shows from where on a figure is bad, in rising steps', () => {
    const judged = dashboard.panels.filter(({ links }) => links);
    expect(judged.length).toBeGreaterThan(10);
    for (const { title, fieldConfig } of judged) {
      const [first, ...steps] = fieldConfig.defaults.thresholds?.steps ?? [];
      const values = steps.map(({ value }) => Number(value));
      expect({ title, first: first?.value, values }).toEqual({
        title,
        first: null,
        values: [...values].sort((a, b) => a - b),
      });
      expect(values.length).toBeGreaterThan(0);
    }
  });
});
