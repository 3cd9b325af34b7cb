import { batchSizeLimit, fitsBatch } from './batch-size';

describe('the size of a shared transaction', () => {
  it('is the same for one flow as for all while the event loop has time', () => {
    const size = batchSizeLimit(false);
    expect(fitsBatch(size, 100, 900, 900)).toBe(true);
    expect(fitsBatch(size, 1, 1000, 1000)).toBe(false);
  });

  it('is small for each flow while several crowd it, but never too small for its first request', () => {
    const size = batchSizeLimit(true);
    expect(fitsBatch(size, 1, 31, 31)).toBe(true);
    expect(fitsBatch(size, 1, 32, 32)).toBe(false);
    expect(fitsBatch(size, 1, 32, 0)).toBe(true);
    expect(fitsBatch(size, 100, 0, 0)).toBe(true);
    expect(fitsBatch(size, 100, 950, 0)).toBe(false);
  });
});
