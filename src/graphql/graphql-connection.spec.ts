import { EventEmitter } from 'node:events';
import type { IncomingMessage } from 'node:http';
import WebSocket from 'ws';
import { ReadingRoom } from '../front/reading-room';
import type { Principal } from '../auth/principal';
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

/** Room for 3000 bytes of one sender: a message counts three times. */
let room: ReadingRoom;
let socket: FakeSocket;
let connection: GraphqlConnection;

beforeEach(() => {
  jest.useFakeTimers();
  socket = new FakeSocket();
  const request = { socket: { _handle: socket.handle } } as unknown as IncomingMessage;
  room = new ReadingRoom(6000);
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
    expect(checksSurvived(10, () => socket.emit('pong'))).toBe(10);
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
  const message = (): boolean => socket.emit('message', Buffer.alloc(400, 'x'), false);

  beforeEach(() => {
    ends.length = 0;
    connection.principal = { subject: 'alice' } as Principal;
    connection.receive(() => new Promise<void>((resolve) => ends.push(resolve)));
  });

  it('hold room, also as subscriptions, and beyond it the socket is closed', () => {
    for (let count = 1; count <= 2; count += 1) message();
    expect([room.taken, socket.closes]).toEqual([2400, []]);
    message();
    expect(socket.closes).toEqual([CLOSE.tryAgainLater]);
    expect(ends).toHaveLength(2); // the third was not looked at
  });

  it('give it back when they are over, and keep no text', async () => {
    for (let count = 1; count <= 2; count += 1) message();
    expect(connection.text).toBe('');
    for (const end of ends) end();
    jest.useRealTimers();
    await new Promise((resolve) => setImmediate(resolve));
    expect(room.taken).toBe(0);
  });
});
