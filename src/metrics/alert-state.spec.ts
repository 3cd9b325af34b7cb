import { Logger } from '@nestjs/common';
import { AlertState, type Finding } from './alert-state';
import { MetricRegistry } from './metrics.registry';

function finding(level: Finding['level'], members: Partial<Finding> = {}): Finding {
  return {
    type: 'HIGH_MEMORY',
    level,
    severity: 'HIGH',
    title: 'title',
    description: 'description',
    source: 'memory',
    metadata: { percentage: 90 },
    raiseAfter: 2,
    resolveAfter: 2,
    ...members,
  };
}

describe('the state of alerts', () => {
  let alerts: AlertState;
  let registry: MetricRegistry;
  const changes: string[] = [];

  beforeEach(() => {
    Logger.overrideLogger(false);
    registry = new MetricRegistry();
    alerts = new AlertState(registry);
    changes.length = 0;
    alerts.changes().subscribe(({ type, resolvedAt }) => {
      changes.push(`${type} ${resolvedAt === undefined ? 'raised' : 'over'}`);
    });
  });

  const apply = (...levels: Finding['level'][]) =>
    levels.forEach((level) => alerts.apply(finding(level)));

  it('raises once, after as many findings in a row as the rule asks for', () => {
    apply('breach', 'ok', 'breach', 'hysteresis', 'breach');
    expect(changes).toEqual([]);
    apply('breach', 'breach', 'breach');
    expect(changes).toEqual(['HIGH_MEMORY raised']);
    expect(alerts.active()).toHaveLength(1);
  });

  it('does not flap at the limit: what is between changes nothing', () => {
    apply('breach', 'breach', 'hysteresis', 'ok', 'hysteresis', 'ok', 'breach', 'ok', 'hysteresis');
    expect(changes).toEqual(['HIGH_MEMORY raised']);
    apply('ok', 'ok');
    expect(changes).toEqual(['HIGH_MEMORY raised', 'HIGH_MEMORY over']);
    apply('ok', 'ok', 'ok');
    expect(changes).toHaveLength(2);
  });

  it('keeps the id and the figures of an alert from its beginning to its end', () => {
    apply('breach', 'breach');
    const [raised] = alerts.active();
    alerts.apply(finding('breach', { metadata: { percentage: 99 }, severity: 'CRITICAL' }));
    expect(alerts.active()).toEqual([raised]);
    apply('ok', 'ok');
    expect(alerts.active()).toEqual([]);
    expect(alerts.all()).toEqual([{ ...raised, resolvedAt: expect.any(String) as string }]);
  });

  it('gives the next one of the same type another id', () => {
    apply('breach', 'breach', 'ok', 'ok', 'breach', 'breach');
    expect(new Set(alerts.all().map(({ id }) => id)).size).toBe(2);
  });

  it('keeps a hundred that are over', () => {
    for (let round = 0; round < 150; round += 1) apply('breach', 'breach', 'ok', 'ok');
    expect(alerts.all()).toHaveLength(100);
  });

  it('counts for Prometheus', async () => {
    apply('breach', 'breach', 'ok', 'ok', 'breach', 'breach');
    const { text } = await registry.text();
    expect(text).toContain('audit_alerts_raised_total{type="HIGH_MEMORY"} 2');
    expect(text).toContain('audit_alerts_active{type="HIGH_MEMORY",severity="HIGH"} 1');
    expect(text).not.toContain('type="SLOW_REQUESTS",'); // not looked at yet
    alerts.apply(finding('breach', { severity: 'CRITICAL' }));
    const { text: during } = await registry.text();
    expect(during.match(/audit_alerts_active\{type="HIGH_MEMORY".*/g)).toEqual([
      'audit_alerts_active{type="HIGH_MEMORY",severity="HIGH"} 1',
    ]);
  });
});
