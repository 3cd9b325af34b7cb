import { once } from 'node:events';
import {
  createServer,
  type IncomingHttpHeaders,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';

/** A delivery as it came. */
export interface Delivery {
  path: string;
  headers: IncomingHttpHeaders;
  body: string;
}

/**
 * What the receiver does with the next delivery: a status; no answer until it is stopped (`silence`); a header, byte by
 * byte, that has no end (`drip`); 200 and a body without end, as fast as it is taken (`flood`).
 */
export type Reaction = number | 'silence' | 'drip' | 'flood';

const DRIP_EVERY_MS = 50;
const CHUNK = Buffer.alloc(64 * 1024);

/** Takes what is posted to it, on a free port of 127.0.0.1. */
export class WebhookReceiver {
  readonly deliveries: Delivery[] = [];
  /** Reactions to the next deliveries, one each; after them 204. */
  readonly reactions: Reaction[] = [];
  /** Bytes of endless bodies that were taken, and how many such answers were cut. */
  flooded = 0;
  cut = 0;
  private readonly server: Server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      const { url: path = '', headers } = request;
      this.deliveries.push({ path, headers, body });
      const reaction = this.reactions.shift() ?? 204;
      if (typeof reaction === 'string') return this.misbehave(reaction, response);
      // Where a redirect would lead: back to here, where it would be seen.
      response.writeHead(reaction, { location: '/elsewhere' }).end();
    });
  });

  private misbehave(how: 'silence' | 'drip' | 'flood', response: ServerResponse): void {
    response.once('close', () => (this.cut += 1));
    if (how === 'drip') {
      const socket = response.socket;
      socket?.write('HTTP/1.1 200 OK\r\nX-Endless: ');
      const timer = setInterval(() => socket?.write('x'), DRIP_EVERY_MS);
      response.once('close', () => clearInterval(timer));
    } else if (how === 'flood') {
      response.writeHead(200);
      const pour = (): void => {
        while (!response.destroyed && response.write(CHUNK)) this.flooded += CHUNK.length;
      };
      response.on('drain', pour);
      pour();
    }
  }

  async start(): Promise<string> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.server.close();
    this.server.closeAllConnections();
    await once(this.server, 'close');
  }
}
