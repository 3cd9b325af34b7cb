import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A delivery as it came. */
export interface Delivery {
  path: string;
  headers: IncomingHttpHeaders;
  body: string;
}

/** What the receiver does with the next delivery: a status, or `silence` (no answer until it is stopped). */
export type Reaction = number | 'silence';

/** Takes what is posted to it, on a free port of 127.0.0.1. */
export class WebhookReceiver {
  readonly deliveries: Delivery[] = [];
  /** Reactions to the next deliveries, one each; after them 204. */
  readonly reactions: Reaction[] = [];
  private readonly server: Server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      const { url: path = '', headers } = request;
      this.deliveries.push({ path, headers, body });
      const reaction = this.reactions.shift() ?? 204;
      if (reaction === 'silence') return;
      // Where a redirect would lead: back to here, where it would be seen.
      response.writeHead(reaction, { location: '/elsewhere' }).end();
    });
  });

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
