import { LoopPortions } from './loop-portions';

describe('LoopPortions', () => {
  it('gives one portion in each turn of the event loop', async () => {
    const portions = new LoopPortions();
    let turns = 0;
    const count = (): void => {
      turns += 1;
      if (turns < 100) setImmediate(count);
    };
    setImmediate(count);
    const [first = 0, second = 0, third = 0] = await Promise.all(
      [1, 2, 3].map(() => portions.next().then(() => turns)),
    );
    expect(second).toBeGreaterThan(first);
    expect(third).toBeGreaterThan(second);
  });
});
