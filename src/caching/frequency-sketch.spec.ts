import fc from 'fast-check';
import { FrequencySketch, seededHash } from './frequency-sketch';

const WIDTH = 64;

describe('FrequencySketch', () => {
  const keys = fc.array(fc.nat({ max: 200 }), { maxLength: 300, size: 'max' });

  it('never estimates less than was counted, within a sample', () => {
    fc.assert(
      fc.property(keys, fc.integer(), (asked, seed) => {
        const sketch = new FrequencySketch(WIDTH, 0);
        const counts = new Map<number, number>();
        for (const key of asked) {
          sketch.increment(seededHash(`key ${key}`, seed), 0);
          counts.set(key, (counts.get(key) ?? 0) + 1);
        }
        for (const [key, count] of counts) {
          expect(sketch.estimate(seededHash(`key ${key}`, seed))).toBeGreaterThanOrEqual(count);
        }
      }),
    );
  });

  it('is exact for a few keys', () => {
    const sketch = new FrequencySketch(1024, 0);
    for (let key = 1; key <= 20; key += 1) {
      for (let count = 0; count < key; count += 1) sketch.increment(seededHash(`${key}`, 1), 0);
    }
    const estimates = Array.from({ length: 20 }, (_, at) =>
      sketch.estimate(seededHash(`${at + 1}`, 1)),
    );
    expect(estimates).toEqual(Array.from({ length: 20 }, (_, at) => at + 1));
    expect(sketch.estimate(seededHash('another', 1))).toBe(0);
  });

  it('halves counts and their time after a sample, so that rates stay', () => {
    const sketch = new FrequencySketch(1024, 0);
    sketch.fitTo(200);
    for (let number = 1; number < 1000; number += 1) sketch.increment(7, number);
    expect([sketch.estimate(7), sketch.periodMs(999)]).toEqual([999, 999]);
    sketch.increment(7, 1000);
    expect([sketch.estimate(7), sketch.periodMs(1000)]).toEqual([500, 500]);
  });

  it('halves counts each hour when requests are few', () => {
    const sketch = new FrequencySketch(1024, 0);
    for (let number = 0; number < 8; number += 1) sketch.increment(7, 0);
    for (let hour = 1; hour <= 8; hour += 1) sketch.increment(9, hour * 3_600_000);
    expect(sketch.estimate(7)).toBe(0);
  });

  it('stops at the largest count', () => {
    const sketch = new FrequencySketch(16_384, 0);
    for (let number = 0; number < 70_000; number += 1) sketch.increment(7, 0);
    expect(sketch.estimate(7)).toBe(65_535);
  });
});

describe('seededHash', () => {
  it('spreads keys over 32 bits, differently with each seed', () => {
    const hashes = new Set<number>();
    for (let key = 0; key < 10_000; key += 1) hashes.add(seededHash(`audit:org-1:${key}`, 1));
    expect(hashes.size).toBeGreaterThan(9990);
    expect(Math.min(...hashes)).toBeGreaterThanOrEqual(0);
    const low = new Set([...hashes].map((hash) => hash & 255));
    expect(low.size).toBe(256);
    expect(seededHash('a', 1)).not.toBe(seededHash('a', 2));
  });
});
