import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { FeedBuffer, FeedMemory, recordedEventOf } from './feed-buffer';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const eventOf = (sequence: number, more: object = {}) =>
  recordedEventOf(JSON.stringify({ organizationId: 'org-1', sequence: String(sequence), ...more }));

describe('FeedBuffer', () => {
  it('gives what came, in order, and holds little of what was taken by a reader that stays behind', async () => {
    const buffer = new FeedBuffer(new FeedMemory());
    const added: WeakRef<object>[] = [];
    const add = (sequence: number) => {
      const event = eventOf(sequence);
      added.push(new WeakRef(event));
      buffer.add(event);
    };
    for (let sequence = 1; sequence <= 3; sequence += 1) add(sequence);
    for (let sequence = 4; sequence <= 3000; sequence += 1) {
      add(sequence);
      expect(buffer.take()?.sequence).toBe(BigInt(sequence - 3));
    }
    await sleep(1); // until then what has a WeakRef is kept
    collect();
    expect(added.filter((event) => event.deref() !== undefined).length).toBeLessThanOrEqual(40);
    expect(buffer.take()?.sequence).toBe(2998n); // the buffer itself is still there
  });

  it('overflows beyond 5000 events, and begins anew when cleared', () => {
    const buffer = new FeedBuffer(new FeedMemory());
    for (let sequence = 1; sequence <= 5000; sequence += 1) buffer.add(eventOf(sequence));
    expect(buffer.hasOverflowed).toBe(false);
    buffer.add(eventOf(5001));
    expect([buffer.hasOverflowed, buffer.take()]).toEqual([true, undefined]);
    buffer.clear();
    buffer.add(eventOf(1));
    expect(buffer.take()?.sequence).toBe(1n);
  });
});

it('an event on its way keeps its text and what filters look at, not its metadata as objects', () => {
  expect(eventOf(1, { metadata: { a: {} } }).members).not.toHaveProperty('metadata');
});
