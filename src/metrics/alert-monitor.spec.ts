import {
  cacheRule,
  concurrencyRule,
  memoryRule,
  partitionRule,
  poolRule,
  slowRequestsRule,
} from './alert-monitor';
import { NO_FIGURES } from './measurement-sources';

const LIMITS = {
  memoryAlertPercent: 85,
  cacheHitRatioAlertPercent: 50,
  concurrencyAlertPercent: 95,
  slowRequestThresholdMs: 500,
};

const cache = (requests: number, hitRatio: number | undefined) =>
  cacheRule(
    { hitRatio: 0, totalRequests: 0, totalHits: 0, totalMisses: 0, window: { requests, hitRatio } },
    LIMITS,
  ).level;
const memory = (percentage: number) =>
  memoryRule({ percentage, used: 1, total: 2, limit: 'heap' }, LIMITS);
const concurrency = (activeRequests: number) =>
  concurrencyRule(
    { activeRequests, queuedRequests: 0, maxConcurrentRequests: 100, queueSize: 10 },
    LIMITS,
  ).level;
const slow = (slowCount: number, count: number) =>
  slowRequestsRule(
    { slow: slowCount, count, seconds: 60, meanMs: 1, p50Ms: 1, p95Ms: 1, p99Ms: 1 },
    LIMITS,
  ).level;
const pool = (idle: number, waiting: number) =>
  poolRule({ total: 10, idle, waiting, max: 10 }).level;

describe('the rules of alerts', () => {
  it('find memory high over its limit, and well only five points under it', () => {
    expect([84, 85, 85.1, 80.1, 80].map((percent) => memory(percent).level)).toEqual([
      'hysteresis',
      'hysteresis',
      'breach',
      'hysteresis',
      'ok',
    ]);
    expect([86, 96].map((percent) => memory(percent).severity)).toEqual(['HIGH', 'CRITICAL']);
  });

  it('find a hit ratio low only with a hundred requests', () => {
    expect(cache(99, 0)).toBe('ok');
    expect(cache(0, undefined)).toBe('ok');
    expect([49.9, 50, 54.9, 55].map((ratio) => cache(100, ratio))).toEqual([
      'breach',
      'hysteresis',
      'hysteresis',
      'ok',
    ]);
    expect(cacheRule(NO_FIGURES.cache(), LIMITS).level).toBe('ok');
  });

  it('find concurrency high over its limit', () => {
    expect([95, 96, 91, 90].map(concurrency)).toEqual(['hysteresis', 'breach', 'hysteresis', 'ok']);
    expect(concurrencyRule(NO_FIGURES.concurrency(), LIMITS).level).toBe('ok');
    // An idle service is well, however low the limit: the alert must be able to end.
    const low = { ...LIMITS, concurrencyAlertPercent: 3 };
    expect(concurrencyRule(NO_FIGURES.concurrency(), low).level).toBe('ok');
  });

  it('find requests slow when ten were and one in a hundred was', () => {
    expect(slow(0, 0)).toBe('ok');
    expect(slow(9, 9)).toBe('hysteresis');
    expect(slow(10, 10)).toBe('breach');
    expect(slow(10, 1000)).toBe('breach');
    expect(slow(10, 1001)).toBe('hysteresis');
    expect(slow(10, 2001)).toBe('ok');
    expect(slow(4, 4)).toBe('ok');
  });

  it('find a pool exhausted when all is in use and somebody waits', () => {
    expect(pool(0, 1)).toBe('breach');
    expect(pool(0, 0)).toBe('ok');
    expect(pool(1, 1)).toBe('hysteresis');
  });

  it('name the partitions that are missing', () => {
    expect(partitionRule([]).level).toBe('ok');
    expect(partitionRule(['events 2026-12'])).toMatchObject({
      level: 'breach',
      description: 'Missing: events 2026-12.',
    });
  });
});
