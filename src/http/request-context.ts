import onHeaders from 'on-headers';
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';

/** What a client may send as its own request id and find again in answer and log. */
const SANE_ID = /^[A-Za-z0-9][A-Za-z0-9._~:@/+=-]{0,127}$/;

/** Kept on the request itself: a WeakMap with tens of thousands of short-lived keys a second is dear to collect. */
const ID = Symbol('request id');
type Identified = IncomingMessage & { [ID]?: string };

/** The id of a request: the client's `X-Request-Id` when sane, else a new UUID. The same at every call. */
export function requestIdOf(request: Identified): string {
  let id = request[ID];
  if (id === undefined) {
    const sent = request.headers['x-request-id'];
    id = typeof sent === 'string' && SANE_ID.test(sent) ? sent : randomUUID();
    request[ID] = id;
  }
  return id;
}

/** The template of the route that a request is to; kept on the request itself. */
const ROUTE = Symbol('route');
type Routed = IncomingMessage & { [ROUTE]?: string | undefined; route?: { path?: unknown } };

/** What a request that no route has answered counts as: its path is the client's invention. */
const UNMATCHED = 'unmatched';

/**
 * Says what a request is counted as, for doors that have one path for everything (`trpc performance.getMetrics`). Never
 * a text that a client can choose freely: each one is a label of its own.
 */
export function nameRoute(request: Routed, template: string | undefined): void {
  request[ROUTE] = template;
}

/** The template of the route that has answered: as named, else the one that express has matched. */
export function routeOf(request: Routed): string {
  const named = request[ROUTE];
  if (named !== undefined) return named;
  const path = request.route?.path;
  return typeof path === 'string' ? path : UNMATCHED;
}

/**
 * What helmet would say for answers that are never pages: one object written at once, where helmet's fifteen
 * middlewares cost as much as the rest of a cached answer. The pages under /docs have helmet itself.
 */
const SECURITY_HEADERS = Object.entries({
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'Strict-Transport-Security': 'max-age=31536000; includeSubDomains',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
});

/** The same as name, value, name, value …: what writeHead takes without looking at each again. */
const RAW_SECURITY_HEADERS = SECURITY_HEADERS.flat();

/** When a request came, on the clock of performance.now(); kept on its answer. */
const ARRIVED = Symbol('arrived');
/** For answers that may take for ever: when their first byte went out, or undefined before that. */
const STREAMED = Symbol('streamed');
/** When the body of a request had come. */
const BODY_COMPLETED = Symbol('whole');
type Arrived = ServerResponse & {
  [ARRIVED]?: number;
  [BODY_COMPLETED]?: number;
  [STREAMED]?: number | undefined;
};

/** Notes when a request came: what X-Response-Time counts from. */
export function noteArrival(response: ServerResponse): void {
  (response as Arrived)[ARRIVED] = performance.now();
}

/** When a request came, on the clock of performance.now(); now, for one whose arrival nobody noted. */
export function arrivalOf(response: ServerResponse): number {
  return (response as Arrived)[ARRIVED] ?? performance.now();
}

/** Notes that all of a request has come: what its deadline counts from, as a client may send for as long as it is let. */
export function noteBodyComplete(response: ServerResponse): void {
  (response as Arrived)[BODY_COMPLETED] = performance.now();
}

/** When all of a request had come, on the clock of performance.now(); its arrival, for one whose body nobody has read. */
export function bodyCompletedAt(response: ServerResponse): number {
  return (response as Arrived)[BODY_COMPLETED] ?? arrivalOf(response);
}

function tookMs(response: ServerResponse): string {
  const arrivedMs = arrivalOf(response);
  return (performance.now() - arrivedMs).toFixed(1);
}

/**
 * Says that an answer goes on for as long as its reader wants it to (exports, subscriptions): its duration is then the
 * time to the first byte. Called before the headers are written.
 */
export function measureToFirstByte(response: Arrived): void {
  response[STREAMED] = undefined;
  onHeaders(response, () => {
    response[STREAMED] = performance.now();
  });
}

/** How long a request took until now, or until its first byte when that is what counts; milliseconds. */
export function durationMs(response: Arrived): number {
  const nowMs = response[STREAMED] ?? performance.now();
  return nowMs - (response[ARRIVED] ?? nowMs);
}

/** Puts the security headers, `X-Request-Id`, `X-Response-Time` (ms) and `Server-Timing` on an answer, whoever writes it. */
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
 * Writes a whole answer at once, with what stampResponse would put on it: for answers in front of express, where setting
 * seventeen headers one by one costs more than everything else. `headers` are name, value, name, value ….
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
