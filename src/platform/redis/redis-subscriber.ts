import type { Logger } from '@nestjs/common';
import { ErrorReply, type RedisClientType } from '@redis/client';
import type { RefusalLog } from './refusal-log';
import { SupervisedClient } from './supervised-client';
import { TIMED_OUT, withTimeout } from '../runtime/deadline';

/** A connection that only listens shows in no other way that it has gone silent. */
const HEARTBEAT_MS = 1000;
const ANSWER_TIMEOUT_MS = 500;

type Listener = (message: string) => void;

interface Channel {
  listeners: Listener[];
  /** Always the same function, by which the client knows what is subscribed already. */
  dispatch: Listener;
}

/**
 * Subscriptions, which need a connection of their own. They are kept here, because the client forgets those that were
 * not confirmed before the connection broke; the others it makes again by itself.
 */
export class RedisSubscriber {
  private readonly channels = new Map<string, Channel>();
  private readonly confirmed = new Set<string>();
  private readonly liveListeners: (() => void)[] = [];
  private supervised: SupervisedClient | undefined;
  private heartbeat: NodeJS.Timeout | undefined;
  private isBeating = false;
  private isAlive = false;
  private isClosed = false;

  constructor(
    private readonly original: RedisClientType,
    private readonly logger: Logger,
    private readonly refusals: RefusalLog,
  ) {}

  /** All subscriptions are confirmed and the last heartbeat was answered. */
  get isLive(): boolean {
    return this.isAlive && this.confirmed.size === this.channels.size;
  }

  onLive(listener: () => void): void {
    this.liveListeners.push(listener);
  }

  /** With `wait`, resolves once it is live or a second later. Never rejects. */
  async subscribe(channel: string, listener: Listener, wait: boolean): Promise<void> {
    if (this.isClosed) return;
    this.register(channel).push(listener);
    this.open();
    if (this.isLive || !wait) return;
    const live = new Promise<void>((resolve) => this.onLive(resolve));
    this.beat();
    await withTimeout(live, HEARTBEAT_MS);
  }

  close(): void {
    this.isClosed = true;
    this.isAlive = false;
    clearInterval(this.heartbeat);
    this.supervised?.close();
  }

  private register(name: string): Listener[] {
    const known = this.channels.get(name);
    if (known) return known.listeners;
    const listeners: Listener[] = [];
    const dispatch = (message: string): void => {
      for (const listener of listeners) this.guard(() => listener(message));
    };
    this.channels.set(name, { listeners, dispatch });
    return listeners;
  }

  private open(): void {
    if (this.supervised) return;
    this.supervised = new SupervisedClient({ original: this.original });
    this.supervised.client
      .on('ready', () => this.beat())
      .on('error', () => {
        this.isAlive = false;
      });
    this.heartbeat = setInterval(() => this.beat(), HEARTBEAT_MS).unref();
    this.supervised.connect();
  }

  private beat(): void {
    const { supervised } = this;
    if (!supervised?.client.isReady || this.isBeating) return;
    const wasLive = this.isLive;
    this.isBeating = true;
    this.confirmAll(supervised)
      .catch((error: unknown) => {
        if (error instanceof ErrorReply) this.refusals.report(error);
        return false;
      })
      .then((isAlive) => {
        this.isBeating = false;
        this.isAlive = isAlive && !this.isClosed;
        if (!this.isLive) return;
        if (!wasLive) for (const listener of this.liveListeners) this.guard(listener);
      })
      .catch((error: unknown) => this.logger.error('The heartbeat of Redis failed', error));
  }

  /** False when Redis does not answer everything; then the connection is being replaced. */
  private async confirmAll(supervised: SupervisedClient): Promise<boolean> {
    if ((await supervised.ping(ANSWER_TIMEOUT_MS)) !== 'answered') return false;
    for (const [name, { dispatch }] of this.channels) {
      if (this.confirmed.has(name)) continue;
      const subscribed = supervised.client.subscribe(name, dispatch);
      if ((await withTimeout(subscribed, ANSWER_TIMEOUT_MS)) === TIMED_OUT) {
        supervised.breakSocket();
        return false;
      }
      this.confirmed.add(name);
    }
    return true;
  }

  /** Errors of listeners would end the process. */
  private guard(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.logger.error('A listener to Redis failed', error);
    }
  }
}
