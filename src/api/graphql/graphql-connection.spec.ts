import { EventEmitter } from 'node:events';
import type { IncomingMessage } from 'node:http';
import WebSocket from 'ws';
import fc from 'fast-check';
import { bodyReadQuota } from '../../http/body-memory-limiter';
import type { Quota } from '../../platform/runtime/quota';
import type { Principal } from '../../auth/principal';
import { CLOSE, GraphqlConnection, UnfinishedMessage } from './graphql-connection';

const CHECK_MS = 15_000;
const KIB = 1024;

/** A socket whose kernel has taken `bytesWritten` of all that was sent, while `bufferedAmount` waits for that. */
class FakeSocket extends EventEmitter {
  readonly readyState = WebSocket.OPEN;
  bufferedAmount = 0;
  isTerminated = false;
  readonly handle = { bytesWritten: 0, writeQueueSize: 0 };

  readonly closes: number[] = [];

  ping(): void {}

  close(code: number): void {
    this.closes.push(code);
  }

  terminate(): void {
    this.isTerminated = true;
    this.emit('close');
  }
}

/** Memory for 36 KiB of one sender: a message counts three times. */
let memory: Quota;
let socket: FakeSocket;
let connection: GraphqlConnection;
/** The connection below: what has been read from it, whether or not it is a message yet. */
let network: EventEmitter & { pause: jest.Mock };

beforeEach(() => {
  jest.useFakeTimers();
  socket = new FakeSocket();
  network = Object.assign(new EventEmitter(), { _handle: socket.handle, pause: jest.fn() });
  const request = { socket: network } as unknown as IncomingMessage;
  memory = bodyReadQuota(72 * KIB);
  connection = new GraphqlConnection(socket as unknown as WebSocket, request, CHECK_MS, memory);
});

afterEach(() => jest.useRealTimers());

/** Counts the checks that the connection survives; `between` is called before each. */
function checksSurvived(most: number, between: () => void = () => undefined): number {
  for (let survived = 0; survived < most; survived += 1) {
    between();
    jest.advanceTimersByTime(CHECK_MS);
    if (socket.isTerminated) return survived;
  }
  return most;
}

describe('a WebSocket that gives no sign of life', () => {
  it('is disconnected at the second check', () => {
    expect(checksSurvived(10)).toBe(1);
  });

  it('stays as long as it answers pings', () => {
    expect(checksSurvived(10, () => socket.emit('pong', Buffer.alloc(0)))).toBe(10);
  });

  it('stays while it takes anything of what is buffered, however little', () => {
    socket.bufferedAmount = 1024 * KIB;
    expect(checksSurvived(10, () => (socket.handle.bytesWritten += KIB))).toBe(10);
  });

  it('is disconnected when it takes nothing of what is buffered', () => {
    socket.bufferedAmount = 1024 * KIB;
    expect(checksSurvived(10)).toBe(1);
  });

  it.each([
    [
      'is disconnected at the fifth check when the kernel has taken much for it before the first',
      257,
      4,
    ],
    ['is disconnected at the second when that is little', 255, 1],
  ])('%s', (_, kib, checks) => {
    socket.handle.bytesWritten = kib * KIB;
    expect(checksSurvived(10)).toBe(checks);
  });
});

describe('messages whose operations are under way', () => {
  const ends: (() => void)[] = [];
  const refusals: boolean[] = [];
  const message = (kib: number): boolean =>
    socket.emit('message', Buffer.alloc(kib * KIB, 'x'), false);

  beforeEach(() => {
    ends.length = refusals.length = 0;
    connection.principal = { subject: 'alice' } as Principal;
    connection.receive(() => {
      refusals.push(connection.isOutOfMemory);
      return new Promise<void>((resolve) => ends.push(resolve));
    });
  });

  it('hold memory when they are large, and beyond it are refused one by one', () => {
    for (let count = 1; count <= 3; count += 1) message(5);
    expect(memory.taken).toBe(2 * 15 * KIB);
    expect(refusals).toEqual([false, false, true]);
    expect(connection.isOutOfMemory).toBe(false); // of this message alone
    expect(socket.closes).toEqual([]);
  });

  it('hold none when they are small, and are taken when there is none', () => {
    for (let count = 1; count <= 3; count += 1) message(5);
    for (let count = 1; count <= 10; count += 1) message(4);
    expect(refusals.slice(3)).toEqual(Array(10).fill(false));
    expect(memory.taken).toBe(2 * 15 * KIB);
    expect(socket.closes).toEqual([]);
  });

  it('close the socket when their refusals are not read either', () => {
    for (let count = 1; count <= 7; count += 1) message(5);
    expect(refusals).toHaveLength(6);
    expect(socket.closes).toEqual([CLOSE.tryAgainLater]);
  });

  it('release it when they are over, and keep no text', async () => {
    for (let count = 1; count <= 3; count += 1) message(5);
    expect(connection.text).toBe('');
    for (const end of ends) end();
    jest.useRealTimers();
    await new Promise((resolve) => setImmediate(resolve));
    expect(memory.taken).toBe(0);
    for (let count = 1; count <= 6; count += 1) message(5);
    expect(socket.closes).toEqual([]); // refusals are released, too
  });
});

describe('a message that is not whole yet', () => {
  const read = (bytes: number) => network.emit('data', Buffer.alloc(bytes));

  it('closes the socket when it is larger than a first message may be, before there is a token', () => {
    read(127 * KIB);
    expect(socket.closes).toEqual([]);
    read(2 * KIB);
    expect(socket.closes).toEqual([CLOSE.tooBig]);
    expect(network.pause).toHaveBeenCalled();
  });

  describe('with a token', () => {
    const SIZE = 65 * KIB;
    beforeEach(() => {
      memory = bodyReadQuota(160 * KIB);
      connection = new GraphqlConnection(
        socket as unknown as WebSocket,
        { socket: network } as unknown as IncomingMessage,
        CHECK_MS,
        memory,
      );
      connection.principal = { subject: 'alice' } as Principal;
      connection.receive(() => Promise.resolve());
    });

    it('takes memory as it grows, each read with what it costs, and releases it when it is whole', () => {
      read(60 * KIB);
      expect(memory.taken).toBe(0);
      for (let part = 0; part < 20; part += 1) read(1);
      expect(memory.taken).toBe(60 * KIB + 20 + 21 * 256);
      read(5 * KIB);
      socket.emit('message', Buffer.alloc(SIZE + 14), false);
      expect(memory.taken).toBe(0);
    });

    it('closes the socket when there is no memory for it, and releases what it had', () => {
      read(70 * KIB);
      expect(memory.taken).toBeGreaterThan(0);
      read(10 * KIB);
      expect(socket.closes).toContain(CLOSE.tryAgainLater);
      socket.terminate();
      expect(memory.taken).toBe(0);
    });
  });
});

/** A masked frame, by what it carries (RFC 6455, section 5.2). */
interface Frame {
  kind: 'message' | 'ping';
  bytes: number;
}

const lengthOf = ({ bytes }: Frame) => bytes + 6 + (bytes < 126 ? 0 : 2);

/** Gives the frames as a connection would, in chunks, as far as `until` of the bytes. */
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

  it('goes back to no more than a chunk after each message, whatever the chunks are, and pings leave nothing', () => {
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
