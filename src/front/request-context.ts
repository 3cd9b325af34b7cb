import onHeaders from 'on-headers';
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';

/** What a client may send as its own request id and find again in answer and log. */
const SANE_ID = /^[A-Za-z0-9][A-Za-z0-9._~:@/+=-]{0,127}$/;

const ids = new WeakMap<IncomingMessage, string>();

/** The id of a request: the client's `X-Request-Id` when sane, else a new UUID. The same at every call. */
export function requestIdOf(request: IncomingMessage): string {
  let id = ids.get(request);
  if (id === undefined) {
    const sent = request.headers['x-request-id'];
    id = typeof sent === 'string' && SANE_ID.test(sent) ? sent : randomUUID();
    ids.set(request, id);
  }
  return id;
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

/** Puts the security headers, `X-Request-Id`, `X-Response-Time` (ms) and `Server-Timing` on an answer, whoever writes it. */
export function stampResponse(request: IncomingMessage, response: ServerResponse): void {
  const startedMs = performance.now();
  response.setHeader('X-Request-Id', requestIdOf(request));
  for (const [name, value] of SECURITY_HEADERS) response.setHeader(name, value);
  onHeaders(response, () => {
    const tookMs = (performance.now() - startedMs).toFixed(1);
    response.setHeader('X-Response-Time', `${tookMs}ms`);
    response.setHeader('Server-Timing', `total;dur=${tookMs}`);
  });
}
