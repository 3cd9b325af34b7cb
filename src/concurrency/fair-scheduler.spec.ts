import fc from 'fast-check';
import { Logger } from '@nestjs/common';
import { AppError } from '../platform/errors/app-error';
import { FairScheduler, flowKey } from './fair-scheduler';

const make = (maxRequests: number, queueSize = 100, queueTimeoutMs = 30_000, enableQueue = true) =>
  new FairScheduler({
    maxRequests,
    queueSize,
    queueTimeoutMs,
    enableQueue,
    maxSubscriptionsPerPrincipal: 1,
    maxSubscriptions: 1,
  });

/** Work that the test ends, or the abort of its signal. */
function work() {
  let finish = (): void => undefined;
  const promise = new Promise<void>((resolve) => {
    finish = resolve;
  });
  return { run: () => promise, finish: () => finish() };
}

/** Resolves when requests that were granted a permit have begun. */
const granted = () => new Promise((resolve) => setImmediate(resolve));

const timeout = () => new AppError('REQUEST_TIMEOUT', 'too long');

describe('FairScheduler', () => {
  it('admits one more for each request that waits for another server with a permit, until that is done', async () => {
    const fair = make(1);
    const [first, second, third] = [work(), work(), work()];
    const started: string[] = [];
    const start = (name: string, { run }: ReturnType<typeof work>) =>
      fair.run({ flow: name, signal: new AbortController().signal }, () => {
        started.push(name);
        return run();
      });
    const ends = [start('first', first), start('second', second)];
    expect(started).toEqual(['first']);
    fair.setExtraPermits(1);
    await granted();
    expect(started).toEqual(['first', 'second']);
    fair.setExtraPermits(0);
    ends.push(start('third', third));
    first.finish();
    await ends[0];
    await granted();
    expect(started).toEqual(['first', 'second']); // the limit is one again
    second.finish();
    await ends[1];
    await granted();
    expect(started).toEqual(['first', 'second', 'third']);
    third.finish();
    await Promise.all(ends);
    expect(fair.statistics()).toMatchObject({ active: 0 });
  });

  it('keeps its limit, counts, and gets every permit back for any end of the work', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        fc.integer({ min: 1, max: 3 }),
        fc.array(
          fc.record({
            flow: fc.constantFrom('a', 'b', 'c'),
            fails: fc.boolean(),
            aborts: fc.boolean(),
          }),
          { maxLength: 25 },
        ),
        async (scheduler, max, requests) => {
          const fair = make(max, 8);
          let running = 0;
          let most = 0;
          const ends = requests.map(async ({ flow, fails, aborts }, index) => {
            const controller = new AbortController();
            if (aborts) {
              const due = scheduler.schedule(Promise.resolve(), `abort ${index}`);
              due.then(
                () => controller.abort(timeout()),
                () => undefined,
              );
            }
            await scheduler.schedule(Promise.resolve(), `arrive ${index}`);
            return fair.run({ flow, signal: controller.signal }, async () => {
              running += 1;
              most = Math.max(most, running);
              try {
                await scheduler.schedule(Promise.resolve(), `work ${index}`);
                if (fails) throw new Error('the work failed');
              } finally {
                running -= 1;
              }
            });
          });
          const settled = Promise.allSettled(ends);
          await scheduler.waitFor(settled);
          const { active, queued, flows, granted, shed } = fair.statistics();
          expect(most).toBeLessThanOrEqual(max);
          expect({ running, active, queued, flows }).toEqual({
            running: 0,
            active: 0,
            queued: 0,
            flows: 0,
          });
          expect(granted + shed).toBeLessThanOrEqual(requests.length);
        },
      ),
      { numRuns: 100 },
    );
  });

  it('refuses at once when the queue is full, and when there is none', async () => {
    for (const fair of [make(1, 0), make(1, 100, 1000, false)]) {
      const running = work();
      const first = fair.run({ flow: 'a' }, running.run);
      const refusal = { code: 'TOO_MANY_REQUESTS', retryAfterSeconds: 1 };
      expect(() => fair.assertCapacity('a')).toThrow(expect.objectContaining(refusal));
      await expect(fair.run({ flow: 'a' }, running.run)).rejects.toMatchObject(refusal);
      running.finish();
      await first;
      expect(() => fair.assertCapacity('a')).not.toThrow();
    }
  });

  it('ends a wait that takes too long at its timeout, although no permit is released', async () => {
    const fair = make(1, 10, 30);
    const running = work();
    const first = fair.run({ flow: 'a' }, running.run);
    await expect(fair.run({ flow: 'b' }, running.run)).rejects.toMatchObject({
      code: 'QUEUE_TIMEOUT',
      retryAfterSeconds: expect.any(Number),
    });
    expect(fair.statistics()).toMatchObject({ active: 1, queued: 0, queueTimeouts: 1 });
    running.finish();
    await first;
  });

  it('removes a request from the queue as soon as its signal aborts', async () => {
    const fair = make(1);
    const running = work();
    const first = fair.run({ flow: 'a' }, running.run);
    const controller = new AbortController();
    const never = jest.fn(() => Promise.resolve());
    const second = fair.run({ flow: 'a', signal: controller.signal }, never);
    controller.abort(timeout());
    expect(fair.statistics()).toMatchObject({ queued: 0, timedOut: 1 });
    await expect(second).rejects.toMatchObject({ code: 'REQUEST_TIMEOUT' });
    running.finish();
    await first;
    expect(never).not.toHaveBeenCalled();
    expect(fair.statistics().active).toBe(0);
  });

  it('neither runs nor queues a request whose signal has aborted', async () => {
    const fair = make(1);
    const never = jest.fn(() => Promise.resolve());
    const late = { flow: 'a', signal: AbortSignal.abort(timeout()) };
    await expect(fair.run(late, never)).rejects.toMatchObject({ code: 'REQUEST_TIMEOUT' });
    const running = work();
    const first = fair.run({ flow: 'a' }, running.run);
    await expect(fair.run(late, never)).rejects.toMatchObject({ code: 'REQUEST_TIMEOUT' });
    expect(fair.statistics()).toMatchObject({ granted: 1, queued: 0, timedOut: 2 });
    running.finish();
    await first;
    expect(never).not.toHaveBeenCalled();
  });

  it('rejects for the caller when its signal aborts, and keeps the permit until the work is over', async () => {
    const fair = make(1);
    const running = work();
    const controller = new AbortController();
    const first = fair.run({ flow: 'a', signal: controller.signal }, running.run);
    controller.abort(new AppError('CLIENT_CLOSED', 'gone'));
    await expect(first).rejects.toMatchObject({ code: 'CLIENT_CLOSED' });
    expect(fair.statistics()).toMatchObject({ active: 1, cancelled: 1, utilization: 100 });
    running.finish();
    await new Promise(setImmediate);
    expect(fair.statistics().active).toBe(0);
  });

  it('computes Retry-After from the queue and from how long permits are held', async () => {
    const fair = make(2, 10_000);
    await fair.run({ flow: 'a' }, () => new Promise((resolve) => setTimeout(resolve, 60)));
    const running = [work(), work()];
    const all = running.map((one) => fair.run({ flow: 'a' }, one.run));
    const quick = () => Promise.resolve();
    for (let index = 0; index < 99; index += 1) all.push(fair.run({ flow: 'a' }, quick));
    // (99 + 1) waiters of 60 ms or a little more, two at a time: 3 s or a little more.
    expect(fair.permits.retryAfterSeconds()).toBeGreaterThanOrEqual(3);
    expect(fair.permits.retryAfterSeconds()).toBeLessThanOrEqual(10);
    for (let index = 0; index < 3000; index += 1) all.push(fair.run({ flow: 'a' }, quick));
    expect(fair.permits.retryAfterSeconds()).toBe(60); // the maximum
    running.forEach((one) => one.finish());
    await Promise.all(all);
    expect(fair.permits.retryAfterSeconds()).toBe(1);
  });

  it('logs the flows that waited most at the first refusal of an overload', async () => {
    const warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation();
    const fair = make(1, 3);
    const running = work();
    const all = [fair.run({ flow: 'org:flood' }, running.run)];
    for (const flow of ['org:flood', 'org:flood', 'org:quiet']) {
      all.push(fair.run({ flow }, () => Promise.resolve()));
    }
    running.finish();
    await Promise.all(all);
    const again = work();
    const busy = [1, 2, 3, 4].map(() => fair.run({ flow: 'org:flood' }, again.run));
    expect(() => fair.assertCapacity('org:flood')).toThrow();
    expect(() => fair.assertCapacity('org:flood')).toThrow();
    expect(warn.mock.calls.flat()).toEqual([
      expect.stringMatching(
        /1 run and 3 wait\. Waited most since the start: .*org:flood \d\.\d s in 2 waits/,
      ),
    ]);
    warn.mockRestore();
    again.finish();
    await Promise.all(busy);
  });

  it('reports the waits of flows in bounded space', async () => {
    const fair = make(1, 5000);
    const running = work();
    const all = [fair.run({ flow: 'a' }, running.run)];
    for (let index = 0; index < 1000; index += 1) {
      all.push(fair.run({ flow: `flow-${index}` }, () => Promise.resolve()));
    }
    running.finish();
    await Promise.all(all);
    const { waits, flows } = fair.statistics();
    expect(flows).toBe(0);
    expect(waits.top).toHaveLength(10);
    expect(waits.all.waits).toBe(1000);
    expect(waits.others.waits).toBe(1000 - 256);
  });
});

describe('the flow', () => {
  it.each([
    [['org-1'], 'org:org-1'],
    [['org-1', 'org-2'], 'sub:alice'],
    [[], 'sub:alice'],
    ['*' as const, 'sub:alice'],
  ])('of a principal of %j is %s', (organizations, flow) => {
    expect(flowKey({ subject: 'alice', organizations })).toBe(flow);
  });
});
