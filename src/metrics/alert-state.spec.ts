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

describe('the board of alerts', () => {
  let board: AlertState;
  let registry: MetricRegistry;
  const changes: string[] = [];

  beforeEach(() => {
    Logger.overrideLogger(false);
    registry = new MetricRegistry();
    board = new AlertState(registry);
    changes.length = 0;
    board.changes().subscribe(({ type, resolvedAt }) => {
      changes.push(`${type} ${resolvedAt === undefined ? 'raised' : 'over'}`);
    });
  });

  const take = (...levels: Finding['level'][]) =>
    levels.forEach((level) => board.apply(finding(level)));

  it('raises once, after as many findings in a row as the rule asks for', () => {
    take('bad', 'good', 'bad', 'between', 'bad');
    expect(changes).toEqual([]);
    take('bad', 'bad', 'bad');
    expect(changes).toEqual(['HIGH_MEMORY raised']);
    expect(board.active()).toHaveLength(1);
  });

  it('does not flutter at the limit: what is between changes nothing', () => {
    take('bad', 'bad', 'between', 'good', 'between', 'good', 'bad', 'good', 'between');
    expect(changes).toEqual(['HIGH_MEMORY raised']);
    take('good', 'good');
    expect(changes).toEqual(['HIGH_MEMORY raised', 'HIGH_MEMORY over']);
    take('good', 'good', 'good');
    expect(changes).toHaveLength(2);
  });

  it('keeps the id and the figures of an alert from its beginning to its end', () => {
    take('bad', 'bad');
    const [raised] = board.active();
    board.apply(finding('bad', { metadata: { percentage: 99 }, severity: 'CRITICAL' }));
    expect(board.active()).toEqual([raised]);
    take('good', 'good');
    expect(board.active()).toEqual([]);
    expect(board.all()).toEqual([{ ...raised, resolvedAt: expect.any(String) as string }]);
  });

  it('gives the next one of the same type another id', () => {
    take('bad', 'bad', 'good', 'good', 'bad', 'bad');
    expect(new Set(board.all().map(({ id }) => id)).size).toBe(2);
  });

  it('keeps a hundred that are over', () => {
    for (let round = 0; round < 150; round += 1) take('bad', 'bad', 'good', 'good');
    expect(board.all()).toHaveLength(100);
  });

  it('counts for Prometheus', async () => {
    take('bad', 'bad', 'good', 'good', 'bad', 'bad');
    const { text } = await registry.text();
    expect(text).toContain('alerts_raised_total{type="HIGH_MEMORY"} 2');
    expect(text).toContain('alerts_active{type="HIGH_MEMORY"} 1');
    expect(text).toContain('alerts_active{type="SLOW_REQUESTS"} 0');
  });
});
