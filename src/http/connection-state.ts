import { IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Writable } from 'node:stream';

/** Milliseconds for a refused client to read its response before a reset discards it. */
export const LINGER_MS = 1000;

/** Kept on the socket: a WeakMap would cost more to collect. */
export interface ConnectionState {
  /** Responses in progress; several when requests are pipelined. */
  active: number;
  last?: IncomingMessage;
  /** Set after bytes that are not HTTP. */
  isUnreadable: boolean;
  /** The request in progress whose body has no time limit. */
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

/** Exempts a body from the time limit; its reader disconnects clients that stall. */
export function expectLongBody(request: IncomingMessage): void {
  stateOf(request.socket).longBody = request;
}

/**
 * Ends the connection with this early response, unless it has begun. Discards the rest of the body: closing over unread
 * bytes resets the connection before the client has read the response.
 */
export function closeWithResponse(response: ServerResponse): void {
  if (response.headersSent) return;
  response.setHeader('Connection', 'close');
  lingeringClose(response.req.socket);
}

/** Prevents Node's reset after the last response while the body still arrives. */
export function lingeringClose(socket: Socket): void {
  socket.destroySoon = end;
}

function end(this: Socket): void {
  this.end();
  closeQueued(stateOf(this));
  this.setTimeout(LINGER_MS);
  const { last } = stateOf(this);
  // The limit of a whole request ends a body that goes on arriving.
  if (last?.complete === false) last.once('end', () => destroyAfter(this));
  else destroyAfter(this);
}

/** Destroys a connection after LINGER_MS, whatever the client sends. */
export function destroyAfter(socket: Socket): void {
  setTimeout(() => socket.destroy(), LINGER_MS).unref();
}

/** True after a connection's last response: further requests get none (RFC 9112, section 9.6). */
export function isOver(socket: Socket): boolean {
  return socket.writableEnded || socket.destroyed;
}

/** Closes a pipelined response with its connection: Node emits `close` only on the current response. */
export function closeWithConnection(response: ServerResponse): void {
  const { socket } = response.req;
  const state = stateOf(socket);
  if (!state.queued) {
    state.queued = new Set();
    // One listener for all of them, as there may be hundreds. From version 22 on Node closes them itself, after this event.
    socket.once('close', () => setImmediate(closeQueued, state));
  }
  const { queued } = state;
  queued.add(response);
  const leave = (): void => void queued.delete(response);
  response.once('socket', leave);
  response.once('close', leave);
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

/** Counts the bytes in this response's compressor, up to 32 MiB, until the last one is taken. */
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

/** The compressor exists once headers are written; `on('drain')` returns it from then on. */
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
