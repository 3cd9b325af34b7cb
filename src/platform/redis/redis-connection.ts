import {
  Inject,
  Injectable,
  Logger,
  type OnApplicationShutdown,
  type OnModuleInit,
} from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { redisConfig } from '../config/redis.config';
import { TIMED_OUT, withTimeout } from '../runtime/deadline';
import { closeRedisClient, createRedisClient, type RedisClient } from './redis-client';
import { RedisSubscriber } from './redis-subscriber';
import { refusalReason, RefusalLog } from './refusal-log';

/** How long a caller waits at most, unless it says otherwise: PostgreSQL answers most questions sooner. */
const ATTEMPT_TIMEOUT_MS = 250;
/** A PING that takes longer does not close the breaker: attempts would open it again. */
const PROBE_TIMEOUT_MS = 500;
const PROBE_INTERVAL_MS = 250;
const BOOT_WAIT_MS = 1000;
/** A breaker that opens again this soon is left open for longer: a PING that is answered says little about the rest. */
const RELAPSE_MS = 10_000;
const FIRST_REST_MS = 250;
const MAX_REST_MS = 5000;

interface RedisStatistics {
  configured: boolean;
  available: boolean;
  timeouts: number;
  /** Attempts that failed: Redis refused, or the connection was lost. */
  failures: number;
  breakerOpened: number;
}

/**
 * The one way to Redis, which may be away: nothing here throws because of it or waits long for it. The first attempt
 * that times out opens a breaker; from then on attempts resolve with `undefined` at once, until Redis has answered a
 * PING. Silent connections are replaced by the client.
 */
@Injectable()
export class RedisConnection implements OnModuleInit, OnApplicationShutdown {
  /** For adapters. Its commands are not bounded in time: run them inside `attempt`. Undefined without REDIS_URL. */
  readonly client: RedisClient | undefined;
  private readonly logger = new Logger('Redis');
  private readonly refusals = new RefusalLog(this.logger);
  private readonly subscriber: RedisSubscriber | undefined;
  private readonly listeners: (() => void)[] = [];
  private readonly counts = { timeouts: 0, failures: 0, breakerOpened: 0 };
  /** Whether it answered the last PING and has let no attempt down since. */
  private isAnswering = false;
  private isReportedAway = false;
  private isProbing = false;
  private isClosed = false;
  private nextProbe: NodeJS.Timeout | undefined;
  /** When the breaker was closed last, on the clock of performance.now(). */
  private closedAtMs = -Infinity;
  private restMs = 0;

  constructor(@Inject(redisConfig.KEY) { url }: ConfigType<typeof redisConfig>) {
    if (url === undefined) return;
    const client = createRedisClient(url);
    client
      .on('ready', () => this.probe())
      .on('error', (error: unknown) => {
        if (!client.isReady) this.markAway(refusalReason(error)); // else a PING of its own was refused
      });
    this.client = client;
    this.subscriber = new RedisSubscriber(client.duplicate(), this.logger, this.refusals);
  }

  /** Starts to connect; waits until Redis has answered or cannot be reached, at most a second. Never fails. */
  async onModuleInit(): Promise<void> {
    const { client } = this;
    if (!client) return;
    const outcome = new Promise<void>((resolve) => {
      this.onAvailable(resolve);
      client.on('error', () => {
        if (!client.isReady) resolve();
      });
    });
    client.connect().catch(() => undefined); // `error` is emitted as well
    if ((await withTimeout(outcome, BOOT_WAIT_MS)) === TIMED_OUT)
      this.markAway('it does not answer');
  }

  onApplicationShutdown(): void {
    this.isClosed = true;
    this.isAnswering = false;
    clearTimeout(this.nextProbe);
    this.subscriber?.close();
    if (this.client) closeRedisClient(this.client);
  }

  /** False without REDIS_URL: then there is no client, and every attempt resolves with `undefined`. */
  get isConfigured(): boolean {
    return this.client !== undefined;
  }

  get isAvailable(): boolean {
    return this.isAnswering && this.client?.isReady === true;
  }

  /**
   * What `work` resolves with, or `undefined` when Redis is not configured, away, silent for `timeoutMs` or refuses the
   * command. Never rejects. Work that was given up may still be carried out by Redis.
   */
  async attempt<T>(
    work: (client: RedisClient) => Promise<T>,
    timeoutMs = ATTEMPT_TIMEOUT_MS,
  ): Promise<T | undefined> {
    const { client } = this;
    if (!client || !this.isAvailable) return undefined;
    try {
      const reply = await withTimeout(work(client), timeoutMs);
      if (reply !== TIMED_OUT) return reply;
      this.counts.timeouts += 1;
      this.openBreaker();
    } catch (error) {
      this.counts.failures += 1;
      if (client.isReady) this.refusals.report(error); // a lost connection has been reported already
    }
    return undefined;
  }

  /**
   * Calls `listener` with each message to `channel`, on a connection of its own. Resolves once Redis has confirmed it,
   * or without waiting while Redis is away: the subscription is then made, and after a loss made again, by itself.
   * Messages sent meanwhile are lost: see `isSubscribed` and `onSubscribed`.
   */
  async subscribe(channel: string, listener: (message: string) => void): Promise<void> {
    await this.subscriber?.subscribe(channel, listener, this.isAvailable);
  }

  /** Whether messages to all subscribed channels arrive: confirmed at most two seconds ago. */
  get isSubscribed(): boolean {
    return this.subscriber?.isLive === true;
  }

  /** Calls `listener` each time all subscriptions have come (back) to life: messages before that may be missing. */
  onSubscribed(listener: () => void): void {
    this.subscriber?.onLive(listener);
  }

  /**
   * Calls `listener` each time Redis comes (back), not for it being there now. What it does without waiting comes
   * before all other attempts.
   */
  onAvailable(listener: () => void): void {
    this.listeners.push(listener);
  }

  statistics(): RedisStatistics {
    return { configured: this.isConfigured, available: this.isAvailable, ...this.counts };
  }

  private openBreaker(): void {
    if (!this.isAnswering) return; // by another attempt
    this.counts.breakerOpened += 1;
    this.markAway('it does not answer in time');
    const isRelapse = performance.now() - this.closedAtMs < RELAPSE_MS;
    this.restMs = isRelapse ? Math.min(MAX_REST_MS, this.restMs * 2 || FIRST_REST_MS) : 0;
    if (this.restMs === 0) this.probe();
    else this.probeAfter(this.restMs);
  }

  private probeAfter(delayMs: number): void {
    clearTimeout(this.nextProbe);
    this.nextProbe = setTimeout(() => this.probe(), delayMs).unref();
  }

  private markAway(reason: string): void {
    this.isAnswering = false;
    if (this.isReportedAway || this.isClosed) return;
    this.isReportedAway = true;
    this.logger.warn(
      `Redis is away (${reason}): answers come from PostgreSQL and this process alone.`,
    );
  }

  private markBack(): void {
    this.isAnswering = true;
    this.closedAtMs = performance.now();
    if (this.isReportedAway) this.logger.log('Redis is back.');
    this.isReportedAway = false;
    for (const listener of this.listeners) {
      try {
        listener();
      } catch (error) {
        this.logger.error('A listener to Redis coming back failed', error);
      }
    }
  }

  /**
   * Closes the breaker when a PING is answered in time. A late reply is waited for, as each further PING would keep a
   * silent connection from being replaced; a lost connection is probed again at its `ready`.
   */
  private probe(): void {
    const { client } = this;
    if (!client || this.isProbing || this.isAnswering) return;
    clearTimeout(this.nextProbe);
    this.isProbing = true;
    const startMs = performance.now();
    client.ping().then(
      () => {
        this.isProbing = false;
        if (!client.isReady) return;
        if (performance.now() - startMs > PROBE_TIMEOUT_MS) this.probe();
        else this.markBack();
      },
      (error: unknown) => {
        this.isProbing = false;
        if (!client.isReady) return;
        this.markAway(refusalReason(error));
        this.probeAfter(PROBE_INTERVAL_MS);
      },
    );
  }
}
