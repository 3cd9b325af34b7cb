import type { RedisConnection } from '../platform/redis/redis-connection';
import { RateLimitStorage } from './rate-limit';

const HOUR_MS = 3_600_000;

describe('a window in this process', () => {
  const storage = () => new RateLimitStorage({ isAvailable: false } as RedisConnection);

  it('keeps its length when the wall clock is set back or ahead', async () => {
    const counts = storage();
    const nowMs = Date.now();
    const clock = jest.spyOn(Date, 'now').mockReturnValue(nowMs);
    try {
      await counts.increment('alice', 10_000, 2);
      clock.mockReturnValue(nowMs - HOUR_MS);
      const { timeToExpire, totalHits } = await counts.increment('alice', 10_000, 2);
      expect(timeToExpire).toBeLessThanOrEqual(10);
      expect(totalHits).toBe(2);
      clock.mockReturnValue(nowMs + HOUR_MS);
      expect(await counts.increment('alice', 10_000, 2)).toMatchObject({
        totalHits: 3,
        isBlocked: true,
      });
    } finally {
      clock.mockRestore();
    }
  });
});
