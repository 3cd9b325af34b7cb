import type { IncomingMessage, ServerResponse } from 'node:http';
import type { RequestRecorder } from '../metrics/request-recorder';
import type { FinishedRequest, AccessLog } from './access-log';
import { durationMs, routeOf } from './request-context';

/** The status that nginx logs for a client that did not wait for the response; also for a response that was aborted here. */
const UNFINISHED = 499;

/**
 * Counts and logs every request at its end: of fast routes, express, GraphQL and tRPC. `recorder` is left out when nothing
 * is to be measured.
 */
export function requestObserver(log: AccessLog, recorder: RequestRecorder | undefined) {
  return (request: IncomingMessage, response: ServerResponse): void => {
    // To Node a response is finished, too, when the rest of it is lost with its connection. One that is all sent ends
    // before its connection does.
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

/** Counts and logs every operation on a WebSocket at its end, as if it were a request. */
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
