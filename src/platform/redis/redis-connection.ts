import {
  Inject,
  Injectable,
  Logger,
  type OnApplicationShutdown,
  type OnModuleInit,
} from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { redisConfig } from '../config/settings';
import { TIMED_OUT, withTimeout } from '../runtime/abort';
import {
  closeRedisClient,
  createRedisClient,
  type RedisClient,
  RefusalLog,
  refusalReason,
} from './redis-client';
import { RedisSubscriber } from './redis-subscriber';

/** Default limit for a caller: PostgreSQL answers most queries sooner. */
const ATTEMPT_TIMEOUT_MS = 250;
/** Limit for a PING to close the breaker: after a slower one attempts would open it again. */
const PROBE_TIMEOUT_MS = 500;
const PROBE_INTERVAL_MS = 250;
const BOOT_WAIT_MS = 1000;
/** Interval in which reopening lengthens the pause: an answered PING says little about other commands. */
const RELAPSE_MS = 10_000;
const FIRST_REST_MS = 250;
const MAX_REST_MS = 5000;

interface RedisStatistics {
  configured: boolean;
  available: boolean;
  timeouts: number;
  /** Attempts refused by Redis, or ended by a lost connection. */
  failures: number;
  breakerOpened: number;
}

/**
 * Optional Redis: nothing here throws for it or waits long. The first attempt that times out opens a breaker; attempts
 * then resolve with `undefined` until Redis answers a PING.
 */
@Injectable()
export class RedisConnection implements OnModuleInit, OnApplicationShutdown {
  /** Client for adapters, undefined without REDIS_URL. Its commands have no time limit outside `attempt`. */
  readonly client: RedisClient | undefined;
  private readonly logger = new Logger('Redis');
  private readonly refusals = new RefusalLog(this.logger);
  private readonly subscriber: RedisSubscriber | undefined;
  private readonly listeners: (() => void)[] = [];
  private readonly counts = { timeouts: 0, failures: 0, breakerOpened: 0 };
  private isAnswering = false;
  private isReportedAway = false;
  private isProbing = false;
  private isClosed = false;
  private nextProbe: NodeJS.Timeout | undefined;
  /** Time of the last closing, on the clock of performance.now(). */
  private closedAtMs = -Infinity;
  private restMs = 0;

  constructor(@Inject(redisConfig.KEY) { url }: ConfigType<typeof redisConfig>) {
    if (url === undefined) return;
    const client = createRedisClient(url);
    client
      .on('ready', () => this.probe())
      .on('error', (error: unknown) => {
        if (!client.isReady) this.markAway(refusalReason(error)); // else its own PING was refused
      });
    this.client = client;
    this.subscriber = new RedisSubscriber(client.duplicate(), this.logger, this.refusals);
  }

  /** Connects; resolves once Redis has answered or failed, after at most a second. Never rejects. */
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

  /** False without REDIS_URL: every attempt resolves with `undefined`. */
  get isConfigured(): boolean {
    return this.client !== undefined;
  }

  get isAvailable(): boolean {
    return this.isAnswering && this.client?.isReady === true;
  }

  /**
   * Resolves with the result of `work`, or `undefined` when Redis is unavailable, silent for `timeoutMs` or refuses the
   * command. Never rejects. Redis may still execute abandoned work.
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
      if (client.isReady) this.refusals.report(error); // a lost connection is reported already
    }
    return undefined;
  }

  /**
   * Subscribes on a separate connection. Resolves once Redis has confirmed, or at once while Redis is unavailable; the
   * subscription is then made, and after a loss restored, automatically. Messages sent meanwhile are lost: see
   * `isSubscribed` and `onSubscribed`.
   */
  async subscribe(channel: string, listener: (message: string) => void): Promise<void> {
    await this.subscriber?.subscribe(channel, listener, this.isAvailable);
  }

  /** True when all subscriptions were live in the last two seconds. */
  get isSubscribed(): boolean {
    return this.subscriber?.isLive === true;
  }

  /** Reports each time that all subscriptions become live: earlier messages may be missing. */
  onSubscribed(listener: () => void): void {
    this.subscriber?.onLive(listener);
  }

  /** Reports each time that Redis becomes available. Synchronous work of `listener` precedes all other attempts. */
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
   * Awaits a late reply, as another PING would defer the replacement of a silent connection. A lost connection is
   * probed at its next `ready`.
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
