import type { IncomingMessage } from 'node:http';
import { AppError, validationFailed } from '../platform/errors/app-error';

/**
 * Headers that decide about identity, host, idempotency, body and feed position. Node keeps the first or joins them,
 * proxies differ: a proxy may have checked another value. Node's parser refuses a second Content-Length, HttpServer
 * every Transfer-Encoding but one `chunked`. Others are harmless: lists are joined (Accept, If-None-Match,
 * Cache-Control), a joined X-Request-Id or traceparent is ignored, cookies are not read.
 */
const SPELLINGS = ['Host', 'Authorization', 'Idempotency-Key', 'Content-Type', 'Last-Event-ID'];
const SINGLE = SPELLINGS.map((name) => name.toLowerCase());
const LENGTHS = new Set(SINGLE.map(({ length }) => length));

/** The first repeated one of these headers, or undefined. */
export function repeatedHeader({
  rawHeaders,
}: Pick<IncomingMessage, 'rawHeaders'>): string | undefined {
  let seen = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? '';
    if (!LENGTHS.has(name.length)) continue;
    const index = SINGLE.indexOf(name.toLowerCase());
    if (index === -1) continue;
    const bit = 1 << index;
    if ((seen & bit) !== 0) return SPELLINGS[index];
    seen |= bit;
  }
  return undefined;
}

export function headerRepeated(name: string): AppError {
  if (name === 'Host') return new AppError('VALIDATION_FAILED', 'A request needs one Host header.');
  return validationFailed([{ path: name, message: 'is a header that must be given once' }]);
}
