import onHeaders from 'on-headers';
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';

/*
 * Kept on request and response: a WeakMap with tens of thousands of short-lived keys a second is expensive to collect.
 */

const VALID_ID = /^[A-Za-z0-9][A-Za-z0-9._~:@/+=-]{0,127}$/;

const ID = Symbol('request id');
type Identified = IncomingMessage & { [ID]?: string };

/** The client's valid `X-Request-Id`, else a new UUID, the same at every call. */
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

/** Template for requests without a route, whose paths are unbounded. */
const UNMATCHED = 'unmatched';

/**
 * Sets the template for metrics, for adapters with one path (`trpc performance.getMetrics`). Never a client's free
 * text: each value becomes a label.
 */
export function nameRoute(request: Routed, template: string | undefined): void {
  request[ROUTE] = template;
}

/** The template set by nameRoute, else express's route. */
export function routeOf(request: Routed): string {
  const named = request[ROUTE];
  if (named !== undefined) return named;
  const path = request.route?.path;
  return typeof path === 'string' ? path : UNMATCHED;
}

/**
 * helmet's headers in one object: its fifteen middlewares cost as much as the rest of a cached response. Pages under
 * /docs use helmet itself.
 */
const SECURITY_HEADERS = Object.entries({
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'Strict-Transport-Security': 'max-age=31536000; includeSubDomains',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
});

/** As name, value, name, value …, which writeHead takes without checks. */
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

/** Starts X-Response-Time. */
export function noteArrival(response: Timed): void {
  response[ARRIVED] = performance.now();
}

/** Arrival on the clock of performance.now(); now when none was noted. */
export function arrivalOf(response: Timed): number {
  return response[ARRIVED] ?? performance.now();
}

/** Starts the deadline, which excludes the client's sending time. */
export function noteBodyComplete(response: Timed): void {
  response[BODY_COMPLETED] = performance.now();
}

/** Completion of the body on the clock of performance.now(); the arrival when there was no body. */
export function bodyCompletedAt(response: Timed): number {
  return response[BODY_COMPLETED] ?? arrivalOf(response);
}

function tookMs(response: Timed): string {
  const arrivedMs = arrivalOf(response);
  return (performance.now() - arrivedMs).toFixed(1);
}

/** Measures endless responses (exports, subscriptions) to their first byte. Called before the headers. */
export function measureToFirstByte(response: Timed): void {
  response[FIRST_BYTE] = undefined;
  onHeaders(response, () => {
    response[FIRST_BYTE] = performance.now();
  });
}

/** Milliseconds until now, or until the first byte after measureToFirstByte. */
export function durationMs(response: Timed): number {
  const nowMs = response[FIRST_BYTE] ?? performance.now();
  return nowMs - (response[ARRIVED] ?? nowMs);
}

/** Sets the security headers, `X-Request-Id`, `X-Response-Time` (ms) and `Server-Timing`. */
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
 * Writes a response with the headers of stampResponse at once: seventeen single headers cost more than the rest of the
 * fast path. `headers` are name, value, name, value ….
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

/** Path and query; proxies may send the absolute form (RFC 9112, section 3.2.2). */
export function originForm(target: string): string | undefined {
  if (target.startsWith('/') || target === '*') return target;
  const absolute = /^https?:\/\/[^/?#]+(\/.*)?$/i.exec(target);
  return absolute ? (absolute[1] ?? '/') : undefined;
}
