import fc from 'fast-check';
import { setImmediate as tick } from 'node:timers/promises';
import {
  type Attempt,
  CommitQueue,
  type CommitQueueOptions,
  FlowQueue,
  type FlowShare,
  type Outcome,
  type Queued,
  type Recovery,
} from './commit-queue';

interface Request extends Queued {
  name: string;
}

type Batch = readonly Request[];

/** Commit whose result the test decides: batches wait until they are settled. */
class FakeCommit {
  readonly batches: { names: string[]; attempt: Attempt; settle: (error?: Error) => void }[] = [];
  readonly committed: string[] = [];
  refused = new Set<string>();

  readonly commit = (batch: Batch, attempt: Attempt): Promise<Outcome<string>[]> =>
    new Promise((resolve, reject) => {
      attempt.isCommitting = batch.length > 1;
      const names = batch.map(({ name }) => name);
      const settle = (error?: Error): void => {
        if (error) return reject(error);
        const outcomes = names.map((name) => {
          if (this.refused.has(name)) return { refusal: new Error(`${name} is refused`) };
          this.committed.push(name);
          return { result: name };
        });
        resolve(outcomes);
      };
      this.batches.push({ names, attempt, settle });
      const [{ signal }] = batch as [Request];
      // As PostgreSQL does with a transaction of one whose signal aborts.
      if (batch.length === 1 && signal) {
        signal.addEventListener('abort', () => {
          if (!attempt.isCommitting) reject(signal.reason as Error);
        });
      }
    });

  /** Settles the batch with number `index` once it has begun. */
  async settle(index: number, error?: Error): Promise<string[]> {
    for (;;) {
      const batch = this.batches[index];
      if (batch) {
        batch.settle(error);
        await tick();
        await tick();
        return batch.names;
      }
      await tick();
    }
  }
}

function queueOf(
  fake: FakeCommit,
  recover: (error: Error, batch: Batch) => Recovery<Request> = (error) => ({
    kind: 'reject',
    error,
  }),
  changes: Partial<CommitQueueOptions<Request, string>> = {},
): CommitQueue<Request, string> {
  return new CommitQueue<Request, string>({
    commit: fake.commit,
    recover: (error, batch) => recover(error as Error, batch),
    batchLimit: () => ({ size: 100, sizeOfFlow: 100 }),
    abandoned: () => new Error('not known'),
    exclusiveAbove: 10,
    maxExclusive: 2,
    abandonAfterMs: 60_000,
    maxRequeues: 2,
    ...changes,
  });
}

function request(name: string, changes: Partial<Request> = {}): Request {
  return { name, flow: 'a', size: 1, keys: new Set(['k']), ...changes };
}

/** Sends requests with these names; returns the outcomes by name as they come. */
function send(queue: CommitQueue<Request, string>, ...requests: Request[]): Map<string, string> {
  const ends = new Map<string, string>();
  for (const one of requests) {
    queue.submit(one).then(
      () => ends.set(one.name, 'ok'),
      (error: Error) => ends.set(one.name, error.message),
    );
  }
  return ends;
}

describe('a queue of commits', () => {
  it('commits at once when it is idle, and requests that arrive meanwhile as one batch', async () => {
    const fake = new FakeCommit();
    const queue = queueOf(fake);
    const ends = send(queue, request('1'), request('2'), request('3'));
    expect(await fake.settle(0)).toEqual(['1']);
    expect(await fake.settle(1)).toEqual(['2', '3']);
    expect([...ends.values()]).toEqual(['ok', 'ok', 'ok']);
    await queue.whenIdle();
  });

  it('answers no request before its commit has resolved', async () => {
    const fake = new FakeCommit();
    const ends = send(queueOf(fake), request('1'));
    await tick();
    expect(fake.batches).toHaveLength(1);
    expect(ends.size).toBe(0);
    await fake.settle(0);
    expect(ends.get('1')).toBe('ok');
  });

  it('takes flows in turn, and of one flow no more than its limit', async () => {
    const fake = new FakeCommit();
    const queue = queueOf(fake, undefined, { batchLimit: () => ({ size: 4, sizeOfFlow: 2 }) });
    send(queue, request('first'));
    const flood = ['f1', 'f2', 'f3', 'f4'].map((name) => request(name, { flow: 'flood' }));
    send(queue, ...flood, request('quiet', { flow: 'quiet' }));
    await fake.settle(0);
    expect(await fake.settle(1)).toEqual(['f1', 'quiet', 'f2']);
    expect(await fake.settle(2)).toEqual(['f3', 'f4']);
  });

  it('runs large requests by themselves, two at a time, beside the batch and never with its keys', async () => {
    const fake = new FakeCommit();
    const queue = queueOf(fake);
    const large = (name: string, key: string) => request(name, { size: 50, keys: new Set([key]) });
    send(queue, large('l1', 'x'), large('l2', 'y'), large('l3', 'z'));
    send(queue, request('small', { keys: new Set(['x']) }), request('other'));
    await tick();
    expect(fake.batches.map(({ names }) => names)).toEqual([['l1'], ['l2'], ['other']]);
    await fake.settle(0);
    expect(fake.batches.slice(3).flatMap(({ names }) => names)).toEqual(['l3']);
    await fake.settle(2);
    expect(await fake.settle(4)).toEqual(['small']);
  });

  it('refuses one request of a batch without the others', async () => {
    const fake = new FakeCommit();
    fake.refused.add('2');
    const ends = send(queueOf(fake), request('1'), request('2'), request('3'));
    await fake.settle(0);
    await fake.settle(1);
    expect(Object.fromEntries(ends)).toEqual({ 1: 'ok', 2: '2 is refused', 3: 'ok' });
  });

  it('isolates the requests of a failed batch: only the one at fault fails', async () => {
    const fake = new FakeCommit();
    const recover = (error: Error, batch: Batch): Recovery<Request> =>
      batch.length > 1 ? { kind: 'isolate' } : { kind: 'reject', error };
    const ends = send(queueOf(fake, recover), request('1'), request('2'), request('3'));
    await fake.settle(0);
    await fake.settle(1, new Error('poison'));
    expect(await fake.settle(2)).toEqual(['2']);
    expect(await fake.settle(3, new Error('poison'))).toEqual(['3']);
    expect(Object.fromEntries(ends)).toEqual({ 1: 'ok', 2: 'ok', 3: 'poison' });
  });

  it('keeps requests for a quarantined key apart until one of them succeeds', async () => {
    const fake = new FakeCommit();
    const recover = (error: Error, batch: Batch): Recovery<Request> =>
      batch.length > 1 ? { kind: 'quarantine', keys: ['held'] } : { kind: 'reject', error };
    const queue = queueOf(fake, recover);
    const held = (name: string) => request(name, { keys: new Set(['held']) });
    send(queue, request('0'), held('h1'), request('1'), held('h2'), request('2'));
    await fake.settle(0);
    await fake.settle(1, new Error('locked'));
    expect(fake.batches.slice(2).map(({ names }) => names)).toEqual([['h1'], ['1', '2']]);
    await fake.settle(2); // succeeds: no quarantine any more
    await fake.settle(3);
    const ends = send(queue, request('3'), held('h3'));
    expect(await fake.settle(4)).toEqual(['h2']);
    expect(await fake.settle(5)).toEqual(['3', 'h3']);
    expect(Object.fromEntries(ends)).toEqual({ 3: 'ok', h3: 'ok' });
  });

  it('fails all requests that wait for the keys of a failed one when recovery includes them', async () => {
    const fake = new FakeCommit();
    const queue = queueOf(fake, (error) => ({ kind: 'reject', error, includeWaiting: true }));
    const ends = send(queue, request('1'), request('2'), request('3', { keys: new Set(['o']) }));
    await fake.settle(0, new Error('locked'));
    expect(Object.fromEntries(ends)).toEqual({ 1: 'locked', 2: 'locked' });
    expect(await fake.settle(1)).toEqual(['3']);
  });

  it('requeues requests once they are prepared, and fails them after the last attempt', async () => {
    const fake = new FakeCommit();
    const prepared: string[] = [];
    const recover = (error: Error): Recovery<Request> => ({
      kind: 'requeue',
      error,
      prepare: ({ name }) => {
        prepared.push(name);
        return name === '2' ? Promise.reject(new Error('cannot be prepared')) : Promise.resolve();
      },
    });
    const queue = queueOf(fake, recover);
    const ends = send(queue, request('0'), request('1'), request('2'));
    await fake.settle(0);
    for (const batch of [1, 2, 3]) await fake.settle(batch, new Error('missing'));
    expect(prepared).toEqual(['1', '2', '1']);
    expect(Object.fromEntries(ends)).toEqual({ 0: 'ok', 1: 'missing', 2: 'cannot be prepared' });
    await queue.whenIdle();
  });

  describe('whose callers stop waiting', () => {
    it('removes those that wait, and for others the outcome is unknown', async () => {
      const fake = new FakeCommit();
      const queue = queueOf(fake);
      const [waits, runs] = [new AbortController(), new AbortController()];
      const ends = send(queue, request('0'));
      send(queue, request('batch'));
      const ended = send(queue, request('runs', { signal: runs.signal }));
      await fake.settle(0);
      const left = send(queue, request('waits', { signal: waits.signal }));
      waits.abort(new Error('gone'));
      runs.abort(new Error('gone'));
      await tick();
      expect(Object.fromEntries([...ends, ...left, ...ended])).toEqual({
        0: 'ok',
        waits: 'gone',
        runs: 'not known',
      });
      await fake.settle(1);
      await queue.whenIdle();
      expect(fake.committed).toEqual(['0', 'batch', 'runs']);
    });

    it('rolls back a request alone in its transaction, unless the commit was sent', async () => {
      const fake = new FakeCommit();
      const queue = queueOf(fake);
      const [early, late] = [new AbortController(), new AbortController()];
      const ends = send(queue, request('early', { signal: early.signal }));
      early.abort(new Error('gone'));
      await queue.whenIdle();
      expect(ends.get('early')).toBe('gone');
      const others = send(queue, request('late', { signal: late.signal }));
      const [, sent] = fake.batches;
      if (sent) sent.attempt.isCommitting = true;
      late.abort(new Error('gone'));
      await tick();
      expect(others.get('late')).toBe('not known');
      await fake.settle(1);
    });

    it('does not begin a request whose signal has aborted', async () => {
      const fake = new FakeCommit();
      const gone = AbortSignal.abort(new Error('gone'));
      const ends = send(queueOf(fake), request('1', { signal: gone }));
      await tick();
      expect(ends.get('1')).toBe('gone');
      expect(fake.batches).toEqual([]);
    });

    it('counts the requests of running transactions until they are answered', async () => {
      const fake = new FakeCommit();
      const counts: number[] = [];
      const queue = queueOf(fake, undefined, { onUnanswered: (count) => counts.push(count) });
      const controller = new AbortController();
      send(queue, request('0'));
      send(queue, request('1', { signal: controller.signal }), request('2'));
      await fake.settle(0);
      controller.abort(new Error('gone'));
      await tick();
      expect(counts).toEqual([1, 0, 2, 1]);
      await fake.settle(1);
      expect(counts).toEqual([1, 0, 2, 1, 0]);
    });
  });

  it('limits waiting requests by flow', () => {
    const queue = queueOf(new FakeCommit());
    send(queue, request('0'), request('1', { flow: 'flood', size: 9 }));
    expect(queue.hasCapacityFor({ flow: 'flood', size: 2 }, 10)).toBe(false);
    expect(queue.hasCapacityFor({ flow: 'quiet', size: 5 }, 10)).toBe(true);
  });

  it('answers every request exactly once, whatever fails, and commits an acknowledged one once', async () => {
    const plan = fc.record({
      size: fc.constantFrom(1, 1, 1, 5, 20),
      flow: fc.constantFrom('a', 'b', 'c'),
      key: fc.constantFrom('x', 'y', 'z'),
      isPoison: fc.boolean(),
      pause: fc.integer({ min: 0, max: 3 }),
    });
    const kinds = fc.array(fc.constantFrom('ok', 'ok', 'quarantine', 'requeue', 'isolate'));
    await fc.assert(
      fc.asyncProperty(fc.array(plan, { maxLength: 30 }), kinds, async (plans, faults) => {
        const committed: string[] = [];
        const running = new Set<string>();
        const queue = new CommitQueue<Request & { isPoison: boolean }, string>({
          commit: async (batch) => {
            const keys = batch.flatMap((one) => [...one.keys]);
            const isExclusive = batch.some(({ size }) => size > 10);
            if (isExclusive) for (const key of keys) expect(running.has(key)).toBe(false);
            if (isExclusive) for (const key of keys) running.add(key);
            await tick();
            if (isExclusive) for (const key of keys) running.delete(key);
            const fault = batch.length > 1 ? (faults.pop() ?? 'ok') : 'ok';
            if (fault !== 'ok') throw new Error(fault);
            if (batch.some(({ isPoison }) => isPoison)) throw new Error('poison');
            committed.push(...batch.map(({ name }) => name));
            return batch.map(({ name }) => ({ result: name }));
          },
          recover: (error, batch) => {
            const { message } = error as Error;
            if (batch.length === 1) return { kind: 'reject', error: error as Error };
            if (message === 'quarantine') return { kind: 'quarantine', keys: ['x'] };
            if (message === 'requeue') {
              return { kind: 'requeue', error: error as Error, prepare: () => tick() };
            }
            return { kind: 'isolate' };
          },
          batchLimit: () => ({ size: 20, sizeOfFlow: 5 }),
          abandoned: () => new Error('not known'),
          exclusiveAbove: 10,
          maxExclusive: 2,
          abandonAfterMs: 60_000,
          maxRequeues: 3,
        });
        const ends = await Promise.all(
          plans.map(async ({ size, flow, key, isPoison, pause }, index) => {
            for (let turn = 0; turn < pause; turn += 1) await tick();
            const one = { name: String(index), size, flow, keys: new Set([key]), isPoison };
            return queue.submit(one).then(
              (name) => ({ name }),
              (error: Error) => ({ error: error.message }),
            );
          }),
        );
        await queue.whenIdle();
        const acknowledged = ends.flatMap((end) => ('name' in end ? [end.name] : []));
        expect([...committed].sort()).toEqual([...acknowledged].sort());
        expect(new Set(committed).size).toBe(committed.length);
        ends.forEach((end, index) => {
          if ('name' in end) expect(plans[index]?.isPoison).toBe(false);
          else expect(['poison', 'requeue']).toContain(end.error);
        });
        expect(queue.statistics()).toEqual({ requests: 0, size: 0, running: 0, unanswered: 0 });
      }),
      { numRuns: 100 },
    );
  });
});

const MAX_SIZE = 100;

const flowsOf = (): FlowQueue<FlowShare> => new FlowQueue((entry) => entry);
const share = (flow: string, size: number): FlowShare => ({ flow, size });

describe('capacity of a queue of flows', () => {
  it('is available to every flow below the limit', () => {
    const waiting = flowsOf();
    expect(waiting.hasCapacityFor(share('a', MAX_SIZE), MAX_SIZE)).toBe(true);
    expect(waiting.hasCapacityFor(share('a', MAX_SIZE + 1), MAX_SIZE)).toBe(false);
  });

  it('is refused to the flow that has used it up, and to no other', () => {
    const waiting = flowsOf();
    waiting.enqueue(share('flood', MAX_SIZE));
    expect(waiting.hasCapacityFor(share('flood', 1), MAX_SIZE)).toBe(false);
    expect(waiting.hasCapacityFor(share('quiet', MAX_SIZE), MAX_SIZE)).toBe(true);
    waiting.enqueue(share('quiet', 10));
    expect(waiting.hasCapacityFor(share('quiet', 40), MAX_SIZE)).toBe(true);
    expect(waiting.hasCapacityFor(share('quiet', 41), MAX_SIZE)).toBe(false);
  });

  it('is exact after any sequence of taken, requeued and removed requests', () => {
    const step = fc.record({
      kind: fc.constantFrom('add', 'take', 'requeue', 'leave'),
      flow: fc.constantFrom('a', 'b', 'c'),
      events: fc.integer({ min: 1, max: 60 }),
    });
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const waiting = flowsOf();
        const inside = new Set<FlowShare>();
        let outside: FlowShare[] = [];
        for (const { kind, flow, events } of steps) {
          if (kind === 'add') {
            const one = share(flow, events);
            waiting.enqueue(one);
            inside.add(one);
          } else if (kind === 'take') {
            const taken = waiting.dequeue((one) => one.flow === flow, 2);
            for (const one of taken) inside.delete(one);
            outside.push(...taken);
          } else if (kind === 'requeue') {
            waiting.requeue(outside);
            for (const one of outside) inside.add(one);
            outside = [];
          } else {
            const [one] = inside;
            if (one) expect(waiting.remove(one)).toBe(inside.delete(one));
          }
        }
        const ofFlow = (flow: string) =>
          [...inside].filter((one) => one.flow === flow).reduce((sum, { size }) => sum + size, 0);
        const flows = ['a', 'b', 'c'].filter((flow) => ofFlow(flow) > 0);
        const all = ofFlow('a') + ofFlow('b') + ofFlow('c');
        expect(waiting.size).toBe(all);
        for (const flow of flows) {
          const isRoom = waiting.hasCapacityFor(share(flow, 1), MAX_SIZE);
          expect(isRoom).toBe(all + 1 <= MAX_SIZE || ofFlow(flow) + 1 <= MAX_SIZE / flows.length);
        }
        expect(waiting.hasCapacityFor(share('new', MAX_SIZE), MAX_SIZE)).toBe(true);
      }),
    );
  });
});
