import fc from 'fast-check';
import crypto from 'node:crypto';
import type { LogPositions } from '../read/position';
import { MAX_POSITIONS } from '../read/log-positions';
import { feedCursor, positionsIn } from './feed-cursor';

const organizations = ['org-1', 'org-2', 'org-3'];
const micros = Date.parse('2026-11-29T12:00:00Z') * 1000 + 123456;
const positions: LogPositions = new Map([
  ['org-1', { sequence: 7n, recordedMicros: micros }],
  ['org-3', { sequence: 10n ** 17n, recordedMicros: micros + 1 }],
]);

const sequence = fc.bigInt({ min: 1n, max: 10n ** 18n - 1n });
const time = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
const position = fc.oneof(
  fc.constant({ sequence: 0n, recordedMicros: undefined }),
  fc.record({ sequence, recordedMicros: fc.option(time, { nil: undefined }) }),
);

describe('the cursor of a feed', () => {
  it('is short for one organization', () => {
    expect(feedCursor(['org-1'], positions)).toBe(`7.${micros.toString(36)}`);
    expect(feedCursor(['org-2'], positions)).toBe('0');
  });

  it('has the positions of its organizations, and of no others', () => {
    const cursor = feedCursor(organizations, positions) ?? '';
    const found = positionsIn(cursor, [...organizations]);
    expect(found).toEqual(new Map([...positions, ['org-2', { sequence: 0n }]]));
    expect(() => positionsIn(cursor, ['org-1', 'org-2', 'org-4'])).toThrow(
      'of these organizations',
    );
  });

  it('can be parsed again, and fits in a header of 4 KiB', () => {
    const lists = fc.array(position, { minLength: 1, maxLength: MAX_POSITIONS });
    fc.assert(
      fc.property(lists, (list) => {
        const ids = list.map((_, at) => `org-${at}`);
        const all = new Map(ids.map((id, at) => [id, list[at] ?? { sequence: 0n }]));
        const cursor = feedCursor(ids, all) ?? '';
        expect(cursor.length).toBeLessThanOrEqual(4096);
        expect(positionsIn(cursor, ids)).toEqual(all);
      }),
    );
  });

  it('may have only numbers, as earlier versions wrote them', () => {
    expect(positionsIn('1042', ['org-1'])).toEqual(new Map([['org-1', { sequence: 1042n }]]));
    const [fingerprint] = (feedCursor(organizations, positions) ?? '').split('~');
    const found = positionsIn(`${fingerprint}~12.0.1042`, organizations);
    expect([...found.values()].map((one) => one.sequence)).toEqual([12n, 0n, 1042n]);
  });

  it.each([
    '',
    '-1',
    '01',
    '1.',
    '1.0',
    '1.A',
    '1.-',
    '1.zzzzzzzzzzzzz',
    '0.1',
    '1.1.1',
    '1~1',
    '1 ',
    '9'.repeat(19),
  ])('is not %j', (text) => {
    expect(() => positionsIn(text, ['org-1'])).toThrow('not one that this service made');
  });

  it('takes one hash for all events of a feed', () => {
    const hashes = jest.spyOn(crypto, 'createHash');
    const own = [...organizations];
    const cursors = Array.from({ length: 100 }, () => feedCursor(own, positions));
    expect(new Set(cursors).size).toBe(1);
    expect(hashes).toHaveBeenCalledTimes(1);
    hashes.mockRestore();
  });
});
