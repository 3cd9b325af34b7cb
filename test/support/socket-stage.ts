import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import WebSocket from 'ws';
import { SubscriptionLimiter } from '../../src/concurrency/subscription-limiter';
import { until } from '../integration/until.fixture';
import { GraphqlSubscriber } from './graphql-subscriber';
import { TestService, tokenOf } from './test-service';

export const RECORDED = `subscription ($filter: AuditEventFilter, $after: String) {
  auditEventRecorded(filter: $filter, afterSequence: $after) {
    sequence organizationId action metadata
  }
}`;
export const SUBPROTOCOL = 'graphql-transport-ws';

export const newOrganization = () => `org-${randomUUID()}`;

/** A principal of its own, so that specs do not share a limit. */
export const reader = (organizations: string[], claims: object = {}) =>
  tokenOf({ sub: randomUUID(), organizations, ...claims });

export const initText = (token: string, key = 'authorization') =>
  JSON.stringify({ type: 'connection_init', payload: { [key]: `Bearer ${token}` } });

export const closeOf = async (socket: WebSocket) =>
  ((await once(socket, 'close')) as [number, Buffer])[0];

/** A service, and all that was opened to it. */
export class SocketStage {
  private readonly subscribers: GraphqlSubscriber[] = [];
  private readonly sockets: WebSocket[] = [];

  private constructor(readonly service: TestService) {}

  static async start(): Promise<SocketStage> {
    const environment = { REDIS_URL: '', SUBSCRIPTIONS_MAX_PER_PRINCIPAL: '3' };
    return new SocketStage(await TestService.start(environment));
  }

  /** Subscriptions that go on. */
  get active(): number {
    return this.service.provider(SubscriptionLimiter).active;
  }

  /** The stock client. */
  subscribe(token: string, query: string, variables: Record<string, unknown> = {}) {
    return this.open({ authorization: `Bearer ${token}` }, query, variables);
  }

  open(params: Record<string, unknown>, query: string, variables: Record<string, unknown> = {}) {
    const subscriber = GraphqlSubscriber.open(this.service.url, params, query, variables);
    this.subscribers.push(subscriber);
    return subscriber;
  }

  /** A bare socket, for what no proper client does. */
  connect(path = '/graphql', protocol: string[] = [SUBPROTOCOL]): WebSocket {
    const socket = new WebSocket(`${this.service.url.replace(/^http/, 'ws')}${path}`, protocol);
    socket.on('error', () => undefined);
    this.sockets.push(socket);
    return socket;
  }

  /** A bare socket of this principal. */
  async connected(token: string): Promise<WebSocket> {
    const socket = this.connect();
    await once(socket, 'open');
    socket.send(initText(token));
    await once(socket, 'message');
    return socket;
  }

  /** Leaves everything; whoever leaves gives its place back, on every way. */
  async clear(): Promise<void> {
    for (const subscriber of this.subscribers.splice(0)) await subscriber.close();
    for (const socket of this.sockets.splice(0)) socket.terminate();
    await until(() => this.active === 0);
  }
}
