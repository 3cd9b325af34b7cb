import { NO_FIGURES } from './measurement-sources';
import { findBottlenecks, type Measurements } from './performance-health';

const CALM = {
  loop: { p50: 0.1, p99: 2 },
  pool: { total: 10, idle: 8, waiting: 0, max: 10 },
  concurrency: { activeRequests: 3, queuedRequests: 0, maxConcurrentRequests: 50, queueSize: 1000 },
  slowQueries: { count: 0, slowest: [] },
  cache: {
    hitRatio: 90,
    totalRequests: 1000,
    totalHits: 900,
    totalMisses: 100,
    window: { requests: 1000, hitRatio: 90 },
  },
  cacheAlertPercent: 50,
} satisfies Measurements;

const BLOCKED = { loop: { p50: 80, p99: 900 } };
const SLOW_QUERY = {
  slowQueries: { count: 40, slowest: [{ name: 'events-page', count: 40, averageMs: 812.3 }] },
};
const EXHAUSTED = { pool: { total: 10, idle: 0, waiting: 14, max: 10 } };
const WAITED_FOR = {
  pool: { ...CALM.pool, recent: { lent: 20, averageMs: 812.4, successPercent: 75 } },
};
const QUEUED = {
  concurrency: {
    activeRequests: 50,
    queuedRequests: 400,
    maxConcurrentRequests: 50,
    queueSize: 1000,
  },
};
const LARGE_QUEUED = { concurrency: { ...QUEUED.concurrency, activeRequests: 3 } };
const COLD = {
  cache: {
    hitRatio: 10,
    totalRequests: 1000,
    totalHits: 100,
    totalMisses: 900,
    window: { requests: 800, hitRatio: 12.5 },
  },
};

const kinds = (...changes: Partial<Measurements>[]) =>
  findBottlenecks(Object.assign({}, CALM, ...changes) as Measurements).map(({ kind }) => kind);

describe('the likeliest bottleneck', () => {
  it('is none while all is calm, or nothing is known', () => {
    expect(kinds()).toEqual([]);
    const unknown = {
      pool: NO_FIGURES.pool(),
      concurrency: NO_FIGURES.concurrency(),
      slowQueries: NO_FIGURES.slowQueries(),
      cache: NO_FIGURES.cache(),
    };
    expect(kinds(unknown)).toEqual([]);
  });

  it.each([
    ['event loop', BLOCKED, /900 ms late/],
    ['slow query', SLOW_QUERY, /40 took longer .* "events-page" with 812 ms/],
    ['pool', EXHAUSTED, /10 of 10 connections are in use and 14 callers wait/],
    ['pool', WAITED_FOR, /too small. 2 of 10 .* took 812 ms to get on average, and 75.0 % got one/],
    ['queue', QUEUED, /50 of 50 run and 400 of at most 1000 wait/],
    ['queue', LARGE_QUEUED, /large bodies wait for each other\. 3 of 50 run and 400 of/],
    ['cache', COLD, /12.5 % of 800/],
  ] as const)('is the %s, with the figures that show it', (kind, change, text) => {
    const [first, ...others] = findBottlenecks({ ...CALM, ...change });
    expect(first?.kind).toBe(kind);
    expect(first?.text).toMatch(text);
    expect(others).toEqual([]);
  });

  it('is no pool that has lent a few connections late, as when they are first opened', () => {
    const recent = { lent: 19, averageMs: 812.4, successPercent: 100 };
    expect(kinds({ pool: { total: 10, idle: 8, waiting: 0, max: 10, recent } })).toEqual([]);
  });

  it('is no statement that was slow a few times', () => {
    const slowest = [{ name: 'events-page', count: 4, averageMs: 812.3 }];
    expect(kinds({ slowQueries: { count: 4, slowest } })).toEqual([]);
  });

  it('is a cause rather than what follows from it', () => {
    expect(kinds(BLOCKED, EXHAUSTED, QUEUED)[0]).toBe('event loop');
    expect(kinds(EXHAUSTED, QUEUED, COLD)).toEqual(['pool', 'queue', 'cache']);
    expect(kinds(QUEUED, COLD)[0]).toBe('queue');
  });
});
