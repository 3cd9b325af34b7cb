import fc from 'fast-check';
import { UnfinishedMessage } from './unfinished-message';

/** A masked frame, by what it carries (RFC 6455, section 5.2). */
interface Frame {
  kind: 'message' | 'ping';
  bytes: number;
}

const lengthOf = ({ bytes }: Frame) => bytes + 6 + (bytes < 126 ? 0 : 2);

/** Gives the frames as a connection would, cut into chunks, as far as `until` of the bytes. */
function receive(frames: Frame[], chunkBytes: number, until = 1): UnfinishedMessage {
  const unfinished = new UnfinishedMessage();
  let end = 0;
  const ends = frames.map((frame) => ({ ...frame, end: (end += lengthOf(frame)) }));
  const stop = Math.floor(end * until);
  for (let at = 0; at < stop; at += chunkBytes) {
    const upTo = Math.min(stop, at + chunkBytes);
    unfinished.add(upTo - at);
    while (ends[0] && ends[0].end <= upTo) {
      const { kind, bytes } = ends.shift() as Frame;
      if (kind === 'message') unfinished.finish(bytes);
      else unfinished.passControl(bytes);
    }
  }
  return unfinished;
}

describe('UnfinishedMessage', () => {
  const frame = fc.oneof(
    fc.record({ kind: fc.constant('message' as const), bytes: fc.integer({ min: 0, max: 3000 }) }),
    fc.record({ kind: fc.constant('ping' as const), bytes: fc.integer({ min: 0, max: 125 }) }),
  );

  it('goes back to no more than a chunk after each message, however the bytes are cut, and pings leave nothing', () => {
    fc.assert(
      fc.property(fc.array(frame), fc.integer({ min: 1, max: 5000 }), (frames, chunkBytes) => {
        const last: Frame = { kind: 'message', bytes: 10 };
        expect(receive([...frames, last], chunkBytes).cost).toBeLessThanOrEqual(chunkBytes + 256);
      }),
    );
  });

  it('counts all that has come of a message', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 3000 }),
        fc.integer({ min: 1, max: 500 }),
        (bytes, chunk) => {
          const half = receive([{ kind: 'message', bytes }], chunk, 0.5);
          expect(half.cost).toBeGreaterThanOrEqual(
            Math.floor(lengthOf({ kind: 'message', bytes }) / 2),
          );
        },
      ),
    );
  });

  it('counts fragments of one byte as what they take, with pongs between them', () => {
    const unfinished = new UnfinishedMessage();
    for (let fragment = 0; fragment < 100; fragment += 1) {
      unfinished.add(7);
      unfinished.add(6);
      unfinished.passControl(0);
    }
    expect(unfinished.cost).toBeGreaterThanOrEqual(100 * 256);
  });
});
