import fc from 'fast-check';
import { BodyReadQuota } from './body-read-quota';

describe('BodyReadQuota', () => {
  it('leaves half of itself to others', () => {
    const room = new BodyReadQuota(100);
    expect(room.acquire('flood', 50)).toBe(true);
    expect(room.acquire('flood', 1)).toBe(false);
    expect(room.acquire('quiet', 50)).toBe(true);
    expect(room.acquire('third', 1)).toBe(false);
    room.release('flood', 20);
    expect(room.acquire('third', 20)).toBe(true);
    expect(room.taken).toBe(100);
  });

  it('holds what has been taken and not given back, and never more than it has', () => {
    const step = fc.record({
      sender: fc.constantFrom('a', 'b', 'c'),
      bytes: fc.integer({ min: 1, max: 40 }),
      isEnd: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const room = new BodyReadQuota(100);
        const held: { sender: string; bytes: number }[] = [];
        const sum = (of: (sender: string) => boolean) =>
          held.reduce((all, { sender, bytes }) => all + (of(sender) ? bytes : 0), 0);
        for (const { sender, bytes, isEnd } of steps) {
          const oldest = isEnd ? held.shift() : undefined;
          if (oldest) room.release(oldest.sender, oldest.bytes);
          else if (room.acquire(sender, bytes)) held.push({ sender, bytes });
          expect(room.taken).toBe(sum(() => true));
          expect(room.taken).toBeLessThanOrEqual(100);
          for (const one of ['a', 'b', 'c']) {
            expect(sum((other) => other === one)).toBeLessThanOrEqual(50);
          }
        }
      }),
    );
  });
});
