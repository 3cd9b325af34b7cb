import { CacheEntry } from './cache-entry';
import { exactBuffer } from './exact-buffer';

const TEXT = '{"data":["ü"]';
const SHARED = { head: exactBuffer(TEXT), rest: { next: [1, 'x'] } };

const entryOf = (createdAtMs = Date.now(), ttlMs = 60_000) =>
  new CacheEntry(SHARED, createdAtMs, ttlMs, 'group');

const KEPT = { group: 'group', ttlMs: 60_000 };
const NOTHING = { tail: '', headers: {} };
const bodyOf = (entry: CacheEntry, variant: string) =>
  Buffer.concat([...(entry.rendition(variant)?.ready('identity')?.parts ?? [])]).toString();

describe('CacheEntry', () => {
  it('comes back from the shared tier as it was', () => {
    const entry = entryOf();
    const revived = CacheEntry.revive(JSON.parse(JSON.stringify(entry)), KEPT);
    expect(revived).toMatchObject({
      createdAtMs: entry.createdAtMs,
      ttlMs: 60_000,
      rest: SHARED.rest,
      group: 'group',
    });
    revived?.render('alice', NOTHING);
    expect(revived && bodyOf(revived, 'alice')).toBe(TEXT);
  });

  it.each([
    ['nothing', undefined],
    ['null', null],
    ['text', 'x'],
    ['a list', []],
    ['an object of others', { head: '{}' }],
    ['another version', { version: 2, createdAtMs: Date.now(), head: '{}', rest: null }],
    ['a wrong type', { version: 1, createdAtMs: '1', head: '{}', rest: null }],
    ['no JSON', { version: 1, createdAtMs: Date.now(), head: '<html>', rest: null }],
    ['half of it', { version: 1, createdAtMs: Date.now(), head: '{}' }],
    ['what has expired', { version: 1, createdAtMs: Date.now() - 61_000, head: '{}', rest: null }],
  ])('is not made of %s', (_, stored) => {
    expect(CacheEntry.revive(stored, KEPT)).toBeUndefined();
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
    for (let reader = 0; reader < 17; reader += 1) entry.render(`${reader}`, NOTHING);
    expect(entry.rendition('0')).toBeUndefined();
    for (const reader of ['1', '16']) expect(entry.rendition(reader)).toBeDefined();
  });

  it('keeps those that are used when others come', () => {
    const entry = entryOf();
    for (let reader = 0; reader < 16; reader += 1) entry.render(`${reader}`, NOTHING);
    for (let spelling = 0; spelling < 100; spelling += 1) {
      expect(entry.rendition('7')).toBeDefined();
      entry.render(`again ${spelling}`, NOTHING);
    }
    expect(entry.rendition('6')).toBeUndefined();
  });

  it('gives each reader an end of his own behind the same beginning', () => {
    const entry = entryOf();
    for (const tail of [',"a":1}', ',"ü":2}', '']) entry.render(tail, { tail, headers: {} });
    for (const tail of [',"a":1}', ',"ü":2}', '']) {
      expect(bodyOf(entry, tail)).toBe(`${TEXT}${tail}`);
    }
    expect(JSON.parse(JSON.stringify(entry))).toMatchObject({ head: TEXT });
  });

  it('grows by each rendition and each coding of it', async () => {
    const entry = entryOf();
    const bare = entry.sizeBytes;
    const rendition = entry.render('alice', { tail: 'x'.repeat(5000), headers: { Link: '<y>' } });
    const rendered = entry.sizeBytes;
    const { length } = await rendition.encode('gzip');
    expect(rendered - bare).toBeGreaterThanOrEqual(5000 + 2 * 'alice'.length);
    const objects = 1300; // what is not text: measured, see rendition.ts
    expect(rendered - bare).toBeLessThan(5000 + objects);
    expect(entry.sizeBytes - rendered).toBe(length);
    entry.render('bob', { tail: 'x'.repeat(5000), headers: {} });
    expect(entry.sizeBytes - rendered - length).toBeLessThan(5000 + objects);
  });
});
