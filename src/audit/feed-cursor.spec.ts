import crypto from 'node:crypto';
import { feedCursor, type FeedPlaces, placesIn } from './feed-cursor';

const organizations = ['org-1', 'org-2', 'org-3'];
const places: FeedPlaces = new Map([
  ['org-1', 7n],
  ['org-3', 10n ** 17n],
]);

describe('the cursor of a feed', () => {
  it('names the places of its organizations, and those of no others', () => {
    const cursor = feedCursor(organizations, places) ?? '';
    expect(placesIn(cursor, [...organizations])).toEqual(new Map([...places, ['org-2', 0n]]));
    expect(() => placesIn(cursor, ['org-1', 'org-2', 'org-4'])).toThrow('of these organizations');
  });

  it('takes one hash for as many events as a feed has', () => {
    const hashes = jest.spyOn(crypto, 'createHash');
    const own = [...organizations];
    const cursors = Array.from({ length: 100 }, () => feedCursor(own, places));
    expect(new Set(cursors).size).toBe(1);
    expect(hashes).toHaveBeenCalledTimes(1);
    hashes.mockRestore();
  });
});
