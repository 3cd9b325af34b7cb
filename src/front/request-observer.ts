import type { IncomingMessage, ServerResponse } from 'node:http';
import type { RequestRecorder } from '../metrics/request-recorder';
import type { RequestLog } from './request-log';
import { durationMs, routeOf } from './request-context';

/** What nginx calls a request whose client did not wait for the answer; also when the answer was cut on our side. */
const UNFINISHED = 499;

/**
 * The one place that sees every request end, whatever has answered it: hot route, express, GraphQL or tRPC. It counts
 * and logs it. `recorder` is left out when nothing is to be measured.
 */
export function requestObserver(log: RequestLog, recorder: RequestRecorder | undefined) {
  return (request: IncomingMessage, response: ServerResponse): void => {
    const status = response.writableFinished ? response.statusCode : UNFINISHED;
    const method = request.method ?? '';
    const route = routeOf(request);
    const ms = durationMs(response);
    recorder?.record(method, route, status, ms);
    log.write({ request, method, route, status, ms });
  };
}
