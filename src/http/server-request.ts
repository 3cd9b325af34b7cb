import { IncomingMessage, type ServerResponse } from 'node:http';
import { isOver, stateOf } from './connection-state';

const UPGRADE = Symbol('upgrade');
/** Asks the client for the body; on requests with Expect: 100-continue. */
const ASK = Symbol('ask for the body');

/**
 * A request that leaves HTTP for a WebSocket only. Once there is a listener for upgrades, Node emits one for every request
 * with an `Upgrade` header, also for those that merely offer HTTP/2 (`h2c`, as Java's client does): these stay requests.
 * So do those pipelined after a request without a response, to which the connection still belongs, and those after the
 * last response of a connection.
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
   * Sends 100 Continue when the body is read (or askForBody is called) and earlier responses of the connection have ended,
   * so that a request that is refused unread costs its client no body.
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

/** Asks a client that waits for 100 Continue for its body: for routes that begin the response before they read. */
export function askForBody(request: IncomingMessage & { [ASK]?: (() => void) | undefined }): void {
  request[ASK]?.();
}
