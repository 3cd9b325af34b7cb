import { Logger } from '@nestjs/common';
import { ClockWatch } from './clock-watch';
import { MetricRegistry } from './metrics.registry';

describe('ClockWatch', () => {
  const registry = new MetricRegistry();
  let passedMs = 5000;
  let wallMs = 1_764_000_000_000;
  let logged: string[];
  let watch: ClockWatch;

  beforeEach(() => {
    logged = [];
    jest.spyOn(performance, 'now').mockImplementation(() => passedMs);
    jest.spyOn(Date, 'now').mockImplementation(() => wallMs);
    jest.spyOn(Logger.prototype, 'warn').mockImplementation((line: string) => logged.push(line));
    watch ??= new ClockWatch(registry);
  });

  afterEach(() => jest.restoreAllMocks());

  /** Lets time pass, in which the wall clock is set by `stepMs`, and looks. */
  function pass(ms: number, stepMs = 0): void {
    passedMs += ms;
    wallMs += ms + stepMs;
    watch.sample();
  }

  const figures = async () =>
    (await registry.text()).text.split('\n').filter((line) => /^audit_clock_/.test(line));

  it('is silent while both clocks go on, be it in jumps or a little askew', () => {
    for (const ms of [1, 250, 60_000, 3_600_000]) pass(ms);
    for (let count = 0; count < 1000; count += 1) pass(250, 0.5);
    expect(logged).toEqual([]);
  });

  it('tells once of each step, with its direction and size, and counts it', async () => {
    pass(250, 3_960_000);
    pass(250);
    pass(250, -3_960_000);
    pass(250);
    pass(250, -3_600_000);
    expect(logged).toEqual([
      expect.stringContaining('set ahead by 3960.0 s'),
      expect.stringContaining('set back by 3960.0 s'),
      expect.stringContaining('set back by 3600.0 s'),
    ]);
    expect(await figures()).toEqual([
      'audit_clock_steps_total{direction="ahead"} 1',
      'audit_clock_steps_total{direction="back"} 2',
      expect.stringMatching(/^audit_clock_offset_seconds -3599.5/),
    ]);
  });
});
