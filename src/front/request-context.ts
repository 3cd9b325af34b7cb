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

/** Puts `X-Request-Id`, `X-Response-Time` (ms) and `Server-Timing` on an answer, whoever writes it. */
export function stampResponse(request: IncomingMessage, response: ServerResponse): void {
  const startedMs = performance.now();
  response.setHeader('X-Request-Id', requestIdOf(request));
  onHeaders(response, () => {
    const tookMs = (performance.now() - startedMs).toFixed(1);
    response.setHeader('X-Response-Time', `${tookMs}ms`);
    response.setHeader('Server-Timing', `total;dur=${tookMs}`);
  });
}
