import { randomUUID } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { AppError } from '../platform/errors/app-error';
import { codeOfStatus, ERROR_TABLE } from '../platform/errors/error-table';
import { PROBLEM_JSON, problemOf } from '../platform/errors/problem';
import { destroyAfter } from './connection-state';

/** What Node's parser could not read as HTTP gets a problem document too, then the connection is closed. */
export function respondToUnreadable(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const code =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? codeOfStatus(431)
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? codeOfStatus(408)
        : codeOfStatus(400);
  const { status, title } = ERROR_TABLE[code];
  const requestId = randomUUID();
  const body = JSON.stringify(problemOf(new AppError(code, `${title}.`), '', requestId));
  const headers = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    `Content-Type: ${PROBLEM_JSON}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    `X-Request-Id: ${requestId}`,
    'X-Response-Time: 0.0ms',
    'Server-Timing: total;dur=0.0',
    'Connection: close',
  ];
  socket.end(`${headers.join('\r\n')}\r\n\r\n${body}`);
  destroyAfter(socket);
}
