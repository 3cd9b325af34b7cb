import type { IncomingMessage } from 'node:http';
import { AppError, validationFailed } from '../platform/errors/app-error';

/**
 * Headers that say who asks, of what host, whether a write was made before, how a body is read and from where a feed goes
 * on. Of a repeated one Node keeps the first or joins all, proxies do otherwise: whoever checked the request in front may
 * have looked at another value than this service. Node's parser itself refuses a second Content-Length, and HttpServer
 * every Transfer-Encoding but one `chunked`. Of the others a second one does no harm: lists are joined (Accept,
 * If-None-Match, Cache-Control), a joined X-Request-Id or traceparent is not taken over, and cookies are not read.
 */
const SPELLINGS = ['Host', 'Authorization', 'Idempotency-Key', 'Content-Type', 'Last-Event-ID'];
const SINGLE = SPELLINGS.map((name) => name.toLowerCase());
/** Names of other lengths need no comparison, which is most of them. */
const LENGTHS = new Set(SINGLE.map(({ length }) => length));

/** The name of the first header that stands twice in a request and may not; undefined for most requests. */
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

/** Why a request is refused in which this header stands twice. */
export function headerRepeated(name: string): AppError {
  if (name === 'Host') return new AppError('VALIDATION_FAILED', 'A request needs one Host header.');
  return validationFailed([{ path: name, message: 'is a header that must be given once' }]);
}
