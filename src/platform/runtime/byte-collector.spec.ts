import fc from 'fast-check';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { ByteCollector } from './byte-collector';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Bytes of heap and buffers that are in use. */
function usedBytes(): number {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

describe('ByteCollector', () => {
  it('gives what it was given, however it came, and begins anew', () => {
    const sizes = fc.oneof(fc.integer({ min: 0, max: 20 }), fc.integer({ min: 0, max: 40_000 }));
    fc.assert(
      fc.property(fc.array(sizes, { maxLength: 30 }), (lengths) => {
        const collector = new ByteCollector();
        for (let time = 0; time < 2; time += 1) {
          const parts = lengths.map((length, index) => Buffer.alloc(length, index + 1));
          for (const part of parts) collector.add(part);
          expect(collector.length).toBe(lengths.reduce((sum, length) => sum + length, 0));
          expect(collector.take().equals(Buffer.concat(parts))).toBe(true);
          expect(collector.length).toBe(0);
        }
      }),
      { numRuns: 200 },
    );
  });

  it.each([
    ['of one byte', [1]],
    ['of one byte and of a block', [1, 16_384]],
    ['of nearly a block', [16_383]],
  ])('holds no more than twice the bytes of parts %s', (_, lengths) => {
    const collector = new ByteCollector();
    const before = usedBytes();
    let sum = 0;
    for (let at = 0; sum < 1_000_000; at += 1) {
      const length = lengths[at % lengths.length] ?? 1;
      collector.add(Buffer.alloc(length));
      sum += length;
    }
    expect(usedBytes() - before).toBeLessThan(2 * sum);
    expect(collector.length).toBe(sum);
  });
});
