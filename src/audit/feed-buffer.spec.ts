import { FeedBuffer } from './feed-buffer';
import { recordedEventOf } from './feed-event';

const eventOf = (sequence: number, more: object = {}) =>
  recordedEventOf(JSON.stringify({ organizationId: 'org-1', sequence: String(sequence), ...more }));

describe('FeedBuffer', () => {
  it('gives what came, in order, and holds little of what was taken by a reader that stays behind', () => {
    const buffer = new FeedBuffer();
    for (let sequence = 1; sequence <= 3; sequence += 1) buffer.add(eventOf(sequence));
    for (let sequence = 4; sequence <= 3000; sequence += 1) {
      buffer.add(eventOf(sequence));
      expect(buffer.take()?.sequence).toBe(BigInt(sequence - 3));
      expect(buffer.held).toBeLessThanOrEqual(40);
    }
  });

  it('overflows beyond 5000 events, and begins anew when cleared', () => {
    const buffer = new FeedBuffer();
    for (let sequence = 1; sequence <= 5000; sequence += 1) buffer.add(eventOf(sequence));
    expect(buffer.hasOverflowed).toBe(false);
    buffer.add(eventOf(5001));
    expect([buffer.hasOverflowed, buffer.held, buffer.take()]).toEqual([true, 0, undefined]);
    buffer.clear();
    buffer.add(eventOf(1));
    expect(buffer.take()?.sequence).toBe(1n);
  });
});

it('an event on its way keeps its text and what filters look at, not its metadata as objects', () => {
  expect(eventOf(1, { metadata: { a: {} } }).members).not.toHaveProperty('metadata');
});
