import fc from 'fast-check';
import { MAX_POSITIONS } from '../read/log-positions';
import {
  DeliveredPositions,
  organizationHash,
  parseWatermarkCursor,
  watermarkCursor,
} from './watermark-cursor';

const sequence = fc.bigInt({ min: 1n, max: 10n ** 15n });
const recordedMicros = fc.integer({ min: 1, max: Date.parse('2080-01-01') * 1000 });
const watermark = { micros: Date.parse('2026-11-30T12:00:00Z') * 1000, sum: 10n ** 20n };

describe('the cursor of a feed of many organizations', () => {
  it('can be parsed again, and fits in a header of 4 KiB', () => {
    const lists = fc.array(fc.record({ sequence, recordedMicros }), { maxLength: 300 });
    fc.assert(
      fc.property(lists, (list) => {
        const delivered = new DeliveredPositions();
        for (const [at, position] of list.entries()) delivered.set(`org-${at}`, position);
        const cursor = watermarkCursor('all', watermark, delivered);
        expect(cursor.length).toBeLessThanOrEqual(4096);
        const found = parseWatermarkCursor(cursor, 'all');
        const last = list.map((position, at) => [organizationHash(`org-${at}`), position] as const);
        expect(found).toEqual({ watermark, exceptions: new Map(last.slice(-MAX_POSITIONS)) });
        expect(parseWatermarkCursor(cursor, 'other')).toBeUndefined();
      }),
    );
  });

  it('has the positions delivered last, without those that a watermark covers', () => {
    const delivered = new DeliveredPositions();
    delivered.set('a', { sequence: 1n, recordedMicros: watermark.micros });
    delivered.set('b', { sequence: 1n, recordedMicros: watermark.micros + 1 });
    delivered.set('a', { sequence: 2n, recordedMicros: watermark.micros + 2 });
    delivered.passed(watermark);
    expect(delivered.toString().split('~')).toHaveLength(3);
    delivered.passed({ ...watermark, micros: watermark.micros + 1 });
    const { exceptions } =
      parseWatermarkCursor(watermarkCursor('all', watermark, delivered), 'all') ?? {};
    expect([...(exceptions?.keys() ?? [])]).toEqual([organizationHash('a')]);
  });

  it.each([
    '',
    'all',
    'all~',
    'all~1',
    'all~1.',
    'all~0.1',
    'all~1.1~',
    'all~1.1~x.1.1',
    'all~1.01',
  ])('is not %j', (text) => expect(parseWatermarkCursor(text, 'all')).toBeUndefined());
});
