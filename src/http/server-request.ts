import { IncomingMessage, type ServerResponse } from 'node:http';
import { isOver, stateOf } from './connection-state';

const UPGRADE = Symbol('upgrade');
const ASK = Symbol('ask for the body');

/**
 * A request that upgrades for a WebSocket only. With a listener, Node upgrades every request with an `Upgrade` header,
 * even a mere offer of HTTP/2 (`h2c`, Java's client): these stay requests, as do requests pipelined behind an open
 * response or after the last response.
 */
export class ServerRequest extends IncomingMessage {
  private [UPGRADE]: unknown;
  [ASK]?: (() => void) | undefined;

  get upgrade(): boolean {
    if (this[UPGRADE] !== true || this.headers.upgrade?.toLowerCase() !== 'websocket') return false;
    return !isOver(this.socket) && stateOf(this.socket).active === 0;
  }

  /** Called by Node's parser, and by its constructor with null. */
  set upgrade(isOffered: unknown) {
    this[UPGRADE] = isOffered;
  }

  /**
   * Delays 100 Continue until the body is read (or askForBody called) and earlier responses have ended: a request
   * refused unread costs its client no body.
   */
  awaitReader(response: ServerResponse): void {
    const sendContinue = (): void => {
      if (response.headersSent) return;
      if (response.socket === null) return void response.once('socket', sendContinue);
      response.writeContinue();
    };
    this[ASK] = () => {
      this[ASK] = undefined;
      sendContinue();
    };
    // An own property, as express replaces the prototype.
    this.read = (size) => {
      this[ASK]?.();
      return super.read(size) as unknown;
    };
  }
}

/** Sends a delayed 100 Continue, for routes that respond before they read. */
export function askForBody(request: IncomingMessage & { [ASK]?: (() => void) | undefined }): void {
  request[ASK]?.();
}
