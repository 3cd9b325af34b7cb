import { setTimeout as sleep } from 'node:timers/promises';
import { EventLoopDelay } from './process.metrics';

/** Keeps the event loop from turning for a fifth of a second. */
function block(): void {
  const untilMs = Date.now() + 200;
  while (Date.now() < untilMs);
}

describe('the delay of the event loop', () => {
  const loop = new EventLoopDelay();

  afterEach(() => {
    loop.onApplicationShutdown();
    jest.restoreAllMocks();
  });

  it('is not told of a process that has only just begun', async () => {
    let passedMs = 0;
    const now = performance.now.bind(performance);
    jest.spyOn(performance, 'now').mockImplementation(() => now() + passedMs);
    loop.onApplicationBootstrap();
    for (let time = 0; time < 3; time += 1) {
      await sleep(30); // turns that are counted
      block();
    }
    await sleep(30);
    passedMs = 5000;
    expect(loop.read()).toEqual({ p50: 0, p99: 0 });
    passedMs = 10_000;
    expect(loop.read().p99).toBeGreaterThan(100);
  });
});
