import onHeaders from 'on-headers';
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';

/*
 * Context of a request, kept on the request and the response themselves: a WeakMap with tens of thousands of short-lived
 * keys a second is expensive to collect.
 */

/** A request id that a client may choose. */
const VALID_ID = /^[A-Za-z0-9][A-Za-z0-9._~:@/+=-]{0,127}$/;

const ID = Symbol('request id');
type Identified = IncomingMessage & { [ID]?: string };

/** The id of a request: the client's `X-Request-Id` when valid, else a new UUID. The same at every call. */
export function requestIdOf(request: Identified): string {
  let id = request[ID];
  if (id === undefined) {
    const sent = request.headers['x-request-id'];
    id = typeof sent === 'string' && VALID_ID.test(sent) ? sent : randomUUID();
    request[ID] = id;
  }
  return id;
}

const ROUTE = Symbol('route');
type Routed = IncomingMessage & { [ROUTE]?: string | undefined; route?: { path?: unknown } };

/** The template of requests that match no route: their path is the client's invention. */
const UNMATCHED = 'unmatched';

/**
 * Sets the template that a request is counted under, for adapters with one path for everything (`trpc
 * performance.getMetrics`). Never a text that a client can choose freely: each one is a label of its own.
 */
export function nameRoute(request: Routed, template: string | undefined): void {
  request[ROUTE] = template;
}

/** The template of the route of a request: as named, else the one that express has matched. */
export function routeOf(request: Routed): string {
  const named = request[ROUTE];
  if (named !== undefined) return named;
  const path = request.route?.path;
  return typeof path === 'string' ? path : UNMATCHED;
}

/**
 * The headers of helmet for responses that are never pages: one object written at once, as helmet's fifteen middlewares
 * cost as much as the rest of a cached response. The pages under /docs have helmet itself.
 */
const SECURITY_HEADERS = Object.entries({
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'Strict-Transport-Security': 'max-age=31536000; includeSubDomains',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
});

/** The same as name, value, name, value …, which writeHead takes without checking each again. */
const RAW_SECURITY_HEADERS = SECURITY_HEADERS.flat();

const ARRIVED = Symbol('arrived');
const FIRST_BYTE = Symbol('first byte');
const BODY_COMPLETED = Symbol('body completed');
/** Times on the clock of performance.now(). */
type Timed = ServerResponse & {
  [ARRIVED]?: number;
  [BODY_COMPLETED]?: number;
  [FIRST_BYTE]?: number | undefined;
};

/** Notes that a request has arrived, from which X-Response-Time counts. */
export function noteArrival(response: Timed): void {
  response[ARRIVED] = performance.now();
}

/** The arrival of a request, on the clock of performance.now(); now, when it was not noted. */
export function arrivalOf(response: Timed): number {
  return response[ARRIVED] ?? performance.now();
}

/** Notes that the body has arrived, from which the deadline counts: a client may send for as long as the server allows. */
export function noteBodyComplete(response: Timed): void {
  response[BODY_COMPLETED] = performance.now();
}

/** The moment at which the body was complete, on the clock of performance.now(); the arrival, when no body was read. */
export function bodyCompletedAt(response: Timed): number {
  return response[BODY_COMPLETED] ?? arrivalOf(response);
}

function tookMs(response: Timed): string {
  const arrivedMs = arrivalOf(response);
  return (performance.now() - arrivedMs).toFixed(1);
}

/**
 * Makes the time to the first byte the duration of a response that goes on for as long as its reader wants (exports,
 * subscriptions). Called before the headers are written.
 */
export function measureToFirstByte(response: Timed): void {
  response[FIRST_BYTE] = undefined;
  onHeaders(response, () => {
    response[FIRST_BYTE] = performance.now();
  });
}

/** The duration of a request until now, or until its first byte when that is what counts; milliseconds. */
export function durationMs(response: Timed): number {
  const nowMs = response[FIRST_BYTE] ?? performance.now();
  return nowMs - (response[ARRIVED] ?? nowMs);
}

/** Puts the security headers, `X-Request-Id`, `X-Response-Time` (ms) and `Server-Timing` on a response. */
export function stampResponse(request: IncomingMessage, response: ServerResponse): void {
  response.setHeader('X-Request-Id', requestIdOf(request));
  for (const [name, value] of SECURITY_HEADERS) response.setHeader(name, value);
  onHeaders(response, () => {
    const took = tookMs(response);
    response.setHeader('X-Response-Time', `${took}ms`);
    response.setHeader('Server-Timing', `total;dur=${took}`);
  });
}

/**
 * Writes a whole response at once, with the headers of stampResponse: for the fast path, where setting seventeen headers
 * one by one costs more than everything else. `headers` are name, value, name, value ….
 */
export function writeStamped(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  headers: readonly string[],
  parts: readonly (Buffer | string)[],
): void {
  const took = tookMs(response);
  response.writeHead(status, [
    'X-Request-Id',
    requestIdOf(request),
    ...RAW_SECURITY_HEADERS,
    'X-Response-Time',
    `${took}ms`,
    'Server-Timing',
    `total;dur=${took}`,
    ...headers,
  ]);
  for (let at = 0; at < parts.length - 1; at += 1) response.write(parts[at]);
  response.end(parts.at(-1));
}

/** The path and query of a request target; a proxy may send it in absolute form (RFC 9112, section 3.2.2). */
export function originForm(target: string): string | undefined {
  if (target.startsWith('/') || target === '*') return target;
  const absolute = /^https?:\/\/[^/?#]+(\/.*)?$/i.exec(target);
  return absolute ? (absolute[1] ?? '/') : undefined;
}
