import { Logger } from '@nestjs/common';
import { LogTimeline, LOSS_ALERT_MS } from './log-timeline';

describe('LogTimeline', () => {
  const errors = jest.spyOn(Logger.prototype, 'error').mockImplementation(() => undefined);
  const warnings = jest.spyOn(Logger.prototype, 'warn').mockImplementation(() => undefined);
  let timeline: LogTimeline;

  beforeEach(() => {
    jest.useFakeTimers();
    errors.mockClear();
    warnings.mockClear();
    timeline = new LogTimeline();
  });
  afterEach(() => jest.useRealTimers());
  afterAll(() => jest.restoreAllMocks());

  const head = (sequence: number, micros = sequence) => ({ sequence, micros });

  it('finds a head behind what was known before it was asked for', () => {
    timeline.note('a', head(10));
    const asked = timeline.ask();
    expect(timeline.isOlder('a', head(9), asked)).toBe(true);
    expect(timeline.isOlder('a', head(10), asked)).toBe(false);
    expect(timeline.isOlder('a', head(10, 9), asked)).toBe(true);
    expect(timeline.isOlder('a', head(10, 11), asked)).toBe(false); // moved by retention
    expect(timeline.isOlder('b', head(0), asked)).toBe(false);
    expect(timeline.isGivenAgain('a', 10, asked)).toBe(true);
    expect(timeline.isGivenAgain('a', 11, asked)).toBe(false);
  });

  it('is not misled by answers that come late', () => {
    timeline.note('a', head(8));
    const early = timeline.ask();
    const late = timeline.ask();
    timeline.note('a', head(10)); // the answer to the later question, which came first
    expect(timeline.isOlder('a', head(9), early)).toBe(false);
    expect(timeline.isOlder('a', head(7), early)).toBe(true);
    timeline.note('a', head(9));
    expect(timeline.isOlder('a', head(9), timeline.ask())).toBe(true);
    expect(timeline.isOlder('a', head(9), late)).toBe(false);
  });

  it('reports organizations that go back together in one line, and each once', () => {
    for (const id of ['a', 'b', 'c', 'a']) timeline.noteRewind(id, 10, 5);
    jest.advanceTimersByTime(2000);
    expect(errors.mock.calls).toHaveLength(1);
    expect(errors.mock.calls[0]?.[0]).toMatch(/from 10 back to 5, 2 more organizations/);
    expect(timeline.statistics().rewinds).toBe(3);
    expect(timeline.losses()).toEqual({ recent: 3, from: 10, to: 5 });
    jest.advanceTimersByTime(LOSS_ALERT_MS);
    expect(timeline.losses().recent).toBe(0);
  });

  it('counts what is found over minutes until none was found for a quarter of an hour', () => {
    timeline.noteRewind('a', 10, 5);
    jest.advanceTimersByTime(60_000);
    timeline.noteRewind('b', 20, 6);
    jest.advanceTimersByTime(LOSS_ALERT_MS - 1000);
    expect(timeline.losses()).toEqual({ recent: 2, from: 10, to: 5 });
    jest.advanceTimersByTime(2000);
    timeline.noteRewind('c', 30, 7);
    expect(timeline.losses()).toEqual({ recent: 1, from: 30, to: 7 });
  });

  it('says when another server answers, and not of the first', () => {
    timeline.noteServer('1700000000.5', 1);
    timeline.noteServer('1700000000.5', 1);
    expect(warnings).not.toHaveBeenCalled();
    timeline.noteServer('1700000009.5', 2);
    expect(warnings.mock.calls[0]?.[0]).toMatch(/timeline is 2, that of the one before was 1/);
    timeline.noteServer('1700000010.5', 2);
    expect(timeline.statistics()).toMatchObject({ serverChanges: 2, timeline: 2 });
  });

  it('forgets organizations beyond a number of them', () => {
    for (let at = 0; at < 20_000; at += 1) timeline.note(`org-${at}`, head(5));
    const asked = timeline.ask();
    expect(timeline.isOlder('org-0', head(1), asked)).toBe(false);
    expect(timeline.isOlder('org-19999', head(1), asked)).toBe(true);
  });
});
