import { setImmediate } from 'node:timers/promises';
import type { Principal } from '../../auth/principal';
import type { CachedRead, ReadDescription } from '../../caching/cached-read';
import { CacheEntry } from '../../caching/cache-entry';
import type { Loaded, ResponseCache } from '../../caching/response-cache';
import { ResponsePermits } from '../../concurrency/response-permits';
import { ResponseMemory } from '../../http/response-memory';
import { ResponseComposition, ComposedResponse } from './response-composition';

const MIB = 1024 * 1024;
/** 10 MiB are shared, and 20 MiB may be taken with a permit. */
const HEAP = 100 * MIB;
const principal = { subject: 'alice', organizations: ['a'] } as unknown as Principal;
type Config = ConstructorParameters<typeof ResponsePermits>[0];
const config = {
  maxRequests: 10,
  enableQueue: true,
  queueSize: 10,
  queueTimeoutMs: 60_000,
} as Config;

let memory: ResponseMemory;
let permits: ResponsePermits;
let composition: ResponseComposition;
let reads: number;

beforeEach(() => {
  memory = new ResponseMemory(HEAP);
  permits = new ResponsePermits(config, memory);
  reads = 0;
  // Five times as much is reserved for its text: more than is shared.
  const head = Buffer.alloc(3 * MIB, 'x');
  const source = {
    getOrLoad: async (): Promise<Loaded> => {
      reads += 1;
      await setImmediate();
      return { entry: new CacheEntry({ head, tailData: null }, 0, 0), status: 'BYPASS' };
    },
  };
  composition = new ResponseComposition(source as unknown as ResponseCache, memory, permits);
});

const read = (answer: ComposedResponse, signal?: AbortSignal): Promise<Loaded> =>
  composition.part({
    principal,
    read: {} as CachedRead,
    description: {} as ReadDescription,
    options: { path: '/', response: answer, ...(signal ? { signal: () => signal } : {}) },
  });
const permitsHeld = (): object => {
  const { active, queued } = permits.compositions.permits.statistics();
  return { active, queued, reserved: memory.reserved };
};
const NONE = { active: 0, queued: 0, reserved: 0 };

/** Resolves when a part waits for a permit. */
async function oneWaits(): Promise<void> {
  while (permits.compositions.permits.statistics().queued === 0) await setImmediate();
}

async function nextIsServed(): Promise<void> {
  const answer = new ComposedResponse();
  expect((await read(answer)).entry.headBytes).toBe(3 * MIB);
  expect(permitsHeld()).toMatchObject({ active: 1 });
  answer.end();
  await setImmediate();
  expect(permitsHeld()).toEqual(NONE);
}

describe('the permit of a composed answer', () => {
  it('is not waited for any more when the answer is over', async () => {
    const first = new ComposedResponse();
    await read(first);
    const second = new ComposedResponse();
    const part = read(second);
    await oneWaits();
    second.end();
    await expect(part).rejects.toMatchObject({ code: 'CLIENT_CLOSED' });
    expect(permits.compositions.permits.statistics()).toMatchObject({ active: 1, queued: 0 });
    first.end();
    await setImmediate();
    expect(permitsHeld()).toEqual(NONE);
    await nextIsServed();
  });

  it('is given back when it comes in the moment in which the answer ends', async () => {
    const first = new ComposedResponse();
    await read(first);
    const second = new ComposedResponse();
    const part = read(second);
    await oneWaits();
    first.end(); // the permit is on its way
    second.end();
    await expect(part).rejects.toMatchObject({ code: 'CLIENT_CLOSED' });
    await setImmediate();
    expect(permitsHeld()).toEqual(NONE);
    await nextIsServed();
  });

  it('is given back by every interleaving of its end with the reads before it', async () => {
    for (let turns = 0; turns < 8; turns += 1) {
      const first = new ComposedResponse();
      await read(first);
      const second = new ComposedResponse();
      const parts = Promise.allSettled([read(second), read(second)]);
      for (let turn = 0; turn < turns; turn += 1) {
        if (turn === 3) first.end();
        await setImmediate();
      }
      second.end();
      first.end();
      await parts;
      await setImmediate();
      expect(permitsHeld()).toEqual(NONE);
    }
    await nextIsServed();
  });

  it('is given back when the signal aborts while it is waited for or comes', async () => {
    for (const isGranted of [false, true]) {
      const first = new ComposedResponse();
      await read(first);
      const second = new ComposedResponse();
      const controller = new AbortController();
      const part = read(second, controller.signal);
      await oneWaits();
      if (isGranted) first.end();
      controller.abort(new Error('left'));
      await part.catch(() => undefined);
      second.end();
      first.end();
      await setImmediate();
      expect(permitsHeld()).toEqual(NONE);
    }
    await nextIsServed();
  });

  it('is not asked for by a part of an answer that is over', async () => {
    const answer = new ComposedResponse();
    answer.end();
    await expect(read(answer)).rejects.toMatchObject({ code: 'CLIENT_CLOSED' });
    expect(reads).toBe(0);
  });
});
