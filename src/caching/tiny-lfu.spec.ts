import fc from 'fast-check';
import { TinyLfu } from './tiny-lfu';

interface Value {
  bytes: number;
  worth: number;
}

const MAX_BYTES = 10_000;

function create(removed: string[] = []): TinyLfu<Value> {
  return new TinyLfu<Value>({
    maxBytes: MAX_BYTES,
    maxEntryBytes: MAX_BYTES / 8,
    sizeOf: ({ bytes }) => bytes,
    worthOf: ({ worth }) => worth,
    onRemove: (_, key, reason) => removed.push(`${reason} ${key}`),
  });
}

/** Fills everything but the window, which takes entries of at most 100 bytes. */
function fill(entries: TinyLfu<Value>, worth: number, bytes = 900): void {
  for (let number = 0; number < 11; number += 1)
    entries.set(`resident ${number}`, { bytes, worth });
}

describe('TinyLfu', () => {
  it('keeps entries that are worth more than the candidate', () => {
    const removed: string[] = [];
    const entries = create(removed);
    fill(entries, 2);
    entries.set('candidate', { bytes: 900, worth: 1 });
    expect(removed).toEqual(['reject candidate']);
    expect(entries.has('candidate')).toBe(false);
    expect(entries.contests).toEqual({ admitted: 0, rejected: 1 });
  });

  it('gives the place of the least recently used to a candidate of the same worth', () => {
    const removed: string[] = [];
    const entries = create(removed);
    fill(entries, 2);
    entries.get('resident 0');
    entries.set('candidate', { bytes: 900, worth: 2 });
    expect(removed).toEqual(['evict resident 1']);
    expect(entries.contests).toEqual({ admitted: 1, rejected: 0 });
  });

  it('admits a large candidate only if it is worth all that it would evict', () => {
    const removed: string[] = [];
    const entries = create(removed);
    for (let number = 0; number < 66; number += 1)
      entries.set(`small ${number}`, { bytes: 150, worth: 2 });
    entries.set('large', { bytes: 900, worth: 11 });
    expect(removed).toEqual(['reject large']);
    entries.set('large', { bytes: 900, worth: 12 });
    expect(removed).toHaveLength(7);
    expect(entries.has('large')).toBe(true);
  });

  it('compares each candidate with other entries, so that one valuable entry does not protect the others', () => {
    const entries = create();
    entries.set('guard', { bytes: 900, worth: 100 });
    for (let number = 1; number < 11; number += 1)
      entries.set(`idle ${number}`, { bytes: 900, worth: 0 });
    for (const name of ['a', 'b']) entries.set(name, { bytes: 900, worth: 1 });
    expect(['guard', 'a', 'b'].map((key) => entries.has(key))).toEqual([true, false, true]);
  });

  it('keeps new small entries of any worth for a while', () => {
    const removed: string[] = [];
    const entries = create(removed);
    fill(entries, 2);
    for (const name of ['a', 'b', 'c']) entries.set(name, { bytes: 40, worth: 0 });
    expect(removed).toEqual(['reject a']);
    expect(entries.peek('c')).toEqual({ bytes: 40, worth: 0 });
  });

  it('keeps the place of a renamed entry', () => {
    const removed: string[] = [];
    const entries = create(removed);
    fill(entries, 2);
    entries.rename('resident 3', 'newer');
    entries.set('newer', { bytes: 900, worth: 0 });
    expect(removed).toEqual([]);
    expect(entries.has('resident 3')).toBe(false);
    expect(entries.peek('newer')).toEqual({ bytes: 900, worth: 0 });
  });

  it('finds only the last values, counts their bytes, and stays within the bound', () => {
    const key = fc.nat({ max: 40 }).map(String);
    const bytes = fc.oneof(
      { weight: 3, arbitrary: fc.integer({ min: 1, max: 90 }) },
      { weight: 3, arbitrary: fc.integer({ min: 90, max: 1500 }) },
    );
    const step = fc.record({
      do: fc.constantFrom('set', 'set', 'set', 'get', 'delete', 'rename'),
      key,
      other: key,
      bytes,
      worth: fc.nat({ max: 5 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80, size: 'max' }), (steps) => {
        const last = new Map<string, Value>();
        const entries = new TinyLfu<Value>({
          maxBytes: MAX_BYTES,
          maxEntryBytes: MAX_BYTES / 8,
          sizeOf: ({ bytes: size }) => size,
          worthOf: ({ worth }) => worth,
          onRemove: (value, name) => {
            if (last.get(name) === value) last.delete(name);
          },
        });
        for (const { do: action, key: name, other, bytes: size, worth } of steps) {
          if (action === 'set') {
            const value = { bytes: size, worth };
            last.set(name, value);
            entries.set(name, value);
            if (!entries.has(name)) last.delete(name);
          } else if (action === 'get') expect(entries.get(name)).toBe(last.get(name));
          else if (action === 'delete') entries.delete(name);
          else if (name !== other && last.has(name)) {
            const moved = last.get(name);
            entries.rename(name, other);
            last.delete(name);
            if (moved) last.set(other, moved);
          }
          const wrong = [...last].filter(([one, value]) => entries.peek(one) !== value);
          expect(wrong).toEqual([]);
          const sum = [...last.values()].reduce((total, value) => total + value.bytes, 0);
          expect(entries.calculatedSize).toBe(sum);
          expect(sum).toBeLessThanOrEqual(MAX_BYTES);
          expect(entries.size).toBe(last.size);
        }
        entries.clear();
        expect([entries.size, entries.calculatedSize, last.size]).toEqual([0, 0, 0]);
      }),
    );
  });
});
