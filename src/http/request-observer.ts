import type { IncomingMessage, ServerResponse } from 'node:http';
import type { RequestRecorder } from '../metrics/request-recorder';
import type { FinishedRequest, AccessLog } from './access-log';
import { durationMs, routeOf } from './request-context';

/** Status that nginx logs for a client that did not wait; also for a response aborted here. */
const UNFINISHED = 499;

/**
 * Counts and logs all requests at their end: fast routes, express, GraphQL and tRPC. Without `recorder` nothing is
 * measured.
 */
export function requestObserver(log: AccessLog, recorder: RequestRecorder | undefined) {
  return (request: IncomingMessage, response: ServerResponse): void => {
    // Node also reports a response as finished when its rest is lost with the connection; a complete one ends first.
    const isFinished = response.writableFinished && !request.socket.destroyed;
    const status = isFinished ? response.statusCode : UNFINISHED;
    const method = request.method ?? '';
    const route = routeOf(request);
    const ms = durationMs(response);
    recorder?.record(method, route, status, ms);
    log.write({ request, method, route, status, ms });
  };
}

const SOCKET_METHOD = 'WS';

export type FinishedOperation = Omit<FinishedRequest, 'method'>;
export type OperationObserver = (operation: FinishedOperation) => void;

/** Counts and logs operations on a WebSocket as requests. */
export function operationObserver(
  log: AccessLog,
  recorder: RequestRecorder | undefined,
): OperationObserver {
  return (operation) => {
    const { route, status, ms } = operation;
    recorder?.record(SOCKET_METHOD, route, status, ms);
    log.write({ ...operation, method: SOCKET_METHOD });
  };
}
