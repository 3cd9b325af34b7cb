import type { IncomingMessage, ServerResponse } from 'node:http';

/** Request methods of all routes. */
const METHODS = 'GET, HEAD, POST, DELETE';
/** Two hours: Chromium repeats preflights after that in any case. */
const MAX_AGE_SECONDS = 7200;
/** A list of header names. */
const NAMES = /^[\w!#$%&'*+.^`|~-]+(?:[ \t]*,[ \t]*[\w!#$%&'*+.^`|~-]+)*$/;
/** Response headers that scripts may read, beside those of the Fetch standard (Content-Type, Content-Length, Cache-Control …). */
const EXPOSED = [
  'Age',
  'Allow',
  'Content-Disposition',
  'ETag',
  'Idempotency-Replayed',
  'Link',
  'Location',
  'RateLimit',
  'RateLimit-Policy',
  'Retry-After',
  'Server-Timing',
  'WWW-Authenticate',
  'X-Cache',
  'X-Export-Snapshot',
  'X-Request-Id',
  'X-Response-Time',
].join(', ');

/** Headers of all responses to a page of this origin, as name, value, name, value …. */
const TO_ANY: readonly string[] = [
  'Access-Control-Allow-Origin',
  '*',
  'Access-Control-Expose-Headers',
  EXPOSED,
];
/** Headers of a response that a page of another origin may not read: caches must not give it to the pages that may. */
const TO_OTHERS: readonly string[] = ['Vary', 'Origin'];

const HEADERS = Symbol('cross-origin headers');
type Shared = ServerResponse & { [HEADERS]?: readonly string[] | undefined };

/**
 * Cross-origin resource sharing (Fetch standard, section 3.3) with pages of the configured origins, for every response
 * of the HTTP server. Credentials of the browser are not shared: a request has its token in a header, which a page of
 * another origin cannot know.
 */
export class CrossOriginSharing {
  private readonly toAll: readonly string[];
  private readonly byOrigin: ReadonlyMap<string, readonly string[]>;

  /** @param origins Origins as browsers send them; `*` stands for all. */
  constructor(origins: readonly string[]) {
    const isOpen = origins.includes('*');
    this.toAll = isOpen ? TO_ANY : TO_OTHERS;
    this.byOrigin = new Map(isOpen ? [] : origins.map((origin) => [origin, headersFor(origin)]));
  }

  /** Decides the headers of a response, which stampResponse and writeStamped write. */
  note({ headers }: IncomingMessage, response: Shared): void {
    const { origin } = headers;
    const own = origin === undefined ? undefined : this.byOrigin.get(origin);
    response[HEADERS] = own ?? this.toAll;
  }

  /** Responds to a preflight of an allowed origin; false for other requests. Every method is allowed: routes answer 405. */
  respondToPreflight({ method, headers }: IncomingMessage, response: Shared): boolean {
    if (method !== 'OPTIONS' || headers.origin === undefined) return false;
    const isShared = response[HEADERS] !== undefined && response[HEADERS] !== TO_OTHERS;
    if (!isShared || headers['access-control-request-method'] === undefined) return false;
    response.statusCode = 204;
    response.setHeader('Access-Control-Allow-Methods', METHODS);
    response.setHeader('Access-Control-Max-Age', MAX_AGE_SECONDS);
    const names = headers['access-control-request-headers'];
    if (names !== undefined && NAMES.test(names)) {
      response.setHeader('Access-Control-Allow-Headers', names);
    }
    response.setHeader('Vary', 'Access-Control-Request-Headers');
    response.end();
    return true;
  }
}

function headersFor(origin: string): readonly string[] {
  return [
    'Access-Control-Allow-Origin',
    origin,
    'Access-Control-Expose-Headers',
    EXPOSED,
    ...TO_OTHERS,
  ];
}

/** Headers of a response for pages of other origins, as name, value, name, value …; none unless origins are configured. */
export function crossOriginHeadersOf(response: Shared): readonly string[] | undefined {
  return response[HEADERS];
}
