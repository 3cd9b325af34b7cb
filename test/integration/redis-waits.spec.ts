import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { RedisConnection } from '../../src/platform/redis/redis-connection';
import { captureLog, connectTo } from './redis.fixture';

const PONG = '+PONG\r\n';
const LOADING = '-LOADING Redis is loading the dataset in memory\r\n';

const servers: { server: Server; sockets: Set<Socket> }[] = [];
let connection: RedisConnection;

beforeEach(() => captureLog('warn'));

afterEach(() => {
  jest.useRealTimers();
  connection.onApplicationShutdown();
  for (const { server, sockets } of servers.splice(0)) {
    server.close();
    for (const socket of sockets) socket.destroy();
  }
  jest.restoreAllMocks();
});

/** Answers every command with `reply`. */
async function serve(reply: string): Promise<{ url: string; server: Server }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('data', (bytes: Buffer) => {
      const commands = bytes.toString().match(/^\*\d+\r$/gm) ?? [];
      socket.write(reply.repeat(commands.length));
    });
  });
  servers.push({ server, sockets });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}

/** Stops the clock of timers; what comes by the network still comes. */
function stopTheClock(): void {
  jest.useFakeTimers({ doNotFake: ['nextTick', 'setImmediate', 'queueMicrotask'] });
}

/** Whether a promise has been settled by the time it is asked. */
function watch(promise: Promise<unknown>): { isSettled: boolean } {
  const watched = { isSettled: false };
  const settle = (): void => void (watched.isSettled = true);
  promise.then(settle, settle);
  return watched;
}

/** Lets the service read what has been answered so far: a reply comes behind those before it. */
async function catchUp(): Promise<void> {
  await connection.client?.ping().catch(() => undefined);
}

describe('a Redis that hangs is waited for', () => {
  it.each([
    ['a quarter of a second at most', undefined, 250],
    ['as long as the caller says', 40, 40],
  ])('by an attempt %s', async (_, timeoutMs, mostMs) => {
    connection = await connectTo((await serve(PONG)).url);
    expect(connection.isAvailable).toBe(true);
    stopTheClock();
    const attempt = watch(connection.attempt(() => new Promise(() => undefined), timeoutMs));
    await jest.advanceTimersByTimeAsync(mostMs - 1);
    expect(attempt.isSettled).toBe(false);
    await jest.advanceTimersByTimeAsync(1);
    expect(attempt.isSettled).toBe(true);
    expect(connection.statistics()).toMatchObject({ timeouts: 1, breakerOpened: 1 });
  });

  it('at boot a second at most, when it does nothing but load its data', async () => {
    const { url } = await serve(LOADING);
    stopTheClock();
    connection = new RedisConnection({ url }, { keyPrefix: 'mine' });
    const ready = once(connection.client ?? fail(), 'ready');
    const boot = watch(connection.onModuleInit());
    await ready;
    for (const stepMs of [250, 250, 250, 249]) {
      await catchUp();
      await jest.advanceTimersByTimeAsync(stepMs);
    }
    expect(boot.isSettled).toBe(false);
    await jest.advanceTimersByTimeAsync(1);
    expect(boot.isSettled).toBe(true);
    expect(connection.isAvailable).toBe(false);
  });

  it('a second at most on a connection that has not answered yet', async () => {
    const { url, server } = await serve('');
    stopTheClock();
    connection = new RedisConnection({ url }, { keyPrefix: 'mine' });
    const taken = once(server, 'connection');
    const connected = once(connection.client ?? fail(), 'connect');
    const boot = watch(connection.onModuleInit());
    await connected;
    const [socket] = (await taken) as [Socket];
    const closed = once(socket, 'close');
    await jest.advanceTimersByTimeAsync(999);
    expect(boot.isSettled).toBe(false);
    expect(socket.destroyed).toBe(false);
    await jest.advanceTimersByTimeAsync(1);
    expect(boot.isSettled).toBe(true);
    await closed;
  });
});

function fail(): never {
  throw new Error('There is no client');
}
