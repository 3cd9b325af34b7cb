import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { AppError } from '../platform/errors/app-error';
import { writeProblem } from '../platform/errors/problem-response';
import {
  closeWithConnection,
  lingeringClose,
  closeWithResponse,
  isOver,
  stateOf,
} from './connection-state';
import { ServerRequest } from './server-request';
import type { FastRoutes } from './fast-routes';
import { headerRepeated, repeatedHeader } from './repeated-headers';
import { nameRoute, noteArrival, originForm, stampResponse } from './request-context';
import { respondToUnreadable } from './unreadable-request';
import { SlowClientGuard } from './slow-client.guard';

/** Answers one request, as an express application does. */
export type RequestListener = (request: IncomingMessage, response: ServerResponse) => void;

/** Is told of each request when its answer is over, however that came about. */
export type RequestObserver = (request: IncomingMessage, response: ServerResponse) => void;

/** How slow and how large a request may be. */
export interface HttpServerLimits {
  /** A client must finish its headers, and its whole request, within these; slower ones hold a socket for nothing. */
  headersTimeoutMs: number;
  requestTimeoutMs: number;
  /** How often clients are looked at for that: they are cut so much later at most. */
  checkIntervalMs: number;
  /** Of request line and headers together. */
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
/** Characters of a request target. Filters of a hundred ids fit, and a token of 4 KiB beside them. */
const MAX_TARGET_LENGTH = 12 * 1024;
/** Longer than the idle timeout of common load balancers (60 s), so that they close first and no request is lost. */
const KEEP_ALIVE_TIMEOUT_MS = 65_000;
/** A connection on which nothing moves for so long is cut. Of those who send but do not read: SlowClientGuard. */
const SILENCE_TIMEOUT_MS = 60_000;
const DRAIN_POLL_MS = 50;
/** Turns of the event loop in which what was cut is told of; few are enough. */
const DRAIN_TURNS = 100;

/**
 * The listener in front of express. It takes connections before the application has booted, so that probes get an
 * honest answer during a long start, and keeps taking them apart in an orderly way when the process is told to stop.
 */
export class HttpServer {
  readonly server: Server;
  readonly unread: SlowClientGuard;
  private listener: RequestListener | undefined;
  private fastRoutes: Pick<FastRoutes, 'find'> | undefined;
  private observe: RequestObserver | undefined;
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
    this.server.maxHeadersCount = others.maxHeaders + 1; // Node drops those beyond it: one more shows that there are
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
    // On the server itself, as its close() calls it, too.
    this.server.closeIdleConnections = () => this.closeIdleSparingReaders(closeIdleConnections);
    this.server.on('clientError', (error, socket) => this.refuse(error, socket as Socket));
    this.unread = new SlowClientGuard(this.server);
  }

  /** Starts to listen; rejects when the port is taken. */
  async listen(port: number, host: string): Promise<AddressInfo> {
    await new Promise<void>((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen({ port, host, backlog: 4096 }, () => {
        this.server.off('error', reject);
        resolve();
      });
    });
    return this.server.address() as AddressInfo;
  }

  /** From now on `hotRoutes` answer what they know, `listener` all the rest, and `observe` is told of both. */
  attach(
    listener: RequestListener,
    hotRoutes: Pick<FastRoutes, 'find'>,
    observe?: RequestObserver,
  ): void {
    this.listener = listener;
    this.fastRoutes = hotRoutes;
    this.observe = observe;
  }

  /** How many requests are being answered. */
  get runningRequests(): number {
    return this.running.size;
  }

  /**
   * Lets running requests finish for at most `timeoutMs`, takes no new connection, and tells kept-alive clients to
   * go elsewhere. What still runs at the end is cut.
   * @returns how many requests were cut.
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
    const cut = this.running.size;
    this.server.closeAllConnections();
    await closed;
    // The observer hears of those, too, before the process is gone.
    for (let turn = 0; turn < DRAIN_TURNS && this.running.size > 0; turn += 1) await setImmediate();
    return cut;
  }

  /** To Node an answer is over once it is written, and it would cut those who still read theirs. */
  private closeIdleSparingReaders(closeIdleConnections: () => void): void {
    const unread = [...this.running].filter(
      ({ writableEnded, writableFinished }) => writableEnded && !writableFinished,
    );
    for (const response of unread) response.finished = false;
    closeIdleConnections();
    for (const response of unread) response.finished = true;
  }

  /** Tells a client that its connection ends with this answer, unless others are to follow on it. */
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

  /** Bytes that are not HTTP behind a whole request must not spoil its answer: that one is finished first. */
  private refuse(error: NodeJS.ErrnoException, socket: Socket): void {
    const state = stateOf(socket);
    if (state.longBody?.complete === false && error.code === 'ERR_HTTP_REQUEST_TIMEOUT') return;
    if (state.active > 0 && state.last?.complete && error.code !== 'ECONNRESET') {
      state.isUnreadable = true;
      return;
    }
    respondToUnreadable(error, socket);
  }

  /** One function for all answers: a closure for each is garbage that adds up at tens of thousands a second. */
  private readonly onClose = (function closed(front: HttpServer) {
    return function (this: ServerResponse): void {
      if (!front.running.delete(this)) return;
      const state = stateOf(this.req.socket);
      if (state.longBody === this.req) state.longBody = undefined;
      front.count(this.req.socket, -1);
      front.observe?.(this.req, this);
    };
  })(this);

  /** Notes that a request is to be answered, until it is; false for one that cannot be, whose connection is cut. */
  private track(request: IncomingMessage, response: ServerResponse): boolean {
    if (isOver(request.socket)) {
      request.socket.destroy(); // Node would keep all that still come
      return false;
    }
    const state = stateOf(request.socket);
    state.last = request;
    this.running.add(response);
    this.count(request.socket, 1);
    response.on('close', this.onClose);
    if (response.socket === null) closeWithConnection(response);
    noteArrival(response);
    return true;
  }

  private handle(request: IncomingMessage, response: ServerResponse): void {
    if (!this.track(request, response)) return;
    // A fragment never belongs into a request (RFC 9112, section 3.2); parsers differ in what they make of one.
    const { url = '' } = request;
    const isUnusual =
      url.includes('#') ||
      this.isExcessive(request) ||
      repeatedHeader(request) !== undefined ||
      isCoded(request);
    const hot = isUnusual ? undefined : this.fastRoutes?.find(request);
    if (hot && !this.draining && request.headers.host !== undefined) {
      try {
        return hot(request, response, () => this.handleDefault(request, response));
      } catch (error) {
        stampResponse(request, response); // a fault of ours must not end the process
        return writeProblem(error, request, response);
      }
    }
    this.handleDefault(request, response);
  }

  private isExcessive({ url = '', rawHeaders }: IncomingMessage): boolean {
    return url.length > MAX_TARGET_LENGTH || rawHeaders.length > 2 * this.maxHeaders;
  }

  private handleDefault(request: IncomingMessage, response: ServerResponse): void {
    nameRoute(request, undefined); // a hot route that has handed it on is not the one that answers
    stampResponse(request, response);
    if (this.draining) response.setHeader('Connection', 'close');
    if (this.isExcessive(request)) return writeProblem(excess(request), request, response);
    const { listener } = this;
    const target = originForm(request.url ?? '');
    if (target === undefined || target.includes('#')) {
      const error = new AppError(
        'VALIDATION_FAILED',
        'The request target is not a path and a query.',
      );
      return writeProblem(error, request, response);
    }
    request.url = target;
    const isHostless = request.headers.host === undefined && request.httpVersion === '1.1';
    const repeated = isHostless ? 'Host' : repeatedHeader(request);
    if (repeated !== undefined) return writeProblem(headerRepeated(repeated), request, response);
    if (isCoded(request)) {
      closeWithResponse(response);
      const detail =
        'The only transfer coding read here is chunked; a compressed body has a Content-Encoding.';
      return writeProblem(new AppError('VALIDATION_FAILED', detail), request, response);
    }
    if (!listener) return respondWhileStarting(request, response);
    listener(request, response);
  }
}

/** Whether a body has a transfer coding but chunked; Node's parser would take it for one that has no other. */
function isCoded({ headers }: IncomingMessage): boolean {
  const coding = headers['transfer-encoding'];
  return coding !== undefined && coding.toLowerCase() !== 'chunked';
}

/** Why a request is refused that has more than it may. */
function excess({ url = '' }: IncomingMessage): AppError {
  return url.length > MAX_TARGET_LENGTH
    ? new AppError(
        'URI_TOO_LONG',
        `The request target is longer than ${MAX_TARGET_LENGTH} characters.`,
      )
    : new AppError('HEADERS_TOO_LARGE', 'The request has too many headers.');
}

/** Before the application is there: alive, but not started. */
function respondWhileStarting(request: IncomingMessage, response: ServerResponse): void {
  if (request.url === '/health/live') {
    response.setHeader('Content-Type', 'application/json; charset=utf-8');
    response.end('{"status":"ok","info":{},"error":{},"details":{}}');
    return;
  }
  writeProblem(
    new AppError('NOT_READY', 'The service is starting.', { retryAfterSeconds: 1 }),
    request,
    response,
  );
}
