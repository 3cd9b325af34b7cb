import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import type { Principal } from '../auth/principal';
import { durationMs, requestIdOf, routeOf, traceContextOf } from './request-context';
import type { RequestRecorder } from '../metrics/request-recorder';

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

export interface FinishedRequest {
  request: IncomingMessage & { principal?: Principal };
  method: string;
  /** The template, never the path: paths and queries hold data. */
  route: string;
  status: number;
  ms: number;
}

/**
 * Logs principal, route, status and duration at `info`, slow requests as warnings. Never tokens, queries, bodies or
 * event ids.
 */
export class AccessLog {
  constructor(
    private readonly logger: Logger,
    private readonly slowThresholdMs: number,
  ) {}

  write({ request, method, route, status, ms }: FinishedRequest): void {
    const isSlow = ms >= this.slowThresholdMs;
    const level = isSlow ? 'warn' : 'info';
    if (!this.logger.isLevelEnabled(level)) return;
    const { traceId, spanId } = traceContextOf(request);
    const { principal } = request;
    const line = {
      context: 'Request',
      requestId: requestIdOf(request),
      traceId,
      spanId,
      principal: principal?.subject,
      organization: principal && organizationOf(principal),
      method,
      route,
      status,
      ms: Math.round(ms * 10) / 10,
    };
    if (isSlow) this.logger.warn(line, `Slow: ${method} ${route} ${status}`);
    else this.logger.info(line, `${method} ${route} ${status}`);
  }
}

/** The single organization, `*` for all, or their number. */
function organizationOf({ organizations }: Principal): string | number {
  if (organizations === '*') return '*';
  return organizations.length === 1 ? (organizations[0] ?? '') : organizations.length;
}
