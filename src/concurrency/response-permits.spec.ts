import fc from 'fast-check';
import { setImmediate } from 'node:timers/promises';
import { AppError } from '../platform/errors/app-error';
import { ResponseMemory, type ResponseReservation } from '../http/response-memory';
import { ReadPermits } from './response-permits';

const HEAP = 100 * 1024 * 1024;
const KIB = 1024;
type Config = ConstructorParameters<typeof ReadPermits>[0];
const config = (queueSize = 1000): Config =>
  ({ maxRequests: 10, enableQueue: true, queueSize, queueTimeoutMs: 60_000 }) as Config;

/** An answer that grows by these parts, and is handed over after some turns of the event loop. */
interface Answer {
  flow: string;
  parts: number[];
  turns: number;
  /** It is not waited for any more after so many turns. */
  leavesAfter: number | undefined;
}

const answers = fc.array(
  fc.record({
    flow: fc.constantFrom('a', 'b', 'c'),
    parts: fc.array(fc.integer({ min: 0, max: 12_000 * KIB }), { minLength: 1, maxLength: 4 }),
    turns: fc.integer({ min: 0, max: 4 }),
    leavesAfter: fc.option(fc.integer({ min: 0, max: 20 }), { nil: undefined }),
  }),
  { maxLength: 25 },
);

describe('the memory for answers', () => {
  it('is never exceeded by more than one answer, never negative, and ends empty with everybody served or refused', async () => {
    const property = async (all: Answer[]): Promise<void> => {
      const memory = new ResponseMemory(HEAP);
      const permits = new ReadPermits(config(), memory);
      const bound = memory.sharedBytes + memory.responseBytes + all.length * 256 * KIB;
      const check = (): void => {
        expect(memory.reserved).toBeGreaterThanOrEqual(0);
        expect(memory.reserved).toBeLessThanOrEqual(bound);
      };
      const make = async ({ flow, parts, turns, leavesAfter }: Answer): Promise<void> => {
        const controller = new AbortController();
        const { signal } = controller;
        const work = async (reservation: ResponseReservation): Promise<void> => {
          for (const part of parts) {
            reservation.add(part);
            check();
            await setImmediate();
          }
          for (let turn = 0; turn < turns; turn += 1) await setImmediate();
        };
        const done = permits.within({ flow, signal }, work);
        if (leavesAfter !== undefined) {
          for (let turn = 0; turn < leavesAfter; turn += 1) await setImmediate();
          controller.abort(new AppError('CLIENT_CLOSED', 'left'));
        }
        const isTooLarge = parts.reduce((sum, part) => sum + part, 0) > memory.responseBytes;
        const failure: unknown = await done.then(
          () => undefined,
          (error: unknown) => error,
        );
        if (failure === undefined) expect(isTooLarge).toBe(false);
        else if (leavesAfter === undefined) {
          expect(failure).toMatchObject({ code: 'REQUEST_TOO_LARGE' });
          expect(isTooLarge).toBe(true);
        }
      };
      await Promise.all(all.map(make));
      await setImmediate();
      await setImmediate();
      expect(memory.reserved).toBe(0);
      expect(permits.statistics()).toMatchObject({ active: 0, queued: 0 });
    };
    await fc.assert(fc.asyncProperty(answers, property), { numRuns: 150 });
  });

  it('makes no small answer wait while large ones do', async () => {
    const memory = new ResponseMemory(HEAP);
    const permits = new ReadPermits(config(), memory);
    const holder = memory.reserve();
    holder.resize(memory.sharedBytes);
    const permit = await permits.acquire({ flow: 'a' });
    permit.resize(memory.responseBytes);
    const large = permits.within({ flow: 'a' }, (own) => {
      own.add(1024 * KIB);
      return Promise.resolve();
    });
    await permits.within({ flow: 'a' }, (own) => {
      own.add(256 * KIB);
      return Promise.resolve();
    });
    expect(permits.statistics().queued).toBe(1);
    permit.release();
    await large;
    holder.release();
  });

  it('gives permits to flows in rotation, and refuses beyond the queue', async () => {
    const memory = new ResponseMemory(HEAP);
    const permits = new ReadPermits(config(2), memory); // 12 may wait
    const first = await permits.acquire({ flow: 'flood' });
    const order: string[] = [];
    const ask = (flow: string): Promise<void> =>
      permits.acquire({ flow }).then((permit) => {
        order.push(flow);
        permit.release();
      });
    const flood = Array.from({ length: 12 }, () => ask('flood'));
    await expect(ask('flood')).rejects.toMatchObject({ code: 'TOO_MANY_REQUESTS' });
    const quiet = ask('quiet'); // displaces the last of the flood
    const last = flood.pop();
    await expect(last).rejects.toMatchObject({ code: 'TOO_MANY_REQUESTS' });
    first.release();
    await Promise.all([...flood, quiet]);
    expect(order.indexOf('quiet')).toBeLessThanOrEqual(1);
  });
});
