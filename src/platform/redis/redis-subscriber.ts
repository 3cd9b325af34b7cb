import type { Logger } from '@nestjs/common';
import { ErrorReply } from '@redis/client';
import { withTimeout } from '../runtime/abort';
import { closeRedisClient, type RedisClient, type RefusalLog } from './redis-client';

const SUBSCRIBE_WAIT_MS = 1000;

type Listener = (message: string) => void;

interface Channel {
  listeners: Listener[];
  /** Stable identity: the client compares functions to know its subscriptions. */
  dispatch: Listener;
}

/**
 * Subscriptions on a separate connection, as RESP 2 requires; recorded here because the client restores only confirmed
 * ones.
 */
export class RedisSubscriber {
  private readonly channels = new Map<string, Channel>();
  private readonly confirmed = new Set<string>();
  private readonly liveListeners: (() => void)[] = [];
  private isConfirming = false;
  private isAlive = false;
  private isClosed = false;

  /** `client` is not connected yet and not shared. */
  constructor(
    private readonly client: RedisClient,
    private readonly logger: Logger,
    private readonly refusals: RefusalLog,
  ) {
    client
      .on('ready', () => this.beat())
      .on('ping-interval', () => this.beat())
      .on('error', () => {
        this.isAlive = false;
      });
  }

  /** True when all subscriptions are confirmed and the last PING was answered. */
  get isLive(): boolean {
    return this.isAlive && this.confirmed.size === this.channels.size;
  }

  onLive(listener: () => void): void {
    this.liveListeners.push(listener);
  }

  /** Resolves at once, or with `wait` when live or a second later. Never rejects. */
  async subscribe(channel: string, listener: Listener, wait: boolean): Promise<void> {
    if (this.isClosed) return;
    this.register(channel).push(listener);
    if (!this.client.isOpen) this.client.connect().catch(() => undefined); // `error` is emitted as well
    if (this.isLive || !wait) return;
    const live = new Promise<void>((resolve) => this.onLive(resolve));
    if (this.client.isReady) this.beat();
    await withTimeout(live, SUBSCRIBE_WAIT_MS);
  }

  close(): void {
    this.isClosed = true;
    this.isAlive = false;
    closeRedisClient(this.client);
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

  private beat(): void {
    this.confirm().catch((error: unknown) =>
      this.logger.error('The heartbeat of Redis failed', error),
    );
  }

  /** Retries a refused subscription at the next beat. */
  private async confirm(): Promise<void> {
    if (this.isConfirming) return;
    const wasLive = this.isLive;
    this.isConfirming = true;
    try {
      for (const [name, { dispatch }] of this.channels) {
        if (this.confirmed.has(name)) continue;
        await this.client.subscribe(name, dispatch);
        this.confirmed.add(name);
      }
      this.isAlive = !this.isClosed;
    } catch (error) {
      this.isAlive = false;
      if (error instanceof ErrorReply) this.refusals.report(error);
    } finally {
      this.isConfirming = false;
    }
    if (this.isLive && !wasLive) for (const listener of this.liveListeners) this.guard(listener);
  }

  /** Contains errors that the client would take for protocol errors. */
  private guard(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.logger.error('A listener to Redis failed', error);
    }
  }
}
