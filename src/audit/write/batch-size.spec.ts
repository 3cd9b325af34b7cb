import { groupSize, hasPlace } from './batch-size';

describe('the size of a shared transaction', () => {
  it('is the same for one lane as for all while the event loop has time', () => {
    const size = groupSize(false);
    expect(hasPlace(size, 100, 900, 900)).toBe(true);
    expect(hasPlace(size, 1, 1000, 1000)).toBe(false);
  });

  it('is small for each lane while several crowd it, but never too small for its first request', () => {
    const size = groupSize(true);
    expect(hasPlace(size, 1, 31, 31)).toBe(true);
    expect(hasPlace(size, 1, 32, 32)).toBe(false);
    expect(hasPlace(size, 1, 32, 0)).toBe(true);
    expect(hasPlace(size, 100, 0, 0)).toBe(true);
    expect(hasPlace(size, 100, 950, 0)).toBe(false);
  });
});
