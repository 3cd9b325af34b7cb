import fc from 'fast-check';
import { Quota } from './quota';

describe('Quota', () => {
  it('leaves half of itself to others', () => {
    const quota = new Quota(100, 50);
    expect(quota.acquire('flood', 50)).toBe(true);
    expect(quota.acquire('flood', 1)).toBe(false);
    expect(quota.acquire('quiet', 50)).toBe(true);
    expect(quota.acquire('third', 1)).toBe(false);
    quota.release('flood', 20);
    expect(quota.acquire('third', 20)).toBe(true);
    expect(quota.taken).toBe(100);
  });

  it('holds what has been taken and not given back, and never more than it has', () => {
    const step = fc.record({
      owner: fc.constantFrom('a', 'b', 'c'),
      amount: fc.integer({ min: 1, max: 40 }),
      isEnd: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const quota = new Quota(100, 50);
        const held: { owner: string; amount: number }[] = [];
        const sum = (of: (owner: string) => boolean) =>
          held.reduce((all, { owner, amount }) => all + (of(owner) ? amount : 0), 0);
        for (const { owner, amount, isEnd } of steps) {
          const oldest = isEnd ? held.shift() : undefined;
          if (oldest) quota.release(oldest.owner, oldest.amount);
          else if (quota.acquire(owner, amount)) held.push({ owner, amount });
          expect(quota.taken).toBe(sum(() => true));
          expect(quota.taken).toBeLessThanOrEqual(100);
          for (const one of ['a', 'b', 'c']) {
            expect(sum((other) => other === one)).toBeLessThanOrEqual(50);
          }
        }
      }),
    );
  });
});
