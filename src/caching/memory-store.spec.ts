import Keyv from 'keyv';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { MemoryStore, type SizedValue } from './memory-store';

class Value implements SizedValue {
  constructor(
    public sizeBytes: number,
    readonly group = '',
  ) {}
}

const MB = 1024 * 1024;
/** Size of which the bound holds eight values and no ninth. */
const NINTH = Math.ceil(MB / 9);

/** Returns the counted bytes of an entry with an empty key and an empty value. */
function overheadBytes(): number {
  return new MemoryStore(MB).set('', { value: new Value(0) }).statistics().bytes;
}

describe('MemoryStore', () => {
  it('stores values of Keyv, and finds them synchronously', async () => {
    const store = new MemoryStore(MB);
    const plain = { useKeyPrefix: false, serialize: undefined, deserialize: undefined };
    const keyv = new Keyv({ store, ...plain });
    const value = new Value(10);
    await keyv.set('a', value, 60_000);
    await keyv.set('b', value);
    expect(await keyv.get('a')).toBe(value);
    expect(store.find('a')).toBe(value);
    expect(store.find('b')).toBe(value);
    expect(await keyv.has('a')).toBe(true);
    expect(await keyv.delete('a')).toBe(true);
    expect(await keyv.delete('a')).toBe(false);
    expect(store.find('a')).toBeUndefined();
    await keyv.clear();
    expect(store.statistics()).toEqual({ entries: 0, bytes: 0, evictions: 0 });
  });

  it('counts the bytes of a value, two for each character of its texts, and the objects around them', () => {
    const store = new MemoryStore(MB);
    const overhead = overheadBytes();
    expect(overhead).toBeGreaterThan(300); // bare objects and slots of maps, measured
    store.set('12345', { value: new Value(100, 'abc') });
    expect(store.statistics()).toEqual({
      entries: 1,
      bytes: overhead + 100 + 2 * 5 + 2 * 3,
      evictions: 0,
    });
  });

  it('measures a value again that has grown or shrunk', () => {
    const store = new MemoryStore(MB);
    const value = new Value(100);
    store.set('a', { value });
    const { bytes } = store.statistics();
    value.sizeBytes = 1100;
    store.resize('a');
    expect(store.statistics().bytes).toBe(bytes + 1000);
    value.sizeBytes = 0;
    store.resize('a');
    expect(store.statistics().bytes).toBe(bytes - 100);
    expect(store.find('a')).toBe(value);
    store.resize('unknown');
    expect(store.statistics()).toEqual({ entries: 1, bytes: bytes - 100, evictions: 0 });
  });

  it('stores no value above an eighth, and evicts nothing for it', () => {
    const store = new MemoryStore(MB);
    const most = MB / 8 - overheadBytes() - 2;
    for (const key of ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']) {
      store.set(key, { value: new Value(most) });
    }
    expect(store.statistics()).toEqual({ entries: 8, bytes: MB, evictions: 0 });
    store.set('x', { value: new Value(most + 1) });
    expect(store.find('x')).toBeUndefined();
    expect(store.statistics()).toEqual({ entries: 8, bytes: MB, evictions: 0 });
  });

  it('drops a value that has grown beyond an eighth, or is replaced by such a one', () => {
    const store = new MemoryStore(MB);
    const value = new Value(10);
    store.set('a', { value });
    value.sizeBytes = MB / 8;
    store.resize('a');
    store.set('b', { value: new Value(10) });
    store.set('b', { value: new Value(MB) });
    expect(store.statistics()).toEqual({ entries: 0, bytes: 0, evictions: 0 });
  });

  it('removes by key and returns the keys', () => {
    const store = new MemoryStore(MB);
    for (const key of ['a1', 'b1', 'a2']) store.set(key, { value: new Value(1, `group ${key}`) });
    expect(store.removeWhere((key) => key.startsWith('a')).sort()).toEqual(['a1', 'a2']);
    expect(store.removeWhere((key) => key.startsWith('a'))).toEqual([]);
    expect(store.statistics()).toMatchObject({ entries: 1, evictions: 0 });
    expect(store.newestOf('group a1')).toBeUndefined();
    expect(store.newestOf('group b1')).toBe('b1');
  });
});

describe('the entry of a group in MemoryStore', () => {
  it('is its newest member', () => {
    const store = new MemoryStore(MB);
    const values = [new Value(1, 'g'), new Value(1, 'g')] as const;
    store.set('1', { value: values[0] });
    expect(store.newestOf('g')).toBe('1');
    store.set('2', { value: values[1] });
    expect(store.newestOf('g')).toBe('2');
    expect(store.find('1')).toBeUndefined();
    expect(store.statistics()).toMatchObject({ entries: 1, evictions: 0 });
    store.resize('2');
    expect(store.newestOf('g')).toBe('2');
  });

  it('is none once that is removed in any way', () => {
    const ways: ((store: MemoryStore, value: Value) => void)[] = [
      (store) => store.delete('1'),
      (store) => store.clear(),
      (store) => store.removeWhere(() => true),
      (store, value) => {
        value.sizeBytes = MB;
        store.resize('1');
      },
      (store) => store.set('1', { value: new Value(1, 'other') }),
      (store) => store.set('2', { value: new Value(MB, 'g') }),
      (store) => {
        for (let n = 0; n < 10; n += 1) store.set(`x${n}`, { value: new Value(NINTH) });
      },
    ];
    for (const goAway of ways) {
      const store = new MemoryStore(MB);
      const value = new Value(1, 'g');
      store.set('1', { value });
      goAway(store, value);
      expect(store.newestOf('g')).toBeUndefined();
    }
  });
});

describe('lifetimes in MemoryStore', () => {
  let nowMs = 1_000_000;
  let wallMs = 50_000_000;

  beforeEach(() => {
    nowMs = 1_000_000;
    wallMs = 50_000_000;
    jest.spyOn(performance, 'now').mockImplementation(() => nowMs);
    jest.spyOn(Date, 'now').mockImplementation(() => wallMs);
  });

  afterEach(() => jest.restoreAllMocks());

  it('end on time, and nothing is found or counted after that', () => {
    const store = new MemoryStore(MB);
    store.set('a', { value: new Value(1), expires: wallMs + 1000 });
    nowMs += 999;
    expect(store.has('a')).toBe(true);
    nowMs += 1;
    expect(store.find('a')).toBeUndefined();
    expect(store.get('a')).toBeUndefined();
    expect(store.statistics()).toEqual({ entries: 0, bytes: 0, evictions: 0 });
  });

  it.each([-3_600_000, 3_600_000])(
    'end then, too, when the wall clock is set by %i ms',
    async (step) => {
      const store = new MemoryStore(MB);
      const keyv = new Keyv({
        store,
        useKeyPrefix: false,
        serialize: undefined,
        deserialize: undefined,
      });
      const value = new Value(1);
      await keyv.set('a', value, 1000);
      wallMs += step;
      nowMs += 999;
      expect(store.find('a')).toBe(value);
      expect(await keyv.get('a')).toBe(value);
      nowMs += 1;
      expect(store.find('a')).toBeUndefined();
      expect(await keyv.get('a')).toBeUndefined();
    },
  );

  it('are extended neither by a use nor by a new size', () => {
    const store = new MemoryStore(MB);
    const value = new Value(1);
    store.set('a', { value, expires: wallMs + 1000 });
    nowMs += 500;
    value.sizeBytes = 50;
    store.resize('a');
    expect(store.find('a')).toBe(value);
    nowMs += 500;
    expect(store.find('a')).toBeUndefined();
  });

  it('are no evictions when they ended before an eviction', () => {
    const store = new MemoryStore(MB);
    store.set('short', { value: new Value(NINTH), expires: wallMs + 1000 });
    store.set('long', { value: new Value(NINTH), expires: wallMs + 9000 });
    nowMs += 2000;
    for (let n = 0; n < 8; n += 1) store.set(`x${n}`, { value: new Value(NINTH) });
    expect(store.find('long')).toBeUndefined();
    expect(store.statistics()).toMatchObject({ entries: 8, evictions: 1 });
  });
});

describe('a million distinct keys', () => {
  it('never take more bytes than the bound', () => {
    const maxBytes = MB;
    const store = new MemoryStore(maxBytes);
    let most = 0;
    for (let number = 0; number < 1_000_000; number += 1) {
      store.set(`prefix:pages:org-1:${number}:hash`, {
        value: new Value(number % 2000, `g${number % 3000}`),
      });
      const { bytes } = store.statistics();
      if (bytes > most) most = bytes;
    }
    expect(most).toBeLessThanOrEqual(maxBytes);
    expect(most).toBeGreaterThan(0.9 * maxBytes);
  });

  it('make the process grow by little more than the bound', () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const usedBytes = () => {
      collect();
      const { heapUsed, external } = process.memoryUsage();
      return heapUsed + external;
    };
    const maxBytes = 16 * MB;
    const before = usedBytes();
    const store = new MemoryStore(maxBytes);
    for (let number = 0; number < 1_000_000; number += 1) {
      const bytes = Buffer.allocUnsafeSlow(200);
      const value = Object.assign(new Value(bytes.length, `prefix:pages:org-1:hash${number}`), {
        bytes,
      });
      store.set(`prefix:pages:org-1:${number}:hash`, { value, expires: Date.now() + 60_000 });
    }
    expect(usedBytes() - before).toBeLessThan(2 * maxBytes);
    expect(store.statistics().bytes).toBeGreaterThan(0.9 * maxBytes);
  });
});
