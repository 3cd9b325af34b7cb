import { IncomingMessage, type ServerResponse } from 'node:http';
import { stateOf } from './connection-state';

const UPGRADE = Symbol('upgrade');

/**
 * A request that leaves HTTP for a WebSocket only. Once anything listens for upgrades, Node hands over every request with
 * an `Upgrade` header, also those that merely offer HTTP/2 (`h2c`, as Java's client does): these stay requests. So do
 * those behind a request that has no answer yet (pipelining): their connection still belongs to that answer.
 */
export class FrontRequest extends IncomingMessage {
  private [UPGRADE]: unknown;

  get upgrade(): boolean {
    if (this[UPGRADE] !== true || this.headers.upgrade?.toLowerCase() !== 'websocket') return false;
    return stateOf(this.socket).active === 0;
  }

  /** Called by Node's parser, and by its constructor with null. */
  set upgrade(isOffered: unknown) {
    this[UPGRADE] = isOffered;
  }

  /**
   * For a client that sends its body only when told to (Expect: 100-continue): it is told once somebody wants to read it.
   * One that is refused unread is answered at once instead.
   */
  awaitReader(response: ServerResponse): void {
    // On the request itself: express puts another prototype under it.
    this._read = (size) => {
      this._read = (more) => super._read(more);
      if (!response.headersSent) response.writeContinue();
      super._read(size);
    };
  }
}
