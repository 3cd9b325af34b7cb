import { randomUUID } from 'node:crypto';
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { hasTicket, takeTicket } from '../auth/ticket-access';
import {
  AppError,
  codeOfStatus,
  ERROR_TABLE,
  validationFailed,
} from '../platform/errors/app-error';
import { PROBLEM_JSON, problemOf, writeProblem } from '../platform/errors/problem';
import {
  closeWithConnection,
  closeWithResponse,
  destroyAfter,
  isOver,
  lingeringClose,
  ServerRequest,
  stateOf,
} from './connection-state';
import type { CrossOriginSharing } from './cross-origin';
import type { FastRoutes } from './fast-routes';
import {
  type Forwarding,
  nameRoute,
  noteForwarding,
  originForm,
  stampResponse,
} from './request-context';
import { noteArrival } from './request-times';
import { SlowClientGuard } from './slow-client-guard';

/** Listener that responds to a request, such as an express application. */
export type RequestListener = (request: IncomingMessage, response: ServerResponse) => void;

export interface HttpServerLimits {
  headersTimeoutMs: number;
  requestTimeoutMs: number;
  /** Interval, and thus tolerance, of these checks. */
  checkIntervalMs: number;
  maxHeaderBytes: number;
  maxHeaders: number;
}

const LIMITS: HttpServerLimits = {
  headersTimeoutMs: 15_000,
  requestTimeoutMs: 120_000,
  checkIntervalMs: 5000,
  maxHeaderBytes: 16 * 1024,
  maxHeaders: 200,
};
/** Characters of a request target: enough for a filter of a hundred ids and a token of 4 KiB. */
const MAX_TARGET_LENGTH = 12 * 1024;
/** More than the usual idle timeout of load balancers (60 s): they close first, and no request is lost. */
const KEEP_ALIVE_TIMEOUT_MS = 65_000;
/** Silence after which a connection is destroyed; SlowClientGuard handles clients that send but do not read. */
const SILENCE_TIMEOUT_MS = 60_000;
const DRAIN_POLL_MS = 50;
/** Iterations of the event loop in which destroyed connections emit `close`. */
const DRAIN_ITERATIONS = 100;

/**
 * Owns the socket. Accepts connections before the application has booted, so that probes get a true response, and drains
 * them at shutdown.
 */
export class HttpServer {
  readonly server: Server;
  readonly slowClients: SlowClientGuard;
  /** Decides which pages of other origins may read responses; while undefined, none may. */
  crossOrigin: CrossOriginSharing | undefined;
  /** Reads the headers of proxies; while undefined, no proxy is trusted. */
  forwarding: ((request: IncomingMessage) => Forwarding) | undefined;
  /** Duration from which a response has its spans in Server-Timing. */
  slowRequestMs = Infinity;
  private listener: RequestListener | undefined;
  private fastRoutes: Pick<FastRoutes, 'find'> | undefined;
  private observe: RequestListener | undefined;
  private draining = false;
  private readonly maxHeaders: number;
  private readonly running = new Set<ServerResponse>();

  constructor(limits: Partial<HttpServerLimits> = {}) {
    const { headersTimeoutMs, requestTimeoutMs, ...others } = { ...LIMITS, ...limits };
    this.maxHeaders = others.maxHeaders;
    this.server = createServer(
      {
        IncomingMessage: ServerRequest,
        headersTimeout: headersTimeoutMs,
        requestTimeout: requestTimeoutMs,
        connectionsCheckingInterval: others.checkIntervalMs,
        maxHeaderSize: others.maxHeaderBytes,
        requireHostHeader: false, // refused below, with a problem document
      },
      (request, response) => this.handle(request, response),
    );
    this.server.keepAliveTimeout = KEEP_ALIVE_TIMEOUT_MS;
    this.server.timeout = SILENCE_TIMEOUT_MS;
    this.server.maxHeadersCount = others.maxHeaders + 1; // Node drops the others: one more shows that there were too many
    this.server.on('checkContinue', (request: ServerRequest, response: ServerResponse) => {
      request.awaitReader(response);
      lingeringClose(request.socket);
      this.server.emit('request', request, response);
    });
    this.server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
      if (!this.track(request, response)) return;
      stampResponse(request, response);
      const detail = 'The Expect header asks for something this service does not know.';
      writeProblem(new AppError('VALIDATION_FAILED', detail), request, response);
    });
    const closeIdleConnections = this.server.closeIdleConnections.bind(this.server);
    // Replaced on the server itself, whose close() calls it as well.
    this.server.closeIdleConnections = () => this.closeIdleSparingReaders(closeIdleConnections);
    this.server.on('clientError', (error, socket) => this.refuse(error, socket as Socket));
    this.slowClients = new SlowClientGuard(this.server);
    // Node remembers the address once it is read, and cannot read it when the client is gone.
    this.server.on('connection', (socket: Socket) => void socket.remoteAddress);
  }

  /**
   * Starts to listen; rejects when the port is taken. Without `host` it listens on all addresses of IPv6 and IPv4, or of
   * IPv4 where there is no IPv6 (net.Server.listen).
   */
  async listen(port: number, host?: string): Promise<AddressInfo> {
    await new Promise<void>((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen({ port, host, backlog: 4096 }, () => {
        this.server.off('error', reject);
        resolve();
      });
    });
    return this.server.address() as AddressInfo;
  }

  /**
   * Serves fast routes by `fastRoutes`, and others by `listener`. `observe` (RequestObserver) is called when a response
   * of either has ended, complete or not.
   */
  attach(
    listener: RequestListener,
    fastRoutes: Pick<FastRoutes, 'find'>,
    observe?: RequestListener,
  ): void {
    this.listener = listener;
    this.fastRoutes = fastRoutes;
    this.observe = observe;
  }

  get runningRequests(): number {
    return this.running.size;
  }

  /**
   * Stops accepting connections, asks clients to close theirs, and destroys those with running requests after
   * `timeoutMs`.
   * @returns the number of requests that were cut.
   */
  async drain(timeoutMs: number): Promise<number> {
    this.draining = true;
    for (const response of this.running) this.announceClose(response);
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    const deadlineMs = performance.now() + timeoutMs;
    this.server.closeIdleConnections();
    while (this.running.size > 0 && performance.now() < deadlineMs) {
      await sleep(DRAIN_POLL_MS);
      this.server.closeIdleConnections();
    }
    const aborted = this.running.size;
    this.server.closeAllConnections();
    await closed;
    // The observer counts cut requests as well before the process exits.
    for (let i = 0; i < DRAIN_ITERATIONS && this.running.size > 0; i += 1) await setImmediate();
    return aborted;
  }

  /** Closes idle connections, without those whose client still reads: for Node a written response makes them idle. */
  private closeIdleSparingReaders(closeIdleConnections: () => void): void {
    const unread = [...this.running].filter(
      ({ writableEnded, writableFinished }) => writableEnded && !writableFinished,
    );
    for (const response of unread) response.finished = false;
    closeIdleConnections();
    for (const response of unread) response.finished = true;
  }

  private announceClose(response: ServerResponse): void {
    const { socket, headersSent } = response;
    if (headersSent || !socket || stateOf(socket).active > 1) return;
    response.setHeader('Connection', 'close');
  }

  private count(socket: Socket, change: 1 | -1): void {
    const state = stateOf(socket);
    state.active += change;
    if (state.active === 0 && state.isUnreadable) socket.end();
  }

  /** Responds to an unreadable request; bytes after a whole request wait for the response to that request. */
  private refuse(error: NodeJS.ErrnoException, socket: Socket): void {
    const state = stateOf(socket);
    if (state.longBody?.complete === false && error.code === 'ERR_HTTP_REQUEST_TIMEOUT') return;
    if (state.active > 0 && state.last?.complete && error.code !== 'ECONNRESET') {
      state.isUnreadable = true;
      return;
    }
    respondToUnreadable(error, socket);
  }

  /** One listener for all responses: closures would be garbage at tens of thousands of responses a second. */
  private readonly onClose = (function closed(server: HttpServer) {
    return function (this: ServerResponse): void {
      if (!server.running.delete(this)) return;
      const state = stateOf(this.req.socket);
      if (state.longBody === this.req) state.longBody = undefined;
      server.count(this.req.socket, -1);
      server.observe?.(this.req, this);
    };
  })(this);

  /** Begins to track a response; false when the connection has had its last response. */
  private track(request: IncomingMessage, response: ServerResponse): boolean {
    if (isOver(request.socket)) {
      request.socket.destroy(); // Node would retain all further requests
      return false;
    }
    const state = stateOf(request.socket);
    state.last = request;
    this.running.add(response);
    this.count(request.socket, 1);
    response.on('close', this.onClose);
    if (response.socket === null) closeWithConnection(response);
    noteArrival(response, this.slowRequestMs);
    this.crossOrigin?.note(request, response);
    if (this.forwarding) noteForwarding(response, this.forwarding(request));
    return true;
  }

  private handle(request: IncomingMessage, response: ServerResponse): void {
    if (!this.track(request, response)) return;
    takeTicket(request);
    // A target has no fragment (RFC 9112, section 3.2), and parsers differ on it.
    const { url = '' } = request;
    const isUnusual =
      url.includes('#') ||
      hasTicket(request) ||
      this.isExcessive(request) ||
      repeatedHeader(request) !== undefined ||
      isCoded(request);
    const fast = isUnusual ? undefined : this.fastRoutes?.find(request);
    const handleDefault = (): void =>
      respondToFault(request, response, () => this.handleDefault(request, response));
    if (!fast || this.draining || request.headers.host === undefined) return handleDefault();
    respondToFault(request, response, () => fast(request, response, handleDefault));
  }

  private isExcessive({ url = '', rawHeaders }: IncomingMessage): boolean {
    return url.length > MAX_TARGET_LENGTH || rawHeaders.length > 2 * this.maxHeaders;
  }

  private handleDefault(request: IncomingMessage, response: ServerResponse): void {
    nameRoute(request, undefined); // removes the name of a fast route that fell through
    stampResponse(request, response);
    if (this.draining) response.setHeader('Connection', 'close');
    const refusal = this.refusalOf(request, response);
    if (refusal) return writeProblem(refusal, request, response);
    if (this.crossOrigin?.respondToPreflight(request, response)) {
      return nameRoute(request, 'preflight');
    }
    request.url = originForm(request.url ?? '');
    if (!this.listener) return respondWhileStarting(request, response);
    this.listener(request, response);
  }

  private refusalOf(request: IncomingMessage, response: ServerResponse): AppError | undefined {
    if (this.isExcessive(request)) return excess(request);
    const target = originForm(request.url ?? '');
    if (target === undefined || target.includes('#')) {
      return new AppError('VALIDATION_FAILED', 'The request target is not a path and a query.');
    }
    const isHostless = request.headers.host === undefined && request.httpVersion === '1.1';
    const repeated = isHostless ? 'Host' : repeatedHeader(request);
    if (repeated !== undefined) return headerRepeated(repeated);
    if (!isCoded(request)) return undefined;
    closeWithResponse(response);
    const detail =
      'The only transfer coding read here is chunked; a compressed body has a Content-Encoding.';
    return new AppError('VALIDATION_FAILED', detail);
  }
}

/** Runs `handle`, and responds to an error that it throws, which would end the process. */
function respondToFault(
  request: IncomingMessage,
  response: ServerResponse,
  handle: () => void,
): void {
  try {
    handle();
  } catch (error) {
    stampResponse(request, response);
    writeProblem(error, request, response);
  }
}

/** Tells whether a body has a transfer coding other than chunked, which Node's parser ignores. */
function isCoded({ headers }: IncomingMessage): boolean {
  const coding = headers['transfer-encoding'];
  return coding !== undefined && coding.toLowerCase() !== 'chunked';
}

function excess({ url = '' }: IncomingMessage): AppError {
  return url.length > MAX_TARGET_LENGTH
    ? new AppError(
        'URI_TOO_LONG',
        `The request target is longer than ${MAX_TARGET_LENGTH} characters.`,
      )
    : new AppError('HEADERS_TOO_LARGE', 'The request has too many headers.');
}

function respondWhileStarting(request: IncomingMessage, response: ServerResponse): void {
  if (request.url === '/health/live') {
    response.setHeader('Content-Type', 'application/json; charset=utf-8');
    response.setHeader('Cache-Control', 'no-store');
    response.end('{"status":"ok","info":{},"error":{},"details":{}}');
    return;
  }
  const error = new AppError('NOT_READY', 'The service is starting.', { retryAfterSeconds: 1 });
  writeProblem(error, request, response);
}

const UNREADABLE_STATUSES: Record<string, number> = {
  HPE_HEADER_OVERFLOW: 431,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
};

/** Problem details by error code of Node's parser. */
const UNREADABLE_DETAILS: Record<string, string> = {
  HPE_INVALID_URL:
    'The request target is not a path with a query, or has characters that a URL does not have: percent-encode ' +
    'them as UTF-8, such as caf%C3%A9.',
  HPE_INVALID_CONSTANT:
    'The request line is not a method, a target and HTTP/1.1: percent-encode spaces in the target as %20.',
  HPE_INVALID_VERSION: 'The protocol is HTTP/1.1, and lines end with CR and LF.',
  HPE_PAUSED_H2_UPGRADE: 'The protocol is HTTP/1.1; HTTP/2 needs a proxy in front of this service.',
  HPE_INVALID_HEADER_TOKEN: 'A header has a name or a value with characters that are not allowed.',
  HPE_INVALID_CONTENT_LENGTH:
    'Content-Length is not a number, or is sent together with Transfer-Encoding.',
  HPE_UNEXPECTED_CONTENT_LENGTH: 'Content-Length must be given once, without Transfer-Encoding.',
  HPE_INVALID_CHUNK_SIZE: 'A chunk of the body does not begin with its size in hexadecimal digits.',
  HPE_INVALID_EOF_STATE: 'The connection ended before the request did.',
};
/** The first byte of a TLS record. */
const TLS_HANDSHAKE = 0x16;

interface UnreadableError extends NodeJS.ErrnoException {
  rawPacket?: Buffer;
}

function unreadableDetail({ code = '', rawPacket }: UnreadableError): string | undefined {
  if (code !== 'HPE_INVALID_METHOD') return UNREADABLE_DETAILS[code];
  return rawPacket?.[0] === TLS_HANDSHAKE
    ? 'This port speaks HTTP without TLS: use http:// or the address of the proxy that terminates TLS.'
    : 'The request does not begin with a method of HTTP, such as GET or POST in capitals.';
}

function respondToUnreadable(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const code = codeOfStatus(UNREADABLE_STATUSES[error.code ?? ''] ?? 400);
  const { status, title } = ERROR_TABLE[code];
  const detail = unreadableDetail(error) ?? `${title}.`;
  const requestId = randomUUID();
  const body = JSON.stringify(problemOf(new AppError(code, detail), '', requestId));
  const headers = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    `Content-Type: ${PROBLEM_JSON}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Cache-Control: no-store',
    `X-Request-Id: ${requestId}`,
    'X-Response-Time: 0.0ms',
    'Server-Timing: total;dur=0.0',
    'Connection: close',
  ];
  socket.end(`${headers.join('\r\n')}\r\n\r\n${body}`);
  destroyAfter(socket);
}

/**
 * Headers that decide about identity, organization, host, idempotency, body and feed position. Of repeated headers Node
 * takes the first or joins them; a proxy may take, and have checked, another. Node's parser refuses a second
 * Content-Length, and HttpServer every Transfer-Encoding but one `chunked`. Other headers are harmless: lists are joined
 * (Accept, If-None-Match, Cache-Control), a joined X-Request-Id or traceparent is ignored, cookies are not read.
 */
const SPELLINGS = [
  'Host',
  'Authorization',
  'Idempotency-Key',
  'Content-Type',
  'Last-Event-ID',
  'X-Organization-Id',
];
const SINGLE = SPELLINGS.map((name) => name.toLowerCase());
const LENGTHS = new Set(SINGLE.map(({ length }) => length));

/** Returns the name of the first of these headers that is repeated. */
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
