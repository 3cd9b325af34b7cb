import {
  Inject,
  Injectable,
  Logger,
  type OnApplicationShutdown,
  type OnModuleInit,
} from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import type { RedisClientType } from '@redis/client';
import { redisConfig } from '../config/redis.config';
import { RedisSubscriber } from './redis-subscriber';
import { refusalReason, RefusalLog } from './refusal-log';
import { SupervisedClient } from './supervised-client';
import { TIMED_OUT, withTimeout } from '../runtime/deadline';

/** Default limit of an attempt: PostgreSQL answers most questions sooner. */
const ATTEMPT_TIMEOUT_MS = 250;
const PROBE_TIMEOUT_MS = 500;
/** Until Redis is asked again when it answers, but not with PONG. */
const PROBE_INTERVAL_MS = 250;
const BOOT_WAIT_MS = 1000;
/** A breaker that opens again this soon stays open for longer: an answered PING says little about other commands. */
const RELAPSE_MS = 10_000;
const FIRST_PAUSE_MS = 250;
const MAX_PAUSE_MS = 5000;

/** Counted since the start. */
interface RedisStatistics {
  configured: boolean;
  available: boolean;
  /** Attempts that timed out. */
  timeouts: number;
  /** Attempts that failed: Redis refused, or the connection was lost. */
  failures: number;
  breakerOpened: number;
}

/**
 * The one way to Redis, which may be away: nothing here throws because of it or waits long for it. The first attempt
 * that times out opens a breaker; from then on attempts give `undefined` at once, until Redis has answered a PING.
 */
@Injectable()
export class RedisConnection implements OnModuleInit, OnApplicationShutdown {
  /** False without REDIS_URL: then there is no client, and every attempt gives `undefined`. */
  readonly isConfigured: boolean;
  private readonly logger = new Logger('Redis');
  private readonly refusals = new RefusalLog(this.logger);
  private readonly supervised: SupervisedClient | undefined;
  private readonly subscriber: RedisSubscriber | undefined;
  private readonly listeners: (() => void)[] = [];
  private readonly counts = { timeouts: 0, failures: 0, breakerOpened: 0 };
  /** Whether it answered the last PING and no attempt has timed out since. */
  private isAnswering = false;
  private isReportedAway = false;
  private isProbing = false;
  private isClosed = false;
  private nextProbe: NodeJS.Timeout | undefined;
  /** When the breaker was closed last, on the clock of performance.now(). */
  private closedAtMs = -Infinity;
  private pauseMs = 0;

  constructor(@Inject(redisConfig.KEY) { url }: ConfigType<typeof redisConfig>) {
    this.isConfigured = url !== undefined;
    if (url === undefined) return;
    this.supervised = new SupervisedClient({ url });
    this.subscriber = new RedisSubscriber(this.supervised.client, this.logger, this.refusals);
    this.supervised.client
      .on('ready', () => this.probe())
      .on('error', (error: unknown) => this.markAway(refusalReason(error)));
  }

  /** Starts to connect; waits at most a second until Redis has answered or cannot be reached. Never fails. */
  async onModuleInit(): Promise<void> {
    const { supervised } = this;
    if (!supervised) return;
    const outcome = new Promise<void>((resolve) => {
      this.onAvailable(resolve);
      supervised.client.once('error', () => resolve());
    });
    supervised.connect();
    if ((await withTimeout(outcome, BOOT_WAIT_MS)) === TIMED_OUT)
      this.markAway('it does not answer');
  }

  onApplicationShutdown(): void {
    this.isClosed = true;
    this.isAnswering = false;
    clearTimeout(this.nextProbe);
    this.subscriber?.close();
    this.supervised?.close();
  }

  /** Connected, and the breaker is closed. */
  get isAvailable(): boolean {
    return this.isAnswering && this.supervised?.client.isReady === true;
  }

  /** For adapters; undefined when not configured. Its commands are not bounded in time: run them inside `attempt`. */
  get client(): RedisClientType | undefined {
    return this.supervised?.client;
  }

  /**
   * The result of `work`, or `undefined` when Redis is not configured, away, silent for `timeoutMs` or refuses the
   * command. Never rejects. Redis may still execute work that timed out.
   */
  async attempt<T>(
    work: (client: RedisClientType) => Promise<T>,
    timeoutMs = ATTEMPT_TIMEOUT_MS,
  ): Promise<T | undefined> {
    const { client } = this;
    if (!client || !this.isAvailable) return undefined;
    try {
      const result = await withTimeout(work(client), timeoutMs);
      if (result !== TIMED_OUT) return result;
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
   * or at once while Redis is away; after a loss the subscription is made again. Messages meanwhile are lost: see
   * `isSubscribed` and `onSubscribed`.
   */
  async subscribe(channel: string, listener: (message: string) => void): Promise<void> {
    await this.subscriber?.subscribe(channel, listener, this.isAvailable);
  }

  /** Whether messages to all subscribed channels arrive: confirmed at most two seconds ago. */
  get isSubscribed(): boolean {
    return this.subscriber?.isLive === true;
  }

  /** Calls `listener` each time all subscriptions are live (again): messages before that may be missing. */
  onSubscribed(listener: () => void): void {
    this.subscriber?.onLive(listener);
  }

  /** Calls `listener` each time Redis comes (back). Its synchronous part runs before the attempts of all others. */
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
    this.pauseMs = isRelapse ? Math.min(MAX_PAUSE_MS, this.pauseMs * 2 || FIRST_PAUSE_MS) : 0;
    if (this.pauseMs === 0) this.probe();
    else this.probeAfter(this.pauseMs);
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
    if (this.isClosed) return;
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

  /** Closes the breaker when a PING is answered. A silent connection is replaced, and `ready` comes here again. */
  private probe(): void {
    const { supervised } = this;
    if (!supervised || this.isProbing || this.isAnswering) return;
    clearTimeout(this.nextProbe);
    this.isProbing = true;
    supervised
      .ping(PROBE_TIMEOUT_MS)
      .then((outcome) => {
        this.isProbing = false;
        if (outcome === 'answered') this.markBack();
        else if (outcome !== 'silent') this.probeLater(outcome);
      })
      .catch((error: unknown) => this.logger.error('The probe of Redis failed', error));
  }

  private probeLater(refusal: Error): void {
    this.markAway(refusalReason(refusal));
    if (this.isClosed) return;
    this.probeAfter(PROBE_INTERVAL_MS);
  }
}
