import fc from 'fast-check';
import { DemandEstimator, type Demand } from './demand-estimator';
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
  // The bound holds about ten of the small values; large ones exceed the eighth of a single entry.
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
          // A search counts as a use, in the same order for both.
          for (let number = 0; number <= 25; number += 1) {
            expect(store.find(`key ${number}`)).toBe(model.find(`key ${number}`));
          }
        }),
        { numRuns: 150 },
      );
    },
  );
});

class AskedValue extends Value {
  constructor(
    sizeBytes: number,
    group: string,
    readonly demand: Demand,
  ) {
    super(sizeBytes, group);
  }
}

const LIMITS = { usualMs: 60_000, minMs: 10_000, maxMs: 3_600_000 };

describe('MemoryStore by worth, against a map of all that was set', () => {
  const number = fc.nat({ max: 40 });
  const size = fc.oneof(fc.nat({ max: 1000 }), fc.nat({ max: 30_000 }));
  const step = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant('set' as const),
        number,
        version: fc.nat({ max: 3 }),
        size,
      }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('find' as const), number }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('resize' as const), number, size }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('remove' as const), number }) },
  );

  it('finds the last value or nothing, one version of each, within the bound', () => {
    const maxBytes = 100_000;
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100, size: 'max' }), (steps) => {
        const estimator = new DemandEstimator(maxBytes, LIMITS);
        const store = new MemoryStore(maxBytes, estimator);
        const set = new Map<string, AskedValue>();
        const newest = new Map<string, string>();
        for (const taken of steps) {
          const group = `group ${taken.number}`;
          const demand = estimator.demandOf(group, `org ${taken.number % 3}`);
          if (taken.do === 'set') {
            const key = `${group} version ${taken.version}`;
            const value = new AskedValue(taken.size, group, demand);
            estimator.recordRequest(demand, performance.now());
            store.set(key, { value });
            set.set(key, value);
            newest.set(group, key);
          } else if (taken.do === 'find') {
            estimator.recordRequest(demand, performance.now());
            const key = newest.get(group) ?? '';
            expect([undefined, set.get(key)]).toContain(store.find(key));
          } else if (taken.do === 'resize') {
            const key = newest.get(group) ?? '';
            const value = store.find(key);
            if (value) (value as AskedValue).sizeBytes = taken.size;
            store.resize(key);
          } else {
            store.removeWhere((key) => key.startsWith(`${group} `));
            newest.delete(group);
          }
          let entries = 0;
          const wrong: string[] = [];
          for (const [key, value] of set) {
            const found = store.find(key);
            if (found === undefined) continue;
            entries += 1;
            const isNewest = newest.get(value.group) === key && store.newestOf(value.group) === key;
            if (found !== value || !isNewest) wrong.push(key);
          }
          expect(wrong).toEqual([]);
          expect(store.statistics().entries).toBe(entries);
          expect(store.statistics().bytes).toBeLessThanOrEqual(maxBytes);
        }
      }),
    );
  });
});

describe('a scan by one organization', () => {
  const maxBytes = 1024 * 1024;

  /** Counts hits of 20 pages of another organization, requested in rotation while new keys are requested and set. */
  function hitsDuringScan(estimator?: DemandEstimator): number {
    const store = new MemoryStore(maxBytes, estimator);
    let hits = 0;
    const ask = (key: string, tenants: string): boolean => {
      const demand = (estimator ?? new DemandEstimator(maxBytes, LIMITS)).demandOf(key, tenants);
      estimator?.recordRequest(demand, performance.now());
      const isHit = store.find(key) !== undefined;
      if (!isHit) store.set(key, { value: new AskedValue(20_000, key, demand) });
      return isHit;
    };
    for (let turn = 0; turn < 5; turn += 1) {
      for (let page = 0; page < 20; page += 1) ask(`quiet ${page}`, 'quiet');
    }
    for (let turn = 0; turn < 20; turn += 1) {
      for (let number = 0; number < 200; number += 1) ask(`scan ${turn} ${number}`, 'scanning');
      for (let page = 0; page < 20; page += 1) hits += ask(`quiet ${page}`, 'quiet') ? 1 : 0;
    }
    return hits;
  }

  it('does not evict pages that another requests repeatedly, as eviction by last use does', () => {
    expect(hitsDuringScan(new DemandEstimator(maxBytes, LIMITS))).toBe(20 * 20);
    expect(hitsDuringScan()).toBe(0);
  });
});
