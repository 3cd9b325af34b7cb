import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A way to a server that can be cut: what goes to its port arrives there. */
export interface Way {
  /** The URL of the server by this way. */
  url: string;
  port: number;
  /** Keeps every connection and takes new ones, but passes nothing on any more. */
  stall(): void;
  /** Closes the port and every connection. */
  cut(): void;
}

/** Opens a way to the server of `url`, on a free port or on the one that an earlier way had. */
export async function openWay(url: string, port = 0): Promise<Way> {
  const target = new URL(url);
  const sockets = new Set<Socket>();
  let isStalled = false;
  const server = createServer((near) => {
    const far = connect(Number(target.port || 5432), target.hostname.replace(/^\[|\]$/g, ''));
    if (!isStalled) near.pipe(far).pipe(near);
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
  return { url: way.href, port: Number(way.port), stall, cut };
}
