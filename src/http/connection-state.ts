import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Writable } from 'node:stream';

/** How long a refused client may take to read why; cutting at once could take the answer with it. */
export const LINGER_MS = 1000;

/** What is known of a connection; kept on its socket, as a WeakMap would cost more to collect. */
export interface ConnectionState {
  /** Answers under way; more than one when requests are pipelined. */
  active: number;
  last?: IncomingMessage;
  /** Bytes came that are not HTTP. */
  isUnreadable: boolean;
  /** The request under way whose body may take as long as it likes. */
  longBody?: IncomingMessage | undefined;
  /** Answers that wait behind another one. */
  queued?: Set<ServerResponse>;
  /** Answers that go through a compressor. */
  compressed?: Set<ServerResponse>;
}

const STATE = Symbol('connection state');

/** What is known of this connection. */
export function stateOf(socket: Socket & { [STATE]?: ConnectionState }): ConnectionState {
  socket[STATE] ??= { active: 0, isUnreadable: false };
  return socket[STATE];
}

/** Lets the body of this request take as long as it likes, until it is answered: whoever reads it cuts what stands still. */
export function expectLongBody(request: IncomingMessage): void {
  stateOf(request.socket).longBody = request;
}

/**
 * Ends the connection with this answer, which is given before the body has come, unless it has begun already. The rest of
 * the body is let go by for as long as it comes: a connection is reset when it is closed over unread bytes, and the client
 * may not have read the answer by then.
 */
export function closeWithResponse(response: ServerResponse): void {
  if (response.headersSent) return;
  response.setHeader('Connection', 'close');
  lingeringClose(response.req.socket);
}

/** Has the connection end behind its last answer, where Node would cut it, if the body still comes then. */
export function lingeringClose(socket: Socket): void {
  socket.destroySoon = end;
}

function end(this: Socket): void {
  this.end();
  closeQueued(stateOf(this));
  this.setTimeout(LINGER_MS); // of silence
  const { last } = stateOf(this);
  // A body that keeps coming is ended by the limit of a whole request; behind it nothing is waited for.
  if (last?.complete === false) last.once('end', () => destroyAfter(this));
  else destroyAfter(this);
}

/** Lets a client read its last answer before the connection is gone, whatever it sends meanwhile. */
export function destroyAfter(socket: Socket): void {
  setTimeout(() => socket.destroy(), LINGER_MS).unref();
}

/** Whether nothing that is sent on a connection can be answered any more: its last answer has been given (RFC 9112, section 9.6). */
export function isOver(socket: Socket): boolean {
  return socket.writableEnded || socket.destroyed;
}

/** Node tells the answer under way that its connection is gone, but not those that wait behind it (pipelining). */
export function closeWithConnection(response: ServerResponse): void {
  const { socket } = response.req;
  const state = stateOf(socket);
  if (!state.queued) {
    state.queued = new Set();
    // One listener for all of them, as there may be hundreds.
    socket.once('close', () => closeQueued(state));
  }
  const { queued } = state;
  queued.add(response);
  response.once('socket', () => queued.delete(response));
}

/** Has whoever works at answers for which there is no connection any more let go of them. */
function closeQueued({ queued }: ConnectionState): void {
  for (const response of queued ?? []) {
    queued?.delete(response);
    response.destroy();
    response.emit('close');
  }
}

/** Bytes of answers that wait behind another one. */
export function queuedBytes(socket: Socket & { [STATE]?: ConnectionState }): number {
  const queued = socket[STATE]?.queued;
  let bytes = 0;
  if (queued) for (const response of queued) bytes += response.writableLength;
  return bytes;
}

/**
 * Counts what the compressor in front of this answer (`compression`) holds: all that it was given, up to 32 MiB, until the
 * last byte of it has been taken.
 */
export function watchCompressor(response: ServerResponse): void {
  const state = stateOf(response.req.socket);
  const compressed = (state.compressed ??= new Set());
  compressed.add(response);
  response.once('close', () => compressed.delete(response));
}

/** Bytes that are in the compressors of answers. */
export function compressingBytes(socket: Socket & { [STATE]?: ConnectionState }): number {
  const compressed = socket[STATE]?.compressed;
  let bytes = 0;
  if (compressed)
    for (const response of compressed) bytes += compressorOf(response)?.writableLength ?? 0;
  return bytes;
}

const COMPRESSOR = Symbol('compressor');

/** It exists once the headers are written. Listeners of `drain` are put on it then, and it is what `on` returns. */
function compressorOf(
  response: ServerResponse & { [COMPRESSOR]?: Writable },
): Writable | undefined {
  if (!response.headersSent) return undefined;
  response[COMPRESSOR] ??= response.on('drain', () => undefined);
  return response[COMPRESSOR] === response ? undefined : response[COMPRESSOR];
}
