import { Logger } from '@nestjs/common';
import { type CachePolicy } from './cache-policy';
import { CacheWarmup, type WarmupStep } from './cache-warmup';
import type { CachedRead, ReadDescription } from './cached-read';
import type { LoadOptions, ResponseCache } from './response-cache';

/** Kind of read for these tests; the query is the number of a page. */
const READ = {
  namespace: 'books',
  read: (description: ReadDescription) => Promise.resolve(description.query),
} as unknown as CachedRead;

/** Cache that records requests; pages of `refused` cannot be read, and those of `large` are not cached. */
function warmupWith({ refused = [] as string[], large = [] as string[], isExcluded = false }) {
  const asked: { query: string; isAhead?: boolean }[] = [];
  const load = { running: 0, most: 0 };
  const getOrLoad = async (
    _read: CachedRead,
    { query }: ReadDescription,
    { isAhead }: LoadOptions,
  ) => {
    asked.push({ query, isAhead });
    load.running += 1;
    load.most = Math.max(load.most, load.running);
    await new Promise((resolve) => setImmediate(resolve));
    load.running -= 1;
    if (refused.includes(query)) throw new Error('refused');
    return { entry: { tailData: query }, ...(large.includes(query) ? {} : { key: query }) };
  };
  const warmup = new CacheWarmup(
    { getOrLoad } as unknown as ResponseCache,
    { isExcluded: () => isExcluded } as unknown as CachePolicy,
  );
  return { warmup, asked, load };
}

function step(query: string, next?: WarmupStep['next']): WarmupStep {
  return { description: { tenants: ['a'], query, variant: '' }, path: '/books', next };
}

const planOf = (...steps: WarmupStep[]) => ({ read: READ, steps: () => Promise.resolve(steps) });

describe('CacheWarmup', () => {
  beforeEach(() => jest.spyOn(Logger.prototype, 'warn').mockReturnValue());
  afterEach(() => jest.restoreAllMocks());

  it('reads the steps of all plans, uncounted', async () => {
    const { warmup, asked } = warmupWith({});
    warmup.register(planOf(step('1'), step('2')));
    warmup.register(planOf(step('3')));
    expect(await warmup.run(['a'], 7)).toEqual({ warmedUp: 3, failed: 0, total: 3 });
    expect(asked.map(({ query }) => query).sort()).toEqual(['1', '2', '3']);
    expect(asked.every(({ isAhead }) => isAhead === true)).toBe(true);
  });

  it('follows the next step of each response to the last', async () => {
    const { warmup, asked } = warmupWith({});
    const following: WarmupStep['next'] = (tailData) =>
      Number(tailData) < 5 ? step(String(Number(tailData) + 1), following) : undefined;
    warmup.register(planOf(step('1', following)));
    expect(await warmup.run(['a'], 7)).toEqual({ warmedUp: 5, failed: 0, total: 5 });
    expect(asked.map(({ query }) => query)).toEqual(['1', '2', '3', '4', '5']);
  });

  it('counts steps that cannot be read or cached as failed, and continues', async () => {
    const { warmup } = warmupWith({ refused: ['2'], large: ['3'] });
    const never = () => step('9');
    warmup.register(planOf(step('1'), step('2', never), step('3', never), step('4')));
    expect(await warmup.run(['a'], 7)).toEqual({ warmedUp: 2, failed: 2, total: 4 });
  });

  it('reads four at a time', async () => {
    const { warmup, load } = warmupWith({});
    warmup.register(planOf(...Array.from({ length: 100 }, (_, at) => step(String(at)))));
    expect((await warmup.run(['a'], 7)).warmedUp).toBe(100);
    expect(load.most).toBe(4);
  });

  it('begins nothing after twenty seconds', async () => {
    const { warmup, asked } = warmupWith({});
    warmup.register(planOf(...Array.from({ length: 9 }, (_, at) => step(String(at)))));
    let nowMs = 0;
    jest.spyOn(performance, 'now').mockImplementation(() => (nowMs += 7000));
    const result = await warmup.run(['a'], 7);
    expect(result.total).toBe(9);
    expect(result.failed).toBeGreaterThan(0);
    expect(asked).toHaveLength(result.warmedUp);
  });

  it('does not read steps that the settings exclude', async () => {
    const { warmup, asked } = warmupWith({ isExcluded: true });
    warmup.register(planOf(step('1')));
    expect(await warmup.run(['a'], 7)).toEqual({ warmedUp: 0, failed: 0, total: 0 });
    expect(asked).toEqual([]);
  });
});
