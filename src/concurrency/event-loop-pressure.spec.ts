import { manyTicks } from '../../test/support/event-loop-ticks';
import { EventLoopYielder } from '../platform/runtime/event-loop-yielder';
import { EventLoopPressure } from './event-loop-pressure';

describe('EventLoopPressure', () => {
  beforeEach(() => {
    jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] });
  });
  afterEach(() => jest.useRealTimers());

  it.each([
    ['several flows and no time left', 1, ['a', 'b'], 1],
    ['several flows and time left', 0, ['a', 'b'], 2],
    ['one flow and no time left', 1, ['a', 'a'], 2],
  ])(
    'of %s tells the portions whether to leave the loop to others',
    async (_, busy, flows, done) => {
      const portions = new EventLoopYielder();
      const contention = new EventLoopPressure(portions);
      contention.noteLoop(busy);
      for (const flow of flows) contention.noteFlow(flow);
      let count = 0;
      const work = async (): Promise<void> => {
        await portions.yieldIfDue();
        jest.advanceTimersByTime(5);
        count += 1;
      };
      const both = [work(), work()];
      await manyTicks();
      expect(count).toBe(done);
      jest.advanceTimersByTime(5);
      await Promise.all(both);
      expect(count).toBe(2);
    },
  );
});
