import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import {
  execute,
  subscribe,
  type ExecutionArgs,
  type ExecutionResult,
  type GraphQLError,
} from 'graphql';
import {
  GRAPHQL_TRANSPORT_WS_PROTOCOL,
  handleProtocols,
  makeServer,
  type Context,
  type Server as ProtocolServer,
  type SubscribePayload,
} from 'graphql-ws';
import { once } from 'node:events';
import { ServerResponse, type IncomingMessage, type Server } from 'node:http';
import type { Socket } from 'node:net';
import { getHeapStatistics } from 'node:v8';
import { WebSocketServer, type WebSocket } from 'ws';
import { ComposedResponse } from '../../audit/read/response-composition';
import { AuthFailures } from '../../auth/auth-failures';
import { type Principal, principalKey } from '../../auth/principal';
import { takeTicket, ticketAndToken, ticketOf, TicketVerifier } from '../../auth/ticket-access';
import { TokenLife } from '../../auth/token-life';
import { TokenVerifier } from '../../auth/token-verifier';
import { flowKey } from '../../concurrency/fair-scheduler';
import { RateLimit } from '../../concurrency/rate-limit';
import { SubscriptionLimiter } from '../../concurrency/subscription-limiter';
import { concurrencyConfig, serverConfig } from '../../platform/config/settings';
import { AppError } from '../../platform/errors/app-error';
import { toAppError, writeProblem } from '../../platform/errors/problem';
import { withDeadline } from '../../platform/runtime/abort';
import { attachSpans, TimeSpans } from '../../platform/runtime/time-spans';
import { Lifecycle } from '../../platform/runtime/lifecycle';
import { keepExactMembers, parseExactJson } from '../../platform/runtime/lossless-json';
import { bodyReadQuota } from '../../http/body-memory-limiter';
import { destroyAfter } from '../../http/connection-state';
import { headerRepeated, repeatedHeader } from '../../http/http-server';
import { originForm, requestIdOf, requestTimeout, stampResponse } from '../../http/request-context';
import { durationMs, noteArrival } from '../../http/request-times';
import type { OperationObserver } from '../../http/request-observer';
import { CLOSE, GraphqlConnection } from './graphql-connection';
import { GraphqlDocuments } from './graphql-documents';
import { graphqlError, statusOf } from './graphql-errors';
import type { ResolverContext } from './root-fields';

const PATH = '/graphql';
/** Route of refused handshakes and first messages in metrics and log; accepted ones are seen by their operations. */
const CONNECT = 'graphql connect';
const MAX_PAYLOAD_BYTES = 1024 * 1024;
/** Clients send fragments of some KiB; a frame that is kept takes 100 bytes beside its own. */
const MAX_FRAGMENTS = 128;
/** Proxies commonly disconnect after a minute of silence. A peer that misses a pong is disconnected at the next ping, unless it still reads. */
const KEEP_ALIVE_MS = 15_000;
/**
 * Share of the heap for messages whose operations are under way: a subscription holds its filter, up to 1 MiB, and one
 * principal may have a hundred.
 */
const HEAP_SHARE = 1 / 6;
/** Sockets without a token yet. */
const MAX_ANONYMOUS = 1000;
const INIT_TIMEOUT_MS = 5000;
/** Queries and mutations under way on one socket. */
const MAX_RESPONDING = 100;

/** The response of what is not executed as a query or mutation: nothing can be read as a part of it. */
const NO_RESPONSE = new ComposedResponse();
NO_RESPONSE.end();

type ConnectionParams = Record<string, unknown> | undefined;
interface SocketContext extends ResolverContext {
  connection: GraphqlConnection;
  timer: OperationTimer;
}
type SocketArgs = ExecutionArgs & { contextValue: SocketContext };

/**
 * GraphQL over WebSockets (graphql-transport-ws), on the path of GraphQL over HTTP. Tokens and tickets come in the first
 * message, tickets also in the query: browsers send neither headers nor cookies of ours, so that no foreign page acts for
 * its visitor.
 */
@Injectable()
export class GraphqlSocket {
  private readonly webSockets = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_PAYLOAD_BYTES,
    maxFragments: MAX_FRAGMENTS,
    perMessageDeflate: false,
    handleProtocols,
  });
  keepAliveMs = KEEP_ALIVE_MS;
  /** As many sockets as subscriptions: one would be enough for all of a principal. */
  private readonly slots: SubscriptionLimiter;
  private readonly connections = new Set<GraphqlConnection>();
  private readonly messageMemory = bodyReadQuota(getHeapStatistics().heap_size_limit * HEAP_SHARE);

  constructor(
    private readonly documents: GraphqlDocuments,
    private readonly verifier: TokenVerifier,
    private readonly failures: AuthFailures,
    private readonly tickets: TicketVerifier,
    private readonly tokens: TokenLife,
    private readonly rateLimit: RateLimit,
    private readonly lifecycle: Lifecycle,
    @Inject(concurrencyConfig.KEY) concurrency: ConfigType<typeof concurrencyConfig>,
    @Inject(serverConfig.KEY) private readonly config: ConfigType<typeof serverConfig>,
  ) {
    this.slots = new SubscriptionLimiter(concurrency);
  }

  /**
   * Accepts upgrades, and reports each finished operation to `observe`. While the process drains, sockets close as soon
   * as they have their responses, and their clients reconnect to another replica.
   */
  listenOn(server: Server, observe: OperationObserver): void {
    const protocol = this.protocol(observe);
    server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
      socket.on('error', () => socket.destroy());
      takeTicket(request);
      const refusal = this.refusalOf(request);
      if (refusal) return refuse(refusal, request, socket, observe);
      this.webSockets.handleUpgrade(request, socket, head, (webSocket) => {
        this.open(webSocket, request, protocol);
      });
    });
    this.webSockets.on('wsClientError', (error, socket, request) => {
      refuse(handshakeError(error, request), request, socket as Socket, observe);
    });
    this.lifecycle.onDraining(() => {
      const deadlineMs = performance.now() + this.config.shutdownTimeoutMs;
      for (const connection of this.connections) connection.closeWhenIdle(deadlineMs);
    });
  }

  private refusalOf(request: IncomingMessage): AppError | undefined {
    const { url = '', headers } = request;
    const repeated = repeatedHeader(request);
    if (repeated !== undefined) return headerRepeated(repeated);
    const [path] = (originForm(url) ?? '').split('?', 1);
    if (path !== PATH) return new AppError('NOT_FOUND', 'There is no WebSocket at this path.');
    if (this.lifecycle.phase === 'draining') {
      return new AppError('NOT_READY', 'The service is stopping.', { retryAfterSeconds: 1 });
    }
    if (handleProtocols(headers['sec-websocket-protocol'] ?? '') === false) {
      const detail = `The subprotocol must be ${GRAPHQL_TRANSPORT_WS_PROTOCOL}.`;
      return new AppError('VALIDATION_FAILED', detail);
    }
    if (this.connections.size - this.slots.active < MAX_ANONYMOUS) return undefined;
    return new AppError('TOO_MANY_REQUESTS', 'Too many sockets wait for their first message.', {
      retryAfterSeconds: 5,
    });
  }

  private open(
    webSocket: WebSocket,
    request: IncomingMessage,
    protocol: ProtocolServer<GraphqlConnection>,
  ): void {
    const connection = new GraphqlConnection(
      webSocket,
      request,
      this.keepAliveMs,
      this.messageMemory,
    );
    this.connections.add(connection);
    const closed = protocol.opened(
      {
        protocol: webSocket.protocol,
        send: (text) => connection.send(text),
        close: (code = CLOSE.goingAway, reason = '') => connection.close(code, reason),
        onMessage: (take) => connection.receive(take),
      },
      connection,
    );
    webSocket.once('close', (code, reason) => {
      this.connections.delete(connection);
      closed(code, String(reason))?.catch(() => undefined); // its operations have reported how they ended
    });
  }

  private protocol(observe: OperationObserver): ProtocolServer<GraphqlConnection> {
    const shown = (errors: readonly GraphQLError[], { request }: GraphqlConnection) =>
      errors.map((error) => this.documents.shown(error, requestIdOf(request)));
    return makeServer<ConnectionParams, GraphqlConnection>({
      connectionInitWaitTimeout: INIT_TIMEOUT_MS,
      onConnect: (context) => this.authenticate(context, observe),
      onSubscribe: async ({ extra: connection }) => {
        const timer = new OperationTimer(connection.request, observe);
        const args = await this.argumentsOf(connection, timer);
        if (!('schema' in args)) timer.end(args);
        return args;
      },
      execute: (args) => this.execute(args as SocketArgs),
      subscribe: (args) => subscribeCounted(args as SocketArgs),
      onNext: ({ extra }, _id, _payload, _args, { errors, ...rest }) =>
        errors ? { ...rest, errors: shown(errors, extra) } : undefined,
      onError: ({ extra }, _id, _payload, errors) => shown(errors, extra),
    });
  }

  /** Admits a socket with a good token; any other is closed with a code. */
  private async authenticate(
    { connectionParams, extra: connection }: Context<ConnectionParams, GraphqlConnection>,
    observe: OperationObserver,
  ): Promise<boolean> {
    const startedMs = performance.now();
    try {
      const principal = await this.principalOf(connection, connectionParams ?? {});
      if (!connection.isOpen) return false;
      const release = this.slots.acquire(principalKey(principal), 'websocket');
      connection.admit(principal, this.tokens, release);
      return true;
    } catch (thrown) {
      this.failures.note(connection.request, thrown);
      const { code, detail, status } = toAppError(thrown);
      const { request } = connection;
      observe({ request, route: CONNECT, status, ms: performance.now() - startedMs });
      const closeCode =
        code === 'UNAUTHENTICATED'
          ? CLOSE.unauthorized
          : code === 'VALIDATION_FAILED'
            ? CLOSE.badRequest
            : CLOSE.tryAgainLater;
      connection.close(closeCode, detail.slice(0, 100));
      return false;
    }
  }

  /** The principal of the token or ticket of the first message, or of the ticket of the handshake. */
  private async principalOf(
    connection: GraphqlConnection,
    parameters: Record<string, unknown>,
  ): Promise<Principal> {
    const authorization = authorizationIn(connection, parameters);
    const ticket = ticketFor(connection, parameters);
    if (ticket === undefined) return this.verifier.verify(authorization);
    const header = connection.request.headers.authorization;
    if (authorization !== undefined || header !== undefined) throw ticketAndToken();
    return this.tickets.verify(ticket);
  }

  /** `connection.text` is that of the message until the first `await`. */
  private async argumentsOf(
    connection: GraphqlConnection,
    timer: OperationTimer,
  ): Promise<ExecutionArgs | readonly GraphQLError[]> {
    const { principal, signal, text } = connection;
    if (!principal) throw new Error('The connection was not admitted.');
    try {
      if (connection.isOutOfMemory) throw overloaded('Too many large messages are under way.');
      const { query, operationName, variables } = payloadOf(text);
      if (connection.responding > MAX_RESPONDING) {
        throw overloaded('Too many operations are under way here.');
      }
      await this.rateLimit.admit(principal);
      const checked = this.documents.check(query, variables);
      if ('refusal' in checked) return [checked.refusal];
      const { document } = checked;
      timer.route = this.documents.routeOf(document, operationName);
      const errors = this.documents.validate(document);
      if (errors.length > 0) return errors;
      const { schema, get } = this.documents;
      const contextValue: SocketContext = {
        principal,
        signal,
        flow: flowKey(principal),
        response: NO_RESPONSE,
        get,
        connection,
        timer,
      };
      return { schema, document, operationName, variableValues: variables, contextValue };
    } catch (thrown) {
      return [graphqlError(thrown)];
    }
  }

  private async execute(args: SocketArgs): Promise<ExecutionResult> {
    const { signal, timer, connection } = args.contextValue;
    const { requestTimeoutMs: timeoutMs } = this.config;
    const response = new ComposedResponse();
    try {
      const result = await withDeadline({ timeoutMs, late: requestTimeout, signal }, (own) => {
        attachSpans(own, timer.spans);
        const contextValue = { ...args.contextValue, signal: own, response };
        return connection.withPermit(async () => execute({ ...args, contextValue }), own);
      }).catch((thrown: unknown): ExecutionResult => ({ errors: [graphqlError(thrown)] }));
      timer.end(result.errors);
      return result;
    } finally {
      // By then the message is buffered for the client, which bounds the next ones.
      setImmediate(() => response.end());
    }
  }
}

/** Creates the error of an invalid handshake (RFC 6455, section 4.2). */
function handshakeError({ message }: Error, { method }: IncomingMessage): AppError {
  if (method !== 'GET') {
    const headers = { Allow: 'GET' };
    return new AppError('METHOD_NOT_ALLOWED', 'A WebSocket is opened by GET.', { headers });
  }
  const headers = { 'Sec-WebSocket-Version': '13' };
  return new AppError('VALIDATION_FAILED', `${message}.`, { headers });
}

function refuse(
  error: AppError,
  request: IncomingMessage,
  socket: Socket,
  observe: OperationObserver,
): void {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket);
  response.once('finish', () => socket.end());
  destroyAfter(socket);
  noteArrival(response, Infinity);
  stampResponse(request, response);
  writeProblem(error, request, response);
  observe({ request, route: CONNECT, status: error.status, ms: durationMs(response) });
}

/**
 * The Authorization in the first message, in either spelling. The header of the handshake gives no access, but one that
 * differs comes from a party that takes this socket for another principal's.
 * @throws AppError VALIDATION_FAILED when these differ, or the message has a member twice.
 */
function authorizationIn(
  { text, request }: GraphqlConnection,
  { authorization, Authorization }: Record<string, unknown>,
): string | undefined {
  payloadOf(text);
  const given = [authorization, Authorization].filter((one) => typeof one === 'string');
  const [only] = given;
  const header = only === undefined ? undefined : request.headers.authorization;
  if ([...given, header ?? only].some((one) => one !== only)) {
    throw new AppError('VALIDATION_FAILED', 'Authorization is given twice, with different values');
  }
  return only;
}

/** @throws AppError VALIDATION_FAILED when the handshake and the first message have different tickets. */
function ticketFor(
  { request }: GraphqlConnection,
  { ticket }: Record<string, unknown>,
): string | undefined {
  const given = ticketOf(request);
  if (ticket === undefined || ticket === null) return given;
  if (typeof ticket === 'string' && (given ?? ticket) === ticket) return ticket;
  throw new AppError('VALIDATION_FAILED', 'The ticket must be one text, given once');
}

/** The payload with exact numbers. @throws AppError VALIDATION_FAILED, also when a member is there twice. */
function payloadOf(text: string): SubscribePayload {
  try {
    const message = parseExactJson(text) as { payload: SubscribePayload };
    keepExactMembers(message, 'payload', 'variables');
    return message.payload;
  } catch (error) {
    if (error instanceof AppError) throw error;
    const detail = error instanceof Error ? error.message : 'is not valid';
    throw new AppError('VALIDATION_FAILED', `The message ${detail}.`);
  }
}

/** Refuses one operation: its socket and what goes on there stay. */
function overloaded(detail: string): AppError {
  return new AppError('TOO_MANY_REQUESTS', detail, { retryAfterSeconds: 1 });
}

class OperationTimer {
  route = 'graphql';
  readonly spans = new TimeSpans();
  private readonly startedMs = performance.now();
  private isOver = false;
  private begunMs: number | undefined;

  constructor(
    private readonly request: IncomingMessage,
    private readonly observe: OperationObserver,
  ) {}

  /** Of a subscription, which goes on for as long as its client likes, only the time until here counts. */
  begin(): void {
    this.begunMs = performance.now();
  }

  end(errors: readonly Error[] | undefined, closedBy?: 'client' | 'server'): void {
    if (this.isOver) return;
    this.isOver = true;
    const [first] = errors ?? [];
    const status = first ? statusOf(first) : 200;
    const ms = (this.begunMs ?? performance.now()) - this.startedMs;
    this.observe({
      request: this.request,
      route: this.route,
      status,
      ms,
      spans: this.spans,
      closedBy,
    });
  }
}

async function subscribeCounted(
  args: SocketArgs,
): Promise<ExecutionResult | AsyncIterableIterator<ExecutionResult>> {
  const { connection, timer } = args.contextValue;
  const result = await subscribe(args);
  if (!(Symbol.asyncIterator in result)) {
    timer.end(result.errors);
    return result;
  }
  timer.begin();
  let isCounted = true;
  const finish = (closedBy: 'client' | 'server', errors?: readonly Error[]): void => {
    if (isCounted) connection.subscriptions -= 1;
    isCounted = false;
    timer.end(errors, closedBy);
  };
  connection.subscriptions += 1;
  const counted: AsyncIterableIterator<ExecutionResult> = {
    next: () =>
      result.next().then(
        async (next) => {
          // After `complete` a client would not go on at another replica: the close of the socket ends it.
          if (next.done && connection.isClosing && !connection.signal.aborted) {
            await once(connection.signal, 'abort');
          }
          if (next.done) finish('server');
          return next;
        },
        (error: Error) => {
          finish('server', [toAppError(error)]);
          throw error;
        },
      ),
    return: () => {
      finish('client');
      return result.return(undefined);
    },
    [Symbol.asyncIterator]: () => counted,
  };
  return counted;
}
