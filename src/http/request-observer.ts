import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import type { Principal } from '../auth/principal';
import type { RequestRecorder } from '../metrics/request-recorder';
import { isFeed, requestIdOf, routeOf, traceContextOf } from './request-context';
import { durationMs, spansOfResponse } from './request-times';
import type { SpanTimes, TimeSpans } from '../platform/runtime/time-spans';
import type { TrustedProxies } from './trusted-proxies';

/** Status that nginx logs for a client that did not wait; also for a response aborted here. */
const UNFINISHED = 499;
const SOCKET_METHOD = 'WS';
/** Browsers send some 120 characters. */
const MAX_USER_AGENT_CHARACTERS = 256;

export interface FinishedOperation {
  request: IncomingMessage & { principal?: Principal };
  /** The template, never the path: paths and queries hold data. */
  route: string;
  status: number;
  ms: number;
  spans?: TimeSpans;
  /** Of feeds and subscriptions: the side that ended it. */
  closedBy?: 'client' | 'server' | undefined;
}

export type OperationObserver = (operation: FinishedOperation) => void;

/**
 * Counts and logs all requests at their end: fast routes, express, GraphQL and tRPC, operations on a WebSocket too. The
 * log has principal, client, route, status and duration at `info`, probes and scrapes at `debug`, slow requests as
 * warnings with their spans; never tokens, queries, bodies or event ids. Without `recorder` nothing is measured.
 */
export class RequestObserver {
  constructor(
    private readonly logger: Logger,
    private readonly slowThresholdMs: number,
    private readonly proxies: TrustedProxies,
    private readonly recorder: RequestRecorder | undefined,
  ) {}

  requestEnded(request: IncomingMessage, response: ServerResponse): void {
    // Node also reports a response as finished when its rest is lost with the connection; a complete one ends first.
    const isFinished = response.writableFinished && !request.socket.destroyed;
    const closedBy = isFeed(response) ? feedClosedBy(request.socket, isFinished) : undefined;
    const status = isFinished || closedBy ? response.statusCode : UNFINISHED;
    const route = routeOf(request);
    const ms = durationMs(response);
    const spans = spansOfResponse(response);
    this.count(request.method ?? '', { request, route, status, ms, spans, closedBy });
  }

  /** An operation on a WebSocket has ended. */
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

/** Probes and scrapes come every few seconds: a good one is no news. */
function isProbe(route: string): boolean {
  return route === '/metrics' || route === '/health' || route.startsWith('/health/');
}

/** The single organization, `*` for all, or their number. */
function organizationOf({ organizations }: Principal): string | number {
  if (organizations === '*') return '*';
  return organizations.length === 1 ? (organizations[0] ?? '') : organizations.length;
}

/** Undefined where this service has cut a client that did not read. */
function feedClosedBy(socket: Socket, isFinished: boolean): 'client' | 'server' | undefined {
  if (isFinished) return 'server';
  return socket.readableEnded || socket.errored ? 'client' : undefined;
}

/** Bounded, and with escapes for what is not printable ASCII: terminals obey control characters of eight bits, too. */
function userAgentOf({ headers }: IncomingMessage): string | undefined {
  const text = headers['user-agent']?.slice(0, MAX_USER_AGENT_CHARACTERS);
  return text?.replace(
    /[^\x20-\x7e]/g,
    (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}
