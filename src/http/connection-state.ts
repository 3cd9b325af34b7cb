import { IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Writable } from 'node:stream';

/** Milliseconds in which a refused client can read its response; then a reset discards it. */
const LINGER_MS = 1000;

/** State of a connection, a property of its socket: a WeakMap would cost more to collect. */
export interface ConnectionState {
  /** Responses in progress; several when requests are pipelined. */
  active: number;
  last?: IncomingMessage;
  /** True after bytes that are not HTTP. */
  isUnreadable: boolean;
  /** Request whose body has no time limit, while it is received. */
  longBody?: IncomingMessage | undefined;
  queued?: Set<ServerResponse>;
  compressed?: Set<ServerResponse>;
}

const STATE = Symbol('connection state');
type Stated = Socket & { [STATE]?: ConnectionState };

export function stateOf(socket: Stated): ConnectionState {
  socket[STATE] ??= { active: 0, isUnreadable: false };
  return socket[STATE];
}

/** Exempts a body from the time limit; the code that reads it disconnects clients that stall. */
export function expectLongBody(request: IncomingMessage): void {
  stateOf(request.socket).longBody = request;
}

/**
 * Ends the connection with this response, unless the response has begun. The rest of the request's body is discarded:
 * closing over unread bytes would reset the connection before the client has read the response.
 */
export function closeWithResponse(response: ServerResponse): void {
  if (response.headersSent) return;
  response.setHeader('Connection', 'close');
  lingeringClose(response.req.socket);
}

/** Prevents the reset by which Node ends a connection whose body still arrives after the last response. */
export function lingeringClose(socket: Socket): void {
  socket.destroySoon = end;
}

function end(this: Socket): void {
  this.end();
  closeQueued(stateOf(this));
  this.setTimeout(LINGER_MS);
  const { last } = stateOf(this);
  // A body that never ends is ended by the time limit of a whole request.
  if (last?.complete === false) last.once('end', () => destroyAfter(this));
  else destroyAfter(this);
}

/** Destroys a connection after LINGER_MS, even if its client still sends. */
export function destroyAfter(socket: Socket): void {
  setTimeout(() => socket.destroy(), LINGER_MS).unref();
}

/** Tells whether a connection has had its last response: further requests get none (RFC 9112, section 9.6). */
export function isOver(socket: Socket): boolean {
  return socket.writableEnded || socket.destroyed;
}

/** Closes a pipelined response with its connection, as Node emits `close` on the current response only. */
export function closeWithConnection(response: ServerResponse): void {
  const { socket } = response.req;
  const state = stateOf(socket);
  if (!state.queued) {
    state.queued = new Set();
    // One listener for hundreds of responses. Node closes them itself from version 22 on, after this event.
    socket.once('close', () => setImmediate(closeQueued, state));
  }
  const { queued } = state;
  queued.add(response);
  const remove = (): void => void queued.delete(response);
  response.once('socket', remove);
  response.once('close', remove);
}

function closeQueued({ queued }: ConnectionState): void {
  for (const response of queued ?? []) {
    queued?.delete(response);
    response.destroy();
    response.emit('close');
  }
}

export function queuedBytes(socket: Stated): number {
  const queued = socket[STATE]?.queued;
  let bytes = 0;
  if (queued) for (const response of queued) bytes += response.writableLength;
  return bytes;
}

/** Makes `compressingBytes` count the bytes in this response's compressor (up to 32 MiB) until the response closes. */
export function watchCompressor(response: ServerResponse): void {
  const state = stateOf(response.req.socket);
  const compressed = (state.compressed ??= new Set());
  compressed.add(response);
  response.once('close', () => compressed.delete(response));
}

export function compressingBytes(socket: Stated): number {
  const compressed = socket[STATE]?.compressed;
  let bytes = 0;
  if (compressed)
    for (const response of compressed) bytes += compressorOf(response)?.writableLength ?? 0;
  return bytes;
}

const COMPRESSOR = Symbol('compressor');

/** Finds the compressor, which exists once the headers are written: `on('drain')` returns it from then on. */
function compressorOf(
  response: ServerResponse & { [COMPRESSOR]?: Writable },
): Writable | undefined {
  if (!response.headersSent) return undefined;
  response[COMPRESSOR] ??= response.on('drain', () => undefined);
  return response[COMPRESSOR] === response ? undefined : response[COMPRESSOR];
}

const UPGRADE = Symbol('upgrade');
const ASK = Symbol('ask for the body');

/**
 * Request that upgrades to a WebSocket only. Node upgrades every request with an `Upgrade` header once there is a
 * listener, even a mere offer of HTTP/2 (`h2c`, Java's client). Such offers stay ordinary requests here, and so do
 * requests that are pipelined behind an open response or follow the last one.
 */
export class ServerRequest extends IncomingMessage {
  private [UPGRADE]: unknown;
  [ASK]?: (() => void) | undefined;

  get upgrade(): boolean {
    if (this[UPGRADE] !== true || this.headers.upgrade?.toLowerCase() !== 'websocket') return false;
    return !isOver(this.socket) && stateOf(this.socket).active === 0;
  }

  /** Node's parser calls this; its constructor does so with null. */
  set upgrade(isOffered: unknown) {
    this[UPGRADE] = isOffered;
  }

  /**
   * Delays 100 Continue until the body is read, or askForBody called, and earlier responses have ended: the client of a
   * refused request does not send its body in vain.
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
    // A property of the object, as express replaces the prototype.
    this.read = (size) => {
      this[ASK]?.();
      return super.read(size) as unknown;
    };
  }
}

/** Sends the delayed 100 Continue, for routes that respond before they read the body. */
export function askForBody(request: IncomingMessage & { [ASK]?: (() => void) | undefined }): void {
  request[ASK]?.();
}
