import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import type { Principal } from '../auth/principal';
import type { RequestRecorder } from '../metrics/request-recorder';
import { isFeed, requestIdOf, routeOf, traceContextOf } from './request-context';
import { durationMs, spansOfResponse } from './request-times';
import type { SpanTimes, TimeSpans } from '../platform/runtime/time-spans';
import type { TrustedProxies } from './trusted-proxies';

/** Status for a client that disconnected, as nginx logs it, and for a response that the service cut. */
const UNFINISHED = 499;
const SOCKET_METHOD = 'WS';
/** Limit of a logged User-Agent; browsers send some 120 characters. */
const MAX_USER_AGENT_CHARACTERS = 256;

export interface FinishedOperation {
  request: IncomingMessage & { principal?: Principal };
  /** The template of the route; paths and queries contain data, and are not logged. */
  route: string;
  status: number;
  ms: number;
  spans?: TimeSpans;
  /** Side that ended a feed or a subscription. */
  closedBy?: 'client' | 'server' | undefined;
}

export type OperationObserver = (operation: FinishedOperation) => void;

/**
 * Counts and logs every request at its end: fast routes, express, GraphQL, tRPC, and operations on a WebSocket. The log
 * has principal, client, route, status and duration: at `info`, of probes and scrapes at `debug`, of slow requests as a
 * warning with their spans. It has no tokens, queries, bodies or event ids. Without `recorder` requests are only logged.
 */
export class RequestObserver {
  constructor(
    private readonly logger: Logger,
    private readonly slowThresholdMs: number,
    private readonly proxies: TrustedProxies,
    private readonly recorder: RequestRecorder | undefined,
  ) {}

  requestEnded(request: IncomingMessage, response: ServerResponse): void {
    // Node also calls a response finished whose end was lost with the connection; a complete one ends before that.
    const isFinished = response.writableFinished && !request.socket.destroyed;
    const closedBy = isFeed(response) ? feedClosedBy(request.socket, isFinished) : undefined;
    const status = isFinished || closedBy ? response.statusCode : UNFINISHED;
    const route = routeOf(request);
    const ms = durationMs(response);
    const spans = spansOfResponse(response);
    this.count(request.method ?? '', { request, route, status, ms, spans, closedBy });
  }

  /** Counts and logs an operation on a WebSocket. */
  operationEnded(operation: FinishedOperation): void {
    this.count(SOCKET_METHOD, operation);
  }

  private count(method: string, operation: FinishedOperation): void {
    const { request, route, status, ms, spans, closedBy } = operation;
    this.recorder?.record(method, route, status, ms);
    const isSlow = ms >= this.slowThresholdMs;
    const level = isSlow ? 'warn' : status < 400 && isProbe(route) ? 'debug' : 'info';
    if (!this.logger.isLevelEnabled(level)) return;
    const { traceId, spanId } = traceContextOf(request);
    const { principal } = request;
    const line = {
      context: 'Request',
      requestId: requestIdOf(request),
      traceId,
      spanId,
      principal: principal?.subject,
      issuer: principal?.issuer,
      tenant: principal?.tenant,
      organization: principal && organizationOf(principal),
      client: this.proxies.clientAddress(request),
      userAgent: userAgentOf(request),
      method,
      route,
      status,
      closedBy,
      ms: tenths(ms),
      spans: isSlow && spans ? tenthsOf(spans.after(ms)) : undefined,
    };
    this.logger[level](line, `${isSlow ? 'Slow: ' : ''}${method} ${route} ${status}`);
  }
}

function tenths(ms: number): number {
  return Math.round(ms * 10) / 10;
}

function tenthsOf(spans: SpanTimes): SpanTimes {
  return Object.fromEntries(Object.entries(spans).map(([name, ms]) => [name, tenths(ms)]));
}

/** Tells whether a route is a probe or a scrape, which succeed every few seconds. */
function isProbe(route: string): boolean {
  return route === '/metrics' || route === '/health' || route.startsWith('/health/');
}

/** Returns the organization of a principal that has one, `*` for all, or else their number. */
function organizationOf({ organizations }: Principal): string | number {
  if (organizations === '*') return '*';
  return organizations.length === 1 ? (organizations[0] ?? '') : organizations.length;
}

/** Returns the side that ended a feed; undefined when the service has cut a client that did not read. */
function feedClosedBy(socket: Socket, isFinished: boolean): 'client' | 'server' | undefined {
  if (isFinished) return 'server';
  return socket.readableEnded || socket.errored ? 'client' : undefined;
}

/** Returns a bounded User-Agent in printable ASCII: terminals obey control characters, also of eight bits. */
function userAgentOf({ headers }: IncomingMessage): string | undefined {
  const text = headers['user-agent']?.slice(0, MAX_USER_AGENT_CHARACTERS);
  return text?.replace(
    /[^\x20-\x7e]/g,
    (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}
