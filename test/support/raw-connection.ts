import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { TestService } from './test-service';

/** A connection on which a request has begun, and what has been read from it since `listen`. */
export interface RawConnection {
  socket: Socket;
  read: string;
  error: Error | undefined;
}

/** Connections to a service, written to by hand, and the service's ends of them. */
export class RawConnections {
  /** The service's ends of all connections, the latest last. */
  readonly ends: Socket[] = [];
  private readonly sockets: Socket[] = [];

  constructor(
    private readonly service: TestService,
    private readonly token: string,
  ) {
    service.httpServer.server.on('connection', (socket: Socket) => this.ends.push(socket));
  }

  /** Connects, and sends the head of a POST of JSON, unless `headers` name another type. */
  async begin(path: string, ...headers: string[]): Promise<RawConnection> {
    const talk = await this.connect();
    const lines = [`POST ${path} HTTP/1.1`, 'Host: x', `Authorization: Bearer ${this.token}`];
    const hasType = headers.some((line) => line.startsWith('Content-Type'));
    if (!hasType) lines.push('Content-Type: application/json');
    talk.socket.write([...lines, ...headers].join('\r\n') + '\r\n\r\n');
    return talk;
  }

  /** Connects; the other side may end first. */
  async connect(): Promise<RawConnection> {
    const socket = connect({
      port: this.service.port,
      host: '127.0.0.1',
      allowHalfOpen: true,
    });
    this.sockets.push(socket);
    const talk: RawConnection = { socket, read: '', error: undefined };
    socket.on('error', (error) => (talk.error = error));
    await once(socket, 'connect');
    return talk;
  }

  /** Cuts all of them. */
  clear(): void {
    for (const socket of this.sockets.splice(0)) socket.destroy();
  }
}

/** Reads from now on. */
export function listen(talk: RawConnection): void {
  talk.socket.on('data', (bytes: Buffer) => (talk.read += bytes.toString('latin1')));
}
