import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** What is known of a connection; kept on its socket, as a WeakMap would cost more to collect. */
export interface ConnectionState {
  /** Answers under way; more than one when requests are pipelined. */
  active: number;
  last?: IncomingMessage;
  /** Bytes came that are not HTTP. */
  isUnreadable: boolean;
  /** The request under way whose body may take as long as it likes. */
  longBody?: IncomingMessage | undefined;
  /** Ended by us while answers waited to be read. */
  isCut?: boolean;
  /** Answers that wait behind another one. */
  queued?: Set<ServerResponse>;
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

/** Node tells the answer under way that its connection is gone, but not those that wait behind it (pipelining). */
export function closeWithConnection(response: ServerResponse): void {
  const { socket } = response.req;
  const state = stateOf(socket);
  let { queued } = state;
  if (!queued) {
    // One listener for all of them, as there may be hundreds.
    const waiting = (queued = state.queued = new Set<ServerResponse>());
    socket.once('close', () => {
      for (const one of waiting) {
        one.destroy();
        one.emit('close');
      }
    });
  }
  const waiting = queued;
  waiting.add(response);
  response.once('socket', () => waiting.delete(response));
}

/** Bytes of answers that wait behind another one. */
export function queuedBytes(socket: Socket & { [STATE]?: ConnectionState }): number {
  const queued = socket[STATE]?.queued;
  let bytes = 0;
  if (queued) for (const response of queued) bytes += response.writableLength;
  return bytes;
}
