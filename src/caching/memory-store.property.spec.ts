import fc from 'fast-check';
import { MemoryStore, type SizedValue } from './memory-store';

class Value implements SizedValue {
  constructor(
    public sizeBytes: number,
    readonly group = '',
  ) {}
}

interface ModelEntry {
  key: string;
  value: Value;
  bytes: number;
}

/** A list, the least recently used first. */
class Model {
  entries: ModelEntry[] = [];
  evictions = 0;

  constructor(
    private readonly maxBytes: number,
    private readonly overhead: number,
  ) {}

  get bytes(): number {
    return this.entries.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  remove(gone: (entry: ModelEntry) => boolean): void {
    this.entries = this.entries.filter((entry) => !gone(entry));
  }

  set(key: string, value: Value): void {
    this.remove((entry) => entry.key === key);
    this.remove((entry) => value.group !== '' && entry.value.group === value.group);
    const bytes = this.overhead + value.sizeBytes + 2 * (key.length + value.group.length);
    if (bytes > Math.floor(this.maxBytes / 8)) return;
    while (this.bytes + bytes > this.maxBytes) {
      this.entries.shift();
      this.evictions += 1;
    }
    this.entries.push({ key, value, bytes });
  }

  find(key: string): Value | undefined {
    const found = this.entries.find((entry) => entry.key === key);
    if (!found) return undefined;
    this.remove((entry) => entry === found);
    this.entries.push(found);
    return found.value;
  }
}

describe('MemoryStore against a list', () => {
  const key = fc.nat({ max: 25 }).map((number) => `key ${number}`);
  // The bound holds about ten of the many; the few are above the eighth that one may take.
  const size = fc.oneof(
    { weight: 9, arbitrary: fc.nat({ max: 1000 }) },
    { weight: 1, arbitrary: fc.nat({ max: 3000 }) },
  );
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ do: fc.constant('set' as const), key, size }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('find' as const), key }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('resize' as const), key, size }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('delete' as const), key }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('removeWhere' as const), key }) },
  );

  it.each([
    ['alone', 0],
    ['in groups', 20],
  ])(
    'finds what was last set, within the bound, the most recently used: entries %s',
    (_, groups) => {
      const maxBytes = 20_000;
      const overhead = new MemoryStore(maxBytes)
        .set('', { value: new Value(0) })
        .statistics().bytes;
      const groupOf = (text: string) =>
        groups === 0 ? '' : `group ${Number(text.slice(4)) % groups}`;
      const names = Array.from({ length: groups }, (_unused, number) => `group ${number}`);
      fc.assert(
        fc.property(fc.array(step, { maxLength: 120, size: 'max' }), (steps) => {
          const store = new MemoryStore(maxBytes);
          const model = new Model(maxBytes, overhead);
          for (const taken of steps) {
            if (taken.do === 'set') {
              const value = new Value(taken.size, groupOf(taken.key));
              store.set(taken.key, { value });
              model.set(taken.key, value);
            } else if (taken.do === 'find') {
              expect(store.find(taken.key)).toBe(model.find(taken.key));
            } else if (taken.do === 'resize') {
              const kept = model.entries.find((entry) => entry.key === taken.key);
              if (kept) kept.value.sizeBytes = taken.size;
              store.resize(taken.key);
              if (kept) model.set(taken.key, kept.value);
            } else if (taken.do === 'delete') {
              store.delete(taken.key);
              model.remove((entry) => entry.key === taken.key);
            } else {
              const last = taken.key.slice(-1);
              const gone = store.removeWhere((text) => text.endsWith(last));
              const expected = model.entries.filter((entry) => entry.key.endsWith(last));
              expect(gone.sort()).toEqual(expected.map((entry) => entry.key).sort());
              model.remove((entry) => entry.key.endsWith(last));
            }
            const newest = (group: string) =>
              model.entries.find(({ value }) => value.group === group)?.key;
            expect(names.map((group) => store.newestOf(group))).toEqual(names.map(newest));
            const { bytes, evictions } = model;
            expect(bytes).toBeLessThanOrEqual(maxBytes);
            expect(store.statistics()).toEqual({
              entries: model.entries.length,
              bytes,
              evictions,
            });
          }
          // Looking counts as a use, but the order of looking is the same for both.
          for (let number = 0; number <= 25; number += 1) {
            expect(store.find(`key ${number}`)).toBe(model.find(`key ${number}`));
          }
        }),
        { numRuns: 150 },
      );
    },
  );
});
