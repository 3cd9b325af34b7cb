import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { Transform } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

/** A way to a server that can be cut: what goes to its port arrives there. */
export interface Way {
  /** The URL of the server by this way. */
  url: string;
  port: number;
  /** Keeps every connection and takes new ones, but passes nothing on any more. */
  stall(): void;
  /** From now on everything takes this much longer, there and back again each. */
  slowDown(delayMs: number): void;
  /** Closes the port and every connection. */
  cut(): void;
}

/** Opens a way to the server of `url`, on a free port or on the one that an earlier way had. */
export async function openWay(url: string, port = 0): Promise<Way> {
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
  const way = new URL(url);
  way.hostname = '127.0.0.1';
  way.port = String((server.address() as AddressInfo).port);
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
  return { url: way.href, port: Number(way.port), stall, slowDown, cut };
}

/** Passes bytes on in their order, each part after the delay that holds when it comes. */
class Delay extends Transform {
  private turn: Promise<void> = Promise.resolve();

  constructor(private readonly delayMs: () => number) {
    super();
  }

  override _transform(part: Buffer, _: BufferEncoding, done: () => void): void {
    const dueMs = performance.now() + this.delayMs();
    const wait = () => (dueMs > performance.now() ? sleep(dueMs - performance.now()) : undefined);
    this.turn = this.turn.then(wait).then(() => {
      this.push(part);
    });
    done();
  }

  override _flush(done: () => void): void {
    this.turn.then(done, done);
  }
}
