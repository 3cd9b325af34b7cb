import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { Transform } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

/** A stable address on 127.0.0.1: what connects there reaches the port that it points at now. */
export class SwitchableProxy {
  private readonly sockets = new Set<Socket>();
  private readonly server: Server;
  private isClosed = false;
  private delayMs = 0;
  private flowing = Promise.resolve();
  private letFlow: () => void = () => undefined;

  private constructor(private target: number) {
    this.server = createServer((near) => this.accept(near));
  }

  static async open(targetPort: number): Promise<SwitchableProxy> {
    const proxy = new SwitchableProxy(targetPort);
    proxy.server.listen(0, '127.0.0.1');
    await once(proxy.server, 'listening');
    return proxy;
  }

  /** Whether it takes no connections, after `cut`. */
  get isCut(): boolean {
    return this.isClosed;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** The same URL by way of this address. */
  via(url: string): string {
    const found = new URL(url);
    found.hostname = '127.0.0.1';
    found.port = String(this.port);
    return found.href;
  }

  /** Sends new connections to this port, and breaks those that there are. */
  pointAt(port: number): void {
    this.target = port;
    this.breakConnections();
  }

  /** Breaks every connection and takes no more, until `restore`. */
  cut(): void {
    this.isClosed = true;
    this.breakConnections();
  }

  restore(): void {
    this.isClosed = false;
    this.delayMs = 0;
    this.resume();
  }

  /** Keeps all connections, takes new ones, and passes nothing on until `resume`. */
  stall(): void {
    this.flowing = new Promise((resolve) => (this.letFlow = resolve));
  }

  resume(): void {
    this.letFlow();
    this.flowing = Promise.resolve();
  }

  /** Passes each part on so many milliseconds late, in both directions. */
  slowDown(delayMs: number): void {
    this.delayMs = delayMs;
  }

  async close(): Promise<void> {
    this.cut();
    this.resume();
    this.server.close();
    await once(this.server, 'close');
  }

  private accept(near: Socket): void {
    if (this.isClosed) {
      near.on('error', () => undefined).destroy();
      return;
    }
    const far = connect(this.target, '127.0.0.1');
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.sockets.add(one);
      one.setNoDelay(true);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        this.sockets.delete(one);
        other.destroy();
      });
      one.pipe(this.gate()).pipe(other);
    }
  }

  /** Passes bytes on in their order, each part when it may. */
  private gate(): Transform {
    return new Transform({
      transform: (part: Buffer, _encoding, done) => {
        this.untilPassable().then(
          () => done(null, part),
          (error: Error) => done(error),
        );
      },
    });
  }

  private async untilPassable(): Promise<void> {
    await this.flowing;
    if (this.delayMs > 0) await sleep(this.delayMs);
  }

  private breakConnections(): void {
    for (const socket of this.sockets) socket.destroy();
  }
}
