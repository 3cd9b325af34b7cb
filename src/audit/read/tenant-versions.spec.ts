import fc from 'fast-check';
import { CoalescedRead } from './tenant-versions';

const immediate = () => new Promise<void>((resolve) => setImmediate(resolve));

/** The two turns of the event loop that share a read. */
async function turn(): Promise<void> {
  await immediate();
  await immediate();
}

/** Until what was scheduled, and what that schedules at once, has run. */
async function settled(): Promise<void> {
  await turn();
  await turn();
}

/** Reads that end when they are told to, numbered in the order in which they begin. */
function controlled() {
  const ends: { resolve: () => void; reject: (error: Error) => void }[] = [];
  let running = 0;
  const reads = new CoalescedRead<number>(() => {
    const number = ends.length;
    running += 1;
    expect(running).toBe(1);
    const ended = new Promise<void>((resolve, reject) => ends.push({ resolve, reject }));
    return ended.finally(() => (running -= 1)).then(() => number);
  });
  return { reads, ends };
}

describe('a shared read', () => {
  it('is one for all who ask in one turn of the event loop', async () => {
    const { reads, ends } = controlled();
    const asked = [reads.join(), reads.join()];
    await Promise.resolve().then(() => asked.push(reads.join()));
    await turn();
    expect(ends).toHaveLength(1);
    ends[0]?.resolve();
    expect(await Promise.all(asked)).toEqual([0, 0, 0]);
  });

  it('is not joined once it has begun: who asks then shares the next one', async () => {
    const { reads, ends } = controlled();
    const early = reads.join();
    await turn();
    const late = [reads.join(), reads.join()];
    await turn();
    expect(ends).toHaveLength(1);
    ends[0]?.resolve();
    expect(await early).toBe(0);
    await settled();
    ends[1]?.resolve();
    expect(await Promise.all(late)).toEqual([1, 1]);
  });

  it('that fails rejects those who shared it, and the next one goes on', async () => {
    const { reads, ends } = controlled();
    const early = [reads.join(), reads.join()].map((read) =>
      read.catch((error: Error) => error.message),
    );
    await turn();
    const late = reads.join();
    ends[0]?.reject(new Error('lost'));
    expect(await Promise.all(early)).toEqual(['lost', 'lost']);
    await settled();
    ends[1]?.resolve();
    expect(await late).toBe(1);
  });

  it('never began before it was asked for, and never waits for two to end', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom('join', 'turn', 'end', 'fail'), { maxLength: 60 }),
        async (steps) => {
          const { reads, ends } = controlled();
          let ended = 0;
          const checks: Promise<void>[] = [];
          const end = (how: 'resolve' | 'reject') => {
            if (ended === ends.length) return;
            ends[ended]?.[how](new Error(String(ended)));
            ended += 1;
          };
          const join = () => {
            const begun = ends.length;
            const got = reads.join().catch((error: Error) => Number(error.message));
            checks.push(got.then((number) => expect(number).toBe(begun)));
          };
          for (const step of steps) {
            if (step === 'join') join();
            else if (step === 'turn') await turn();
            else end(step === 'end' ? 'resolve' : 'reject');
          }
          for (let left = 0; left < 3; left += 1) {
            await settled();
            end('resolve');
          }
          await Promise.all(checks);
        },
      ),
    );
  });
});
