import { EventEmitter } from 'node:events';
import type { IncomingMessage } from 'node:http';
import WebSocket from 'ws';
import { bodyReadQuota } from '../../http/body-memory-limiter';
import type { Quota } from '../../platform/runtime/quota';
import type { Principal } from '../../auth/principal';
import { CLOSE, GraphqlConnection } from './graphql-connection';

const CHECK_MS = 15_000;
const KIB = 1024;

/** The network: what of all that was sent the kernel has taken, and what waits for that here. */
class FakeSocket extends EventEmitter {
  readonly readyState = WebSocket.OPEN;
  bufferedAmount = 0;
  isCut = false;
  readonly handle = { bytesWritten: 0, writeQueueSize: 0 };

  readonly closes: number[] = [];

  ping(): void {}

  close(code: number): void {
    this.closes.push(code);
  }

  terminate(): void {
    this.isCut = true;
    this.emit('close');
  }
}

/** Room for 36 KiB of one sender: a message counts three times. */
let room: Quota;
let socket: FakeSocket;
let connection: GraphqlConnection;
/** The connection below: what has been read from it, whether or not it is a message yet. */
let network: EventEmitter & { pause: jest.Mock };

beforeEach(() => {
  jest.useFakeTimers();
  socket = new FakeSocket();
  network = Object.assign(new EventEmitter(), { _handle: socket.handle, pause: jest.fn() });
  const request = { socket: network } as unknown as IncomingMessage;
  room = bodyReadQuota(72 * KIB);
  connection = new GraphqlConnection(socket as unknown as WebSocket, request, CHECK_MS, room);
});

afterEach(() => jest.useRealTimers());

/** At how many of the next checks it is still there; `between` is what happens before each. */
function checksSurvived(most: number, between: () => void = () => undefined): number {
  for (let survived = 0; survived < most; survived += 1) {
    between();
    jest.advanceTimersByTime(CHECK_MS);
    if (socket.isCut) return survived;
  }
  return most;
}

describe('a WebSocket that gives no sign of life', () => {
  it('is cut at the second check', () => {
    expect(checksSurvived(10)).toBe(1);
  });

  it('is not cut as long as it answers pings', () => {
    expect(checksSurvived(10, () => socket.emit('pong', Buffer.alloc(0)))).toBe(10);
  });

  it('is not cut while it takes anything of what waits here, however little', () => {
    socket.bufferedAmount = 1024 * KIB;
    expect(checksSurvived(10, () => (socket.handle.bytesWritten += KIB))).toBe(10);
  });

  it('is cut when what waits here stays', () => {
    socket.bufferedAmount = 1024 * KIB;
    expect(checksSurvived(10)).toBe(1);
  });

  it.each([
    ['is cut at the fifth check when the kernel has taken much for it before the first', 257, 4],
    ['is cut at the second when that is little', 255, 1],
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
      refusals.push(connection.isAtCapacity);
      return new Promise<void>((resolve) => ends.push(resolve));
    });
  });

  it('hold memory when they are large, and beyond it are refused one by one', () => {
    for (let count = 1; count <= 3; count += 1) message(5);
    expect(room.taken).toBe(2 * 15 * KIB);
    expect(refusals).toEqual([false, false, true]);
    expect(connection.isAtCapacity).toBe(false); // the next is looked at by itself
    expect(socket.closes).toEqual([]);
  });

  it('hold none when they are small, and are taken when there is none', () => {
    for (let count = 1; count <= 3; count += 1) message(5);
    for (let count = 1; count <= 10; count += 1) message(4);
    expect(refusals.slice(3)).toEqual(Array(10).fill(false));
    expect(room.taken).toBe(2 * 15 * KIB);
    expect(socket.closes).toEqual([]);
  });

  it('close the socket when their refusals are not read either', () => {
    for (let count = 1; count <= 7; count += 1) message(5);
    expect(refusals).toHaveLength(6);
    expect(socket.closes).toEqual([CLOSE.tryAgainLater]);
  });

  it('give it back when they are over, and keep no text', async () => {
    for (let count = 1; count <= 3; count += 1) message(5);
    expect(connection.text).toBe('');
    for (const end of ends) end();
    jest.useRealTimers();
    await new Promise((resolve) => setImmediate(resolve));
    expect(room.taken).toBe(0);
    for (let count = 1; count <= 6; count += 1) message(5);
    expect(socket.closes).toEqual([]); // refusals are given back, too
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
      room = bodyReadQuota(160 * KIB);
      connection = new GraphqlConnection(
        socket as unknown as WebSocket,
        { socket: network } as unknown as IncomingMessage,
        CHECK_MS,
        room,
      );
      connection.principal = { subject: 'alice' } as Principal;
      connection.receive(() => Promise.resolve());
    });

    it('takes room as it grows, each read with what it costs, and gives it back when it is whole', () => {
      read(60 * KIB);
      expect(room.taken).toBe(0);
      for (let part = 0; part < 20; part += 1) read(1);
      expect(room.taken).toBe(60 * KIB + 20 + 21 * 256);
      read(5 * KIB);
      socket.emit('message', Buffer.alloc(SIZE + 14), false);
      expect(room.taken).toBe(0);
    });

    it('closes the socket when there is no room for it, and leaves none behind', () => {
      read(70 * KIB);
      expect(room.taken).toBeGreaterThan(0);
      read(10 * KIB);
      expect(socket.closes).toContain(CLOSE.tryAgainLater);
      socket.terminate();
      expect(room.taken).toBe(0);
    });
  });
});
