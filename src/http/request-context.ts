import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { randomFillSync, randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import onHeaders from 'on-headers';
import { AppError } from '../platform/errors/app-error';
import { attachSpans } from '../platform/runtime/time-spans';
import { crossOriginHeadersOf } from './cross-origin';
import { sinceCompleteMs, spansOfResponse, timingOf } from './request-times';

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

/**
 * Sets the template for metrics, for adapters with one path (`trpc performance.getMetrics`). Never a client's free
 * text: each value becomes a label.
 */
export function nameRoute(request: Routed, template: string | undefined): void {
  request[ROUTE] = template;
}

/** The template set by nameRoute, else express's route; `unmatched` without one, as paths are unbounded. */
export function routeOf(request: Routed): string {
  const named = request[ROUTE];
  if (named !== undefined) return named;
  const path = request.route?.path;
  return typeof path === 'string' ? path : 'unmatched';
}

/**
 * helmet's headers in one object: its fifteen middlewares cost as much as the rest of a cached response. Pages under
 * /docs use helmet itself.
 */
const SECURITY_HEADERS = Object.entries({
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
});

/** For responses over TLS alone (RFC 6797, section 7.2). */
const STRICT_TRANSPORT = [
  'Strict-Transport-Security',
  'max-age=31536000; includeSubDomains',
] as const;

/** As name, value, name, value …, which writeHead takes without checks. */
const RAW_SECURITY_HEADERS = SECURITY_HEADERS.flat();
const RAW_TLS_HEADERS = [...RAW_SECURITY_HEADERS, ...STRICT_TRANSPORT];

/** The request as its client sent it to the proxies in front of the service. */
export interface Forwarding {
  /** The client's connection is TLS. */
  isSecure: boolean;
  /** Path in front of the target, as the client sees it: '' or `/audit`. */
  prefix: string;
}

const FORWARDING = Symbol('forwarding');
type Forwarded = { [FORWARDING]?: Forwarding };

export function noteForwarding(response: ServerResponse & Forwarded, forwarding: Forwarding): void {
  response[FORWARDING] = forwarding;
}

/** The path in front of the target; '' without a proxy that removes one. */
export function forwardedPrefix(response: ServerResponse & Forwarded): string {
  return response[FORWARDING]?.prefix ?? '';
}

/** Response headers with paths of this service. */
const PATH_HEADERS = ['Location', 'Link'];

/** `/path` and `</path>; rel=…, </path>…`, as the client sees the path. */
function withPrefix(value: string, prefix: string): string {
  return value.replace(/(^|<)\/(?!\/)/g, `$1${prefix}/`);
}

const FEED = Symbol('feed');
type Feed = ServerResponse & { [FEED]?: true };

/** Marks a response that goes on for as long as its client likes: that the client leaves is its regular end. */
export function noteFeed(response: Feed): void {
  response[FEED] = true;
}

export function isFeed(response: Feed): boolean {
  return response[FEED] === true;
}

const SHAREABLE = Symbol('shareable');
type Shareable = ServerResponse & { [SHAREABLE]?: true };
/** Headers about one request: its id, which the client may have chosen, and its duration. */
const OF_ONE_REQUEST = ['X-Request-Id', 'X-Response-Time', 'Server-Timing'];

/** Marks a response that shared caches keep: they would repeat headers about this request to other clients. */
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

/** `headers` with `more`: one line for a name, as Node may keep only the last. */
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

/** Path and query; proxies may send the absolute form (RFC 9112, section 3.2.2). */
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

/** Version ff and ids of zeros are invalid. */
const TRACEPARENT =
  /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?$/;
const [TRACE_ID_BYTES, SPAN_ID_BYTES] = [16, 8];
/** Random bytes in advance: a tenth of the cost of single draws. */
const stock = Buffer.alloc(4096);
let used = stock.length;

const TRACE = Symbol('trace');
type Traced = Pick<IncomingMessage, 'headers'> & { [TRACE]?: TraceContext };

/** Keeps a tracer's span for a request. */
export function keepTraceContext(request: Traced, context: TraceContext): void {
  request[TRACE] = context;
}

/**
 * A tracer's trace, else that of a valid `traceparent`, else a new one. Without a tracer each call gives a new span.
 */
export function traceContextOf(request: Traced): TraceContext {
  const kept = request[TRACE];
  if (kept) return kept;
  const spanId = randomHex(SPAN_ID_BYTES);
  return { traceId: traceIdIn(request.headers.traceparent) ?? randomHex(TRACE_ID_BYTES), spanId };
}

/** Version 00 has no further fields, later versions may. */
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

/** Kept on the response, so that all work for one request shares it. */
const REQUEST_SIGNAL = Symbol('request signal');
type Signalled = ServerResponse & { [REQUEST_SIGNAL]?: AbortSignal };

/**
 * Aborts with REQUEST_TIMEOUT `timeoutMs` after the complete request, or with CLIENT_CLOSED at a disconnect. Made on
 * demand, as most requests never need it.
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
  const timer = setTimeout(
    () => controller.abort(requestTimeout()),
    Math.max(1, Math.ceil(timeoutMs - sinceCompleteMs(response))),
  ).unref();
  response.once('close', () => {
    clearTimeout(timer);
    if (!response.writableFinished) abort();
  });
  return controller.signal;
}

/** The requestSignal, for handlers with LimitConcurrency; undefined for others. */
export const RequestSignal = createParamDecorator(
  (_: unknown, context: ExecutionContext): AbortSignal | undefined =>
    context.switchToHttp().getResponse<Signalled>()[REQUEST_SIGNAL],
);

/** REQUEST_TIMEOUT: the outcome of a write in progress is unknown. */
export function requestTimeout(): AppError {
  return new AppError(
    'REQUEST_TIMEOUT',
    'The request was not done in time. Repeat a write with the same Idempotency-Key to learn its outcome.',
  );
}

export function clientClosed(): AppError {
  return new AppError('CLIENT_CLOSED', 'The client hung up before it was answered.');
}
