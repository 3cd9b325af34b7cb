import { manyTurns } from '../../test/support/loop-turns';
import { LoopPortions } from '../platform/runtime/event-loop-yielder';
import { LoopContention } from './event-loop-pressure';

describe('LoopContention', () => {
  beforeEach(() => {
    jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] });
  });
  afterEach(() => jest.useRealTimers());

  it.each([
    ['several lanes and no time left', 1, ['a', 'b'], 1],
    ['several lanes and time left', 0, ['a', 'b'], 2],
    ['one lane and no time left', 1, ['a', 'a'], 2],
  ])(
    'of %s tells the portions whether to leave the loop to others',
    async (_, busy, lanes, done) => {
      const portions = new LoopPortions();
      const contention = new LoopContention(portions);
      contention.noteLoop(busy);
      for (const lane of lanes) contention.noteLane(lane);
      let count = 0;
      const work = async (): Promise<void> => {
        await portions.next();
        jest.advanceTimersByTime(5);
        count += 1;
      };
      const both = [work(), work()];
      await manyTurns();
      expect(count).toBe(done);
      jest.advanceTimersByTime(5);
      await Promise.all(both);
      expect(count).toBe(2);
    },
  );
});
