import { manyTicks } from '../../../test/support/event-loop-ticks';
import { EventLoopYielder } from './event-loop-yielder';

describe('EventLoopYielder', () => {
  it('gives one portion in each turn of the event loop', async () => {
    const portions = new EventLoopYielder();
    let turns = 0;
    const count = (): void => {
      turns += 1;
      if (turns < 100) setImmediate(count);
    };
    setImmediate(count);
    const [first = 0, second = 0, third = 0] = await Promise.all(
      [1, 2, 3].map(() => portions.yieldIfDue().then(() => turns)),
    );
    expect(second).toBeGreaterThan(first);
    expect(third).toBeGreaterThan(second);
  });

  describe('after a portion that took 5 ms', () => {
    let portions: EventLoopYielder;
    let done: number;

    beforeEach(async () => {
      jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] });
      portions = new EventLoopYielder();
      done = 0;
      const work = async (tookMs: number): Promise<void> => {
        await portions.yieldIfDue();
        jest.advanceTimersByTime(tookMs);
        done += 1;
      };
      await work(5);
      await manyTicks();
    });

    afterEach(() => jest.useRealTimers());

    const one = async (): Promise<void> => {
      await portions.yieldIfDue();
      done += 1;
    };

    it('leaves the event loop to others who need it for as long', async () => {
      portions.shareWhile(() => true);
      const second = one();
      await manyTicks();
      jest.advanceTimersByTime(4);
      await manyTicks();
      expect(done).toBe(1);
      jest.advanceTimersByTime(1);
      await manyTicks();
      expect(done).toBe(2);
      const third = one(); // the second took no time
      await manyTicks();
      expect(done).toBe(3);
      await Promise.all([second, third]);
    });

    it('goes on when there is nobody else', async () => {
      const second = one();
      await manyTicks();
      expect(done).toBe(2);
      await second;
    });
  });
});
