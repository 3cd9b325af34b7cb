import type { IncomingMessage, ServerResponse } from 'node:http';
import type { RequestRecorder } from '../metrics/request-recorder';
import type { FinishedRequest, AccessLog } from './access-log';
import { durationMs, routeOf } from './request-context';

/** What nginx calls a request whose client did not wait for the answer; also when the answer was cut on our side. */
const UNFINISHED = 499;

/**
 * The one place that sees every request end, whatever has answered it: hot route, express, GraphQL or tRPC. It counts
 * and logs it. `recorder` is left out when nothing is to be measured.
 */
export function requestObserver(log: AccessLog, recorder: RequestRecorder | undefined) {
  return (request: IncomingMessage, response: ServerResponse): void => {
    // To Node an answer is finished, too, when what is left of it goes down with its connection. Those that are all
    // sent are over before their connection is.
    const isFinished = response.writableFinished && !request.socket.destroyed;
    const status = isFinished ? response.statusCode : UNFINISHED;
    const method = request.method ?? '';
    const route = routeOf(request);
    const ms = durationMs(response);
    recorder?.record(method, route, status, ms);
    log.write({ request, method, route, status, ms });
  };
}

/** What operations on WebSockets have for a method, in log and metrics. */
const SOCKET_METHOD = 'WS';

/** An operation on a WebSocket that is over. */
export type FinishedOperation = Omit<FinishedRequest, 'method'>;
export type OperationObserver = (operation: FinishedOperation) => void;

/** Sees every operation on a socket end, which is no request of its own, and counts and logs it as one. */
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
