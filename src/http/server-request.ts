import { IncomingMessage, type ServerResponse } from 'node:http';
import { isOver, stateOf } from './connection-state';

const UPGRADE = Symbol('upgrade');
/** Tells the client of a request to send its body; kept on those that wait for that. */
const ASK = Symbol('ask for the body');

/**
 * A request that leaves HTTP for a WebSocket only. Once anything listens for upgrades, Node hands over every request with
 * an `Upgrade` header, also those that merely offer HTTP/2 (`h2c`, as Java's client does): these stay requests. So do
 * those behind a request that has no answer yet (pipelining), whose connection still belongs to that answer, and those
 * behind the last answer of a connection.
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
   * For a client that sends its body only when told to (Expect: 100-continue): it is told once somebody wants to read it
   * (or says so, askForBody), and it is the turn of its answer. One that is refused unread is answered at once instead.
   */
  awaitReader(response: ServerResponse): void {
    const tell = (): void => {
      if (response.headersSent) return;
      if (response.socket === null) return void response.once('socket', tell);
      response.writeContinue();
    };
    this[ASK] = () => {
      this[ASK] = undefined;
      tell();
    };
    // On the request itself: express puts another prototype under it.
    this.read = (size) => {
      this[ASK]?.();
      return super.read(size) as unknown;
    };
  }
}

/** Tells a client that waits for it to send its body: for whoever begins the answer before he reads that. */
export function askForBody(request: IncomingMessage & { [ASK]?: (() => void) | undefined }): void {
  request[ASK]?.();
}
