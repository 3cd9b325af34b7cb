import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { randomFillSync, randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import onHeaders from 'on-headers';
import { AppError } from '../platform/errors/app-error';
import { attachDeadline } from '../platform/runtime/abort';
import { attachSpans } from '../platform/runtime/time-spans';
import { crossOriginHeadersOf } from './cross-origin';
import { sinceCompleteMs, spansOfResponse, timingOf } from './request-times';

/*
 * The context is kept in properties of request and response: a WeakMap with tens of thousands of short-lived keys a
 * second is expensive to collect.
 */

const VALID_ID = /^[A-Za-z0-9][A-Za-z0-9._~:@/+=-]{0,127}$/;

const ID = Symbol('request id');
type Identified = IncomingMessage & { [ID]?: string };

/** Returns the client's `X-Request-Id` if it is valid, else a UUID, which stays the same for the request. */
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

/**
 * Sets the name of a request's route for metrics, where express's route does not say it (`trpc performance.getMetrics`).
 * The name must not contain free text of a client: each name becomes a label.
 */
export function nameRoute(request: Routed, template: string | undefined): void {
  request[ROUTE] = template;
}

/** Returns the name set by nameRoute, else express's route; `unmatched` without a route, as paths are unbounded. */
export function routeOf(request: Routed): string {
  const named = request[ROUTE];
  if (named !== undefined) return named;
  const path = request.route?.path;
  return typeof path === 'string' ? path : 'unmatched';
}

/**
 * Headers that helmet would set: its fifteen middlewares cost as much as the rest of a cached response. Pages under
 * /docs use helmet itself.
 */
const SECURITY_HEADERS = Object.entries({
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
});

/** Header of responses over TLS only (RFC 6797, section 7.2). */
const STRICT_TRANSPORT = [
  'Strict-Transport-Security',
  'max-age=31536000; includeSubDomains',
] as const;

/** Lists of name, value, name, value …, which writeHead takes without checks. */
const RAW_SECURITY_HEADERS = SECURITY_HEADERS.flat();
const RAW_TLS_HEADERS = [...RAW_SECURITY_HEADERS, ...STRICT_TRANSPORT];

/** The request as its client sent it to the proxies in front of the service. */
export interface Forwarding {
  /** True when the client's connection is TLS. */
  isSecure: boolean;
  /** Path in front of the target, as the client sees it: '' or `/audit`. */
  prefix: string;
}

const FORWARDING = Symbol('forwarding');
type Forwarded = { [FORWARDING]?: Forwarding };

export function noteForwarding(response: ServerResponse & Forwarded, forwarding: Forwarding): void {
  response[FORWARDING] = forwarding;
}

/** Returns the path that a proxy has removed in front of the target; '' when it has removed none. */
export function forwardedPrefix(response: ServerResponse & Forwarded): string {
  return response[FORWARDING]?.prefix ?? '';
}

/** Response headers that contain paths of the service. */
const PATH_HEADERS = ['Location', 'Link'];

/** Puts the prefix in front of each path in a value: `/path`, or `</path>; rel=…, </path>…`. */
function withPrefix(value: string, prefix: string): string {
  return value.replace(/(^|<)\/(?!\/)/g, `$1${prefix}/`);
}

const FEED = Symbol('feed');
type Feed = ServerResponse & { [FEED]?: true };

/** Marks an endless response, whose regular end is the client's disconnect. */
export function noteFeed(response: Feed): void {
  response[FEED] = true;
}

export function isFeed(response: Feed): boolean {
  return response[FEED] === true;
}

const SHAREABLE = Symbol('shareable');
type Shareable = ServerResponse & { [SHAREABLE]?: true };
/** Headers about one request: its id, which a client may choose, and its duration. */
const OF_ONE_REQUEST = ['X-Request-Id', 'X-Response-Time', 'Server-Timing'];

/** Marks a response that shared caches may store, and that therefore has no headers about one request. */
export function noteShareable(response: Shareable): void {
  response[SHAREABLE] = true;
}

/** Sets the security headers, `X-Request-Id`, `X-Response-Time` (ms), `Server-Timing`, and those of cross-origin sharing. */
export function stampResponse(request: IncomingMessage, response: ServerResponse): void {
  response.setHeader('X-Request-Id', requestIdOf(request));
  for (const [name, value] of SECURITY_HEADERS) response.setHeader(name, value);
  const { isSecure = false, prefix = '' } = (response as Forwarded)[FORWARDING] ?? {};
  if (isSecure) response.setHeader(...STRICT_TRANSPORT);
  onHeaders(response, () => {
    for (const name of prefix === '' ? [] : PATH_HEADERS) {
      const value = response.getHeader(name);
      if (value !== undefined) response.setHeader(name, withPrefix(String(value), prefix));
    }
    const [took, serverTiming] = timingOf(request, response);
    if ((response as Shareable)[SHAREABLE]) {
      for (const name of OF_ONE_REQUEST) response.removeHeader(name);
    } else {
      response.setHeader('X-Response-Time', took);
      response.setHeader('Server-Timing', serverTiming);
    }
    const shared = crossOriginHeadersOf(response) ?? [];
    for (let at = 0; at < shared.length; at += 2) {
      const [name = '', value = ''] = shared.slice(at);
      const own = response.getHeader(name);
      response.setHeader(name, own === undefined ? value : `${String(own)}, ${value}`);
    }
  });
}

/**
 * Writes a response with the headers of stampResponse in one call: setting seventeen headers costs more than the rest of
 * the fast path. `headers` are name, value, name, value ….
 */
export function writeStamped(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  headers: readonly string[],
  parts: readonly (Buffer | string)[],
): void {
  const [took, serverTiming] = timingOf(request, response);
  const shared = crossOriginHeadersOf(response);
  const { isSecure = false, prefix = '' } = (response as Forwarded)[FORWARDING] ?? {};
  const own = prefix === '' ? headers : headersWithPrefix(headers, prefix);
  response.writeHead(status, [
    'X-Request-Id',
    requestIdOf(request),
    ...(isSecure ? RAW_TLS_HEADERS : RAW_SECURITY_HEADERS),
    'X-Response-Time',
    took,
    'Server-Timing',
    serverTiming,
    ...(shared ? joined(own, shared) : own),
  ]);
  for (let at = 0; at < parts.length - 1; at += 1) response.write(parts[at]);
  response.end(parts.at(-1));
}

function headersWithPrefix(headers: readonly string[], prefix: string): string[] {
  return headers.map((value, at) =>
    at % 2 === 1 && PATH_HEADERS.includes(headers[at - 1] ?? '')
      ? withPrefix(value, prefix)
      : value,
  );
}

/** Adds `more` to `headers`, in one line for each name: of several lines Node may send only the last. */
function joined(headers: readonly string[], more: readonly string[]): string[] {
  const all = [...headers];
  for (let at = 0; at < more.length; at += 2) {
    const [name = '', value = ''] = more.slice(at);
    const own = all.indexOf(name);
    if (own === -1) all.push(name, value);
    else all[own + 1] += `, ${value}`;
  }
  return all;
}

/** Returns path and query of a target, which a proxy may send in absolute form (RFC 9112, section 3.2.2). */
export function originForm(target: string): string | undefined {
  if (target.startsWith('/') || target === '*') return target;
  const absolute = /^https?:\/\/[^/?#]+(\/.*)?$/i.exec(target);
  return absolute ? (absolute[1] ?? '/') : undefined;
}

/** Trace and span of a request as in W3C Trace Context, in lower-case hex. */
export interface TraceContext {
  traceId: string;
  spanId: string;
}

/** `traceparent`; version ff and ids of zeros are invalid. */
const TRACEPARENT =
  /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?$/;
const [TRACE_ID_BYTES, SPAN_ID_BYTES] = [16, 8];
/** Random bytes, drawn in advance at a tenth of the cost of single draws. */
const stock = Buffer.alloc(4096);
let used = stock.length;

const TRACE = Symbol('trace');
type Traced = Pick<IncomingMessage, 'headers'> & { [TRACE]?: TraceContext };

/** Keeps a tracer's span for a request. */
export function keepTraceContext(request: Traced, context: TraceContext): void {
  request[TRACE] = context;
}

/**
 * Returns the trace of the tracer, else of a valid `traceparent`, else a new one. Without a tracer each call returns a new
 * span.
 */
export function traceContextOf(request: Traced): TraceContext {
  const kept = request[TRACE];
  if (kept) return kept;
  const spanId = randomHex(SPAN_ID_BYTES);
  return { traceId: traceIdIn(request.headers.traceparent) ?? randomHex(TRACE_ID_BYTES), spanId };
}

/** Returns the id of a valid `traceparent`. Only versions after 00 may have further fields. */
function traceIdIn(traceparent: string | string[] | undefined): string | undefined {
  if (typeof traceparent !== 'string') return undefined;
  const [, version, traceId, more] = TRACEPARENT.exec(traceparent) ?? [];
  return version === '00' && more !== undefined ? undefined : traceId;
}

function randomHex(bytes: number): string {
  if (used + bytes > stock.length) {
    randomFillSync(stock);
    used = 0;
  }
  used += bytes;
  return stock.toString('hex', used - bytes, used);
}

/** Key of a response's signal, which all work for the request shares. */
const REQUEST_SIGNAL = Symbol('request signal');
type Signalled = ServerResponse & { [REQUEST_SIGNAL]?: AbortSignal };

/**
 * Returns the signal of a request, which aborts with REQUEST_TIMEOUT `timeoutMs` after the request is complete, or with
 * CLIENT_CLOSED at a disconnect. The first call creates it, as most requests need none.
 */
export function requestSignal(response: Signalled, timeoutMs: number): AbortSignal {
  if (response[REQUEST_SIGNAL]) return response[REQUEST_SIGNAL];
  const controller = new AbortController();
  response[REQUEST_SIGNAL] = controller.signal;
  attachSpans(controller.signal, spansOfResponse(response));
  const abort = (): void => controller.abort(clientClosed());
  if (response.destroyed) {
    abort();
    return controller.signal;
  }
  const leftMs = Math.max(1, Math.ceil(timeoutMs - sinceCompleteMs(response)));
  const deadlineMs = performance.now() + leftMs;
  attachDeadline(controller.signal, () => deadlineMs);
  const timer = setTimeout(() => controller.abort(requestTimeout()), leftMs).unref();
  response.once('close', () => {
    clearTimeout(timer);
    if (!response.writableFinished) abort();
  });
  return controller.signal;
}

/** Parameter of a handler: its requestSignal with LimitConcurrency, else undefined. */
export const RequestSignal = createParamDecorator(
  (_: unknown, context: ExecutionContext): AbortSignal | undefined =>
    context.switchToHttp().getResponse<Signalled>()[REQUEST_SIGNAL],
);

/** Creates REQUEST_TIMEOUT: the outcome of a running write is unknown. */
export function requestTimeout(): AppError {
  return new AppError(
    'REQUEST_TIMEOUT',
    'The request was not done in time. Repeat a write with the same Idempotency-Key to learn its outcome.',
  );
}

export function clientClosed(): AppError {
  return new AppError('CLIENT_CLOSED', 'The client hung up before it was answered.');
}
