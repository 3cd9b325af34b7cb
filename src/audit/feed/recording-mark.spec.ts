import { RecordingMarks } from './recording-mark';

const SECOND = 1_000_000;
const idle = (micros: number, next = 10n) => ({ micros, oldest: next, next });

describe('marks', () => {
  it('lie behind the clock while no transaction runs', () => {
    const marks = new RecordingMarks();
    expect(marks.close(idle(100 * SECOND))).toBe(97 * SECOND);
  });

  it('wait for each transaction that ran when their moment was taken', () => {
    const marks = new RecordingMarks();
    expect(marks.close({ micros: 100 * SECOND, oldest: 7n, next: 10n })).toBeUndefined();
    expect(marks.close({ micros: 101 * SECOND, oldest: 9n, next: 12n })).toBeUndefined();
    expect(marks.close({ micros: 102 * SECOND, oldest: 10n, next: 14n })).toBe(97 * SECOND);
    expect(marks.close({ micros: 103 * SECOND, oldest: 14n, next: 15n })).toBe(99 * SECOND);
  });

  it('begin anew on a server with lower numbers of transactions', () => {
    const marks = new RecordingMarks();
    marks.close({ micros: 100 * SECOND, oldest: 1000n, next: 2000n });
    expect(marks.close({ micros: 101 * SECOND, oldest: 5n, next: 6n })).toBeUndefined();
    expect(marks.close({ micros: 102 * SECOND, oldest: 6n, next: 7n })).toBe(98 * SECOND);
  });

  it('are known after the beginning, and each once', () => {
    const marks = new RecordingMarks();
    marks.beginAt(98 * SECOND);
    expect(marks.close(idle(101 * SECOND))).toBeUndefined();
    expect(marks.close(idle(102 * SECOND))).toBe(99 * SECOND);
    marks.passed(99 * SECOND);
    expect(marks.close(idle(102 * SECOND))).toBeUndefined();
  });

  it('know what an organization had reached', () => {
    const marks = new RecordingMarks();
    marks.note('a', { sequence: 5n, micros: 10 }, 4n);
    marks.note('a', { sequence: 6n, micros: 10 }, 5n);
    marks.note('a', { sequence: 7n, micros: 20 }, 6n);
    const at = (micros: number) => marks.sequenceAt('a', micros, 7n);
    expect([9, 10, 19, 20].map(at)).toEqual([4n, 6n, 6n, 7n]);
    expect(marks.sequenceAt('b', 10, 3n)).toBe(3n);
    marks.passed(10);
    expect([10, 20].map(at)).toEqual([6n, 7n]);
    marks.passed(20);
    marks.note('a', { sequence: 8n, micros: 30 }, 7n);
    expect(marks.sequenceAt('a', 25, 8n)).toBe(7n);
  });

  it('give no mark when more was recorded than they hold, and the next one again', () => {
    const marks = new RecordingMarks(3);
    for (let at = 1; at <= 4; at += 1) {
      marks.note(`org-${at}`, { sequence: 1n, micros: at * SECOND }, 0n);
    }
    expect(marks.close(idle(6 * SECOND))).toBeUndefined();
    expect(marks.close(idle(8 * SECOND))).toBe(5 * SECOND);
  });
});
