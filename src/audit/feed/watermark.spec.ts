import { Watermarks } from './watermark';

const SECOND = 1_000_000;
const idle = (micros: number, next = 10n) => ({ micros, oldest: next, next });

describe('watermarks', () => {
  it('follow the clock while no transaction runs', () => {
    const watermarks = new Watermarks();
    expect(watermarks.close(idle(100 * SECOND))).toBe(97 * SECOND);
  });

  it('wait for each transaction that ran when their moment was taken', () => {
    const watermarks = new Watermarks();
    expect(watermarks.close({ micros: 100 * SECOND, oldest: 7n, next: 10n })).toBeUndefined();
    expect(watermarks.close({ micros: 101 * SECOND, oldest: 9n, next: 12n })).toBeUndefined();
    expect(watermarks.close({ micros: 102 * SECOND, oldest: 10n, next: 14n })).toBe(97 * SECOND);
    expect(watermarks.close({ micros: 103 * SECOND, oldest: 14n, next: 15n })).toBe(99 * SECOND);
  });

  it('begin again on a server with lower numbers of transactions', () => {
    const watermarks = new Watermarks();
    watermarks.close({ micros: 100 * SECOND, oldest: 1000n, next: 2000n });
    expect(watermarks.close({ micros: 101 * SECOND, oldest: 5n, next: 6n })).toBeUndefined();
    expect(watermarks.close({ micros: 102 * SECOND, oldest: 6n, next: 7n })).toBe(98 * SECOND);
  });

  it('come after the beginning, and each only once', () => {
    const watermarks = new Watermarks();
    watermarks.beginAt(98 * SECOND);
    expect(watermarks.close(idle(101 * SECOND))).toBeUndefined();
    expect(watermarks.close(idle(102 * SECOND))).toBe(99 * SECOND);
    watermarks.passed(99 * SECOND);
    expect(watermarks.close(idle(102 * SECOND))).toBeUndefined();
  });

  it('give the sequence that an organization had', () => {
    const watermarks = new Watermarks();
    watermarks.note('a', { sequence: 5n, micros: 10 }, 4n);
    watermarks.note('a', { sequence: 6n, micros: 10 }, 5n);
    watermarks.note('a', { sequence: 7n, micros: 20 }, 6n);
    const at = (micros: number) => watermarks.sequenceAt('a', micros, 7n);
    expect([9, 10, 19, 20].map(at)).toEqual([4n, 6n, 6n, 7n]);
    expect(watermarks.sequenceAt('b', 10, 3n)).toBe(3n);
    watermarks.passed(10);
    expect([10, 20].map(at)).toEqual([6n, 7n]);
    watermarks.passed(20);
    watermarks.note('a', { sequence: 8n, micros: 30 }, 7n);
    expect(watermarks.sequenceAt('a', 25, 8n)).toBe(7n);
  });

  it('have a gap when more steps come than they store, and continue after it', () => {
    const watermarks = new Watermarks(3);
    for (let at = 1; at <= 4; at += 1) {
      watermarks.note(`org-${at}`, { sequence: 1n, micros: at * SECOND }, 0n);
    }
    expect(watermarks.close(idle(6 * SECOND))).toBeUndefined();
    expect(watermarks.close(idle(8 * SECOND))).toBe(5 * SECOND);
  });
});
