import { EventLoopPressure } from './event-loop-pressure';
import { EventLoopYielder } from '../platform/runtime/event-loop-yielder';
import { manyTicks } from '../../test/support/event-loop-ticks';

describe('EventLoopPressure', () => {
  beforeEach(() => {
    jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] });
  });
  afterEach(() => jest.useRealTimers());

  it.each([
    ['several flows and no time left', 1, ['a', 'b'], 1],
    ['several flows and time left', 0, ['a', 'b'], 2],
    ['one flow and no time left', 1, ['a', 'a'], 2],
  ])('of %s decides whether portions leave the loop to others', async (_, busy, flows, done) => {
    const yielder = new EventLoopYielder();
    const pressure = new EventLoopPressure(yielder);
    pressure.noteLoop(busy);
    for (const flow of flows) pressure.noteFlow(flow);
    let count = 0;
    const work = async (): Promise<void> => {
      await yielder.yieldIfDue();
      jest.advanceTimersByTime(5);
      count += 1;
    };
    const both = [work(), work()];
    await manyTicks();
    expect(count).toBe(done);
    jest.advanceTimersByTime(5);
    await Promise.all(both);
    expect(count).toBe(2);
  });
});
