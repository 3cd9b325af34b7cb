import fc from 'fast-check';
import { setImmediate } from 'node:timers/promises';
import { AppError } from '../platform/errors/app-error';
import { ResponseMemory, type ResponseReservation } from '../http/response-memory';
import { ResponsePermitPool } from './response-permits';

const HEAP = 100 * 1024 * 1024;
const KIB = 1024;
type Config = ConstructorParameters<typeof ResponsePermitPool>[0];
const config = (queueSize = 1000): Config =>
  ({ maxRequests: 10, enableQueue: true, queueSize, queueTimeoutMs: 60_000 }) as Config;

/** Response that grows by these parts, and is sent after some iterations of the event loop. */
interface Response {
  flow: string;
  parts: number[];
  iterations: number;
  /** Iterations after which the client disconnects. */
  disconnectsAfter: number | undefined;
}

const responses = fc.array(
  fc.record({
    flow: fc.constantFrom('a', 'b', 'c'),
    parts: fc.array(fc.integer({ min: 0, max: 12_000 * KIB }), { minLength: 1, maxLength: 4 }),
    iterations: fc.integer({ min: 0, max: 4 }),
    disconnectsAfter: fc.option(fc.integer({ min: 0, max: 20 }), { nil: undefined }),
  }),
  { maxLength: 25 },
);

describe('ResponsePermitPool', () => {
  it('keeps memory within one response of its bound, never negative, and empty at the end with all served or refused', async () => {
    const property = async (all: Response[]): Promise<void> => {
      const memory = new ResponseMemory(HEAP);
      const pool = new ResponsePermitPool(config(), memory);
      const bound = memory.sharedBytes + memory.responseBytes + all.length * 256 * KIB;
      const check = (): void => {
        expect(memory.reserved).toBeGreaterThanOrEqual(0);
        expect(memory.reserved).toBeLessThanOrEqual(bound);
      };
      const make = async ({
        flow,
        parts,
        iterations,
        disconnectsAfter,
      }: Response): Promise<void> => {
        const controller = new AbortController();
        const { signal } = controller;
        const work = async (reservation: ResponseReservation): Promise<void> => {
          for (const part of parts) {
            reservation.add(part);
            check();
            await setImmediate();
          }
          for (let done = 0; done < iterations; done += 1) await setImmediate();
        };
        const done = pool.withReservation({ flow, signal }, work);
        if (disconnectsAfter !== undefined) {
          for (let done = 0; done < disconnectsAfter; done += 1) await setImmediate();
          controller.abort(new AppError('CLIENT_CLOSED', 'left'));
        }
        const isTooLarge = parts.reduce((sum, part) => sum + part, 0) > memory.responseBytes;
        const failure: unknown = await done.then(
          () => undefined,
          (error: unknown) => error,
        );
        if (failure === undefined) expect(isTooLarge).toBe(false);
        else if (disconnectsAfter === undefined) {
          expect(failure).toMatchObject({ code: 'REQUEST_TOO_LARGE' });
          expect(isTooLarge).toBe(true);
        }
      };
      await Promise.all(all.map(make));
      await setImmediate();
      await setImmediate();
      expect(memory.reserved).toBe(0);
      expect(pool.permits.statistics()).toMatchObject({ active: 0, queued: 0 });
    };
    await fc.assert(fc.asyncProperty(responses, property), { numRuns: 150 });
  });

  it('delays no small response while large ones wait', async () => {
    const memory = new ResponseMemory(HEAP);
    const pool = new ResponsePermitPool(config(), memory);
    const holder = memory.reserve();
    holder.resize(memory.sharedBytes);
    const permit = await pool.acquire({ flow: 'a' });
    permit.resize(memory.responseBytes);
    const large = pool.withReservation({ flow: 'a' }, (own) => {
      own.add(1024 * KIB);
      return Promise.resolve();
    });
    await pool.withReservation({ flow: 'a' }, (own) => {
      own.add(256 * KIB);
      return Promise.resolve();
    });
    expect(pool.permits.statistics().queued).toBe(1);
    permit.release();
    await large;
    holder.release();
  });

  it('grants permits to flows round robin, and refuses beyond the queue', async () => {
    const memory = new ResponseMemory(HEAP);
    const pool = new ResponsePermitPool(config(2), memory); // 12 may wait
    const first = await pool.acquire({ flow: 'flood' });
    const order: string[] = [];
    const ask = (flow: string): Promise<void> =>
      pool.acquire({ flow }).then((permit) => {
        order.push(flow);
        permit.release();
      });
    const flood = Array.from({ length: 12 }, () => ask('flood'));
    await expect(ask('flood')).rejects.toMatchObject({ code: 'TOO_MANY_REQUESTS' });
    const quiet = ask('quiet'); // evicts the last of the flood
    const last = flood.pop();
    await expect(last).rejects.toMatchObject({ code: 'TOO_MANY_REQUESTS' });
    first.release();
    await Promise.all([...flood, quiet]);
    expect(order.indexOf('quiet')).toBeLessThanOrEqual(1);
  });
});
