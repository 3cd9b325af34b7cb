import { Inject, Injectable } from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { GRAPHQL_TRANSPORT_WS_PROTOCOL, handleProtocols } from 'graphql-ws';
import { ServerResponse, type IncomingMessage, type Server } from 'node:http';
import type { Socket } from 'node:net';
import { getHeapStatistics } from 'node:v8';
import { WebSocketServer, type WebSocket } from 'ws';
import { SubscriptionLimiter } from '../../concurrency/subscription-limiter';
import { concurrencyConfig } from '../../platform/config/concurrency.config';
import { serverConfig } from '../../platform/config/server.config';
import { AppError } from '../../platform/errors/app-error';
import { writeProblem } from '../../platform/errors/problem-response';
import { destroyAfter } from '../../http/connection-state';
import { Lifecycle } from '../../platform/runtime/lifecycle';
import { bodyReadQuota } from '../../http/body-memory-limiter';
import type { OperationObserver } from '../../http/request-observer';
import { headerRepeated, repeatedHeader } from '../../http/repeated-headers';
import { noteArrival, originForm, stampResponse } from '../../http/request-context';
import { CLOSE, GraphqlConnection } from './graphql-connection';
import { SocketOperations } from './socket-operations';

const PATH = '/graphql';
/** Of one message. */
const MAX_PAYLOAD_BYTES = 1024 * 1024;
/** Clients that cut messages do so at some KiB; each frame that is kept takes 100 bytes beside its own. */
const MAX_FRAGMENTS = 128;
/** Proxies commonly cut what is silent for a minute. A peer that answers no ping is cut with the next, unless it is still reading. */
const KEEP_ALIVE_MS = 15_000;
/**
 * Of the heap, what messages and what is made of them may take while their operations are under way: a subscription holds
 * its filter, up to 1 MiB, for as long as it goes on, and there may be a hundred of one principal.
 */
const HEAP_SHARE = 1 / 6;
/** Sockets whose client has not said yet who it is; each has seconds to do so. */
const MAX_ANONYMOUS = 1000;

/**
 * The GraphQL door over WebSockets (graphql-transport-ws), on the path of the door over HTTP. Tokens come in the first
 * message: browsers send neither headers nor cookies of ours, so that no foreign page speaks for its visitor.
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
  /** How often peers are asked whether they are there. */
  keepAliveMs = KEEP_ALIVE_MS;
  /** As many sockets as subscriptions: one would be enough for all of a principal's. */
  private readonly slots: SubscriptionLimiter;
  private readonly connections = new Set<GraphqlConnection>();
  private readonly capacity = bodyReadQuota(getHeapStatistics().heap_size_limit * HEAP_SHARE);

  constructor(
    private readonly operations: SocketOperations,
    private readonly lifecycle: Lifecycle,
    @Inject(concurrencyConfig.KEY) config: ConfigType<typeof concurrencyConfig>,
    @Inject(serverConfig.KEY) private readonly server: ConfigType<typeof serverConfig>,
  ) {
    this.slots = new SubscriptionLimiter(config);
  }

  /** Takes upgrades from now on, and tells `observe` of each operation that is over. When the process is told to stop, sockets close as soon as they have their answers, and their clients go elsewhere. */
  listenOn(server: Server, observe: OperationObserver): void {
    const protocol = this.operations.protocol(observe);
    server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
      socket.on('error', () => socket.destroy());
      const refusal = this.refusalOf(request);
      if (refusal) return refuse(refusal, request, socket);
      this.webSockets.handleUpgrade(request, socket, head, (webSocket) => {
        this.open(webSocket, request, protocol);
      });
    });
    this.webSockets.on('wsClientError', (error, socket, request) => {
      refuse(handshakeError(error, request), request, socket as Socket);
    });
    this.lifecycle.onDraining(() => {
      const deadlineMs = performance.now() + this.server.shutdownTimeoutMs;
      for (const connection of this.connections) connection.leave(deadlineMs);
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
    protocol: ReturnType<SocketOperations['protocol']>,
  ): void {
    const connection = new GraphqlConnection(webSocket, request, this.keepAliveMs, this.capacity);
    this.connections.add(connection);
    let leavePlace: (() => void) | undefined;
    const closed = protocol.opened(
      {
        protocol: webSocket.protocol,
        send: (text) => connection.send(text),
        close: (code = CLOSE.goingAway, reason = '') => connection.close(code, reason),
        onMessage: (take) => connection.receive(take),
      },
      {
        connection,
        takeSlot: ({ subject }) => (leavePlace = this.slots.acquire(subject, 'websocket')),
      },
    );
    webSocket.once('close', (code, reason) => {
      this.connections.delete(connection);
      leavePlace?.();
      closed(code, String(reason))?.catch(() => undefined); // how its operations ended is nobody's concern now
    });
  }
}

/** What is wrong with a handshake (RFC 6455, section 4.2), as a failure of this service. */
function handshakeError({ message }: Error, { method }: IncomingMessage): AppError {
  if (method !== 'GET') {
    const headers = { Allow: 'GET' };
    return new AppError('METHOD_NOT_ALLOWED', 'A WebSocket is opened by GET.', { headers });
  }
  const headers = { 'Sec-WebSocket-Version': '13' };
  return new AppError('VALIDATION_FAILED', `${message}.`, { headers });
}

/** Answers an upgrade with a problem document, and closes. */
function refuse(error: AppError, request: IncomingMessage, socket: Socket): void {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket);
  response.once('finish', () => socket.end());
  destroyAfter(socket);
  noteArrival(response);
  stampResponse(request, response);
  writeProblem(error, request, response);
}
