import { CacheEntry } from './cache-entry';
import { Rendition } from './rendition';

const SHARED = { head: '{"data":["ü"]', rest: { next: [1, 'x'] } };

const entryOf = (createdAtMs = Date.now(), ttlMs = 60_000) =>
  new CacheEntry(SHARED, createdAtMs, ttlMs, 'group');

const renditionOf = (entry: CacheEntry, tail = '}') =>
  new Rendition(entry.head, { tail, headers: {} });

describe('CacheEntry', () => {
  it('comes back from the shared tier as it was', () => {
    const entry = entryOf();
    const revived = CacheEntry.revive(JSON.parse(JSON.stringify(entry)), 'group');
    expect(revived).toMatchObject({
      createdAtMs: entry.createdAtMs,
      ttlMs: 60_000,
      rest: SHARED.rest,
      group: 'group',
    });
    expect(revived?.head.toString()).toBe(SHARED.head);
  });

  it.each([
    ['nothing', undefined],
    ['null', null],
    ['text', 'x'],
    ['a list', []],
    ['an object of others', { head: 'x', ttlMs: 1 }],
    ['a wrong type', { createdAtMs: '1', ttlMs: 1, head: 'x' }],
    ['what has expired', { createdAtMs: Date.now() - 2000, ttlMs: 1000, head: 'x', rest: null }],
  ])('is not made of %s', (_, stored) => {
    expect(CacheEntry.revive(stored, 'group')).toBeUndefined();
  });

  it('has an age in whole seconds, never below 0, and never lives longer than its lifetime', () => {
    expect(entryOf(Date.now() - 2500).ageSeconds()).toBe(2);
    const ahead = entryOf(Date.now() + 5000, 1000); // by the clock of another replica
    expect(ahead.ageSeconds()).toBe(0);
    expect(ahead.remainingMs()).toBe(1000);
    expect(entryOf(Date.now() - 400, 1000).remainingMs()).toBeLessThanOrEqual(600);
  });

  it('keeps a bounded number of renditions: the oldest goes', () => {
    const entry = entryOf();
    for (let reader = 0; reader < 17; reader += 1) entry.keep(`${reader}`, renditionOf(entry));
    expect(entry.rendition('0')).toBeUndefined();
    for (const reader of ['1', '16']) expect(entry.rendition(reader)).toBeDefined();
  });

  it('grows by each rendition and each coding of it', async () => {
    const entry = entryOf();
    const sizes = [entry.sizeBytes];
    const rendition = renditionOf(entry, 'x'.repeat(5000));
    entry.keep('alice', rendition);
    sizes.push(entry.sizeBytes);
    const { length } = await rendition.encode('gzip');
    sizes.push(entry.sizeBytes);
    const [bare = 0, rendered = 0, compressed = 0] = sizes;
    expect(bare).toBeGreaterThanOrEqual(entry.head.length);
    expect(rendered - bare).toBe(2 * 'alice'.length + 5000);
    expect(compressed - rendered).toBe(length);
  });
});
