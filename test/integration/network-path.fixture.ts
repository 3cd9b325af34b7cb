import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { Transform } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

/** A TCP proxy to a server whose connections can be cut. */
export interface NetworkPath {
  /** The URL of the server through this path. */
  url: string;
  port: number;
  /** Keeps every connection and takes new ones, but passes nothing on any more. */
  stall(): void;
  /** From now on everything takes this much longer, there and back again each. */
  slowDown(delayMs: number): void;
  /** Closes the port and every connection. */
  cut(): void;
}

/** Opens a path to the server of `url`, on a free port or on that of an earlier path. */
export async function openNetworkPath(url: string, port = 0): Promise<NetworkPath> {
  const target = new URL(url);
  const sockets = new Set<Socket>();
  let isStalled = false;
  let delayMs = 0;
  const server = createServer((near) => {
    const far = connect(Number(target.port || 5432), target.hostname.replace(/^\[|\]$/g, ''));
    if (!isStalled) {
      const [there, back] = [new Delay(() => delayMs), new Delay(() => delayMs)];
      near.pipe(there).pipe(far).pipe(back).pipe(near);
    }
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
    }
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const path = new URL(url);
  path.hostname = '127.0.0.1';
  path.port = String((server.address() as AddressInfo).port);
  const cut = (): void => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  const stall = (): void => {
    isStalled = true;
    for (const socket of sockets) socket.unpipe();
  };
  const slowDown = (milliseconds: number): void => {
    delayMs = milliseconds;
  };
  return { url: path.href, port: Number(path.port), stall, slowDown, cut };
}

/** Passes bytes on in their order, each part after the delay that holds when it comes. */
class Delay extends Transform {
  private previous: Promise<void> = Promise.resolve();

  constructor(private readonly delayMs: () => number) {
    super();
  }

  override _transform(part: Buffer, _: BufferEncoding, done: () => void): void {
    const dueMs = performance.now() + this.delayMs();
    const wait = () => (dueMs > performance.now() ? sleep(dueMs - performance.now()) : undefined);
    this.previous = this.previous.then(wait).then(() => {
      this.push(part);
    });
    done();
  }

  override _flush(done: () => void): void {
    this.previous.then(done, done);
  }
}
