import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A way to a service that can be cut under the clients that use it, and then stands open again. */
export class BreakablePath {
  private readonly sockets = new Set<Socket>();
  private readonly server;

  constructor(port: number) {
    this.server = createServer((client) => {
      const service = connect(port, '127.0.0.1');
      for (const socket of [client, service]) {
        this.sockets.add(socket);
        socket.on('error', () => undefined);
        socket.on('close', () => this.sockets.delete(socket));
      }
      client.pipe(service).pipe(client);
    });
  }

  /** Opens it and gives the URL. */
  async open(): Promise<string> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** Breaks every connection. */
  cut(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  async close(): Promise<void> {
    this.server.close();
    this.cut();
    await once(this.server, 'close');
  }
}
