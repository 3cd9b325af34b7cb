import {
  Inject,
  Injectable,
  Logger,
  type OnApplicationShutdown,
  type OnModuleInit,
} from '@nestjs/common';
import type { ConfigType } from '@nestjs/config';
import { createClient, ErrorReply } from '@redis/client';
import { cacheConfig, redisConfig } from '../config/settings';
import { TIMED_OUT, withTimeout } from '../runtime/abort';

/** Default limit for a caller: PostgreSQL answers most queries sooner. */
const ATTEMPT_TIMEOUT_MS = 250;
/** Limit for a write to close the breaker: after a slower one attempts would open it again. */
const PROBE_TIMEOUT_MS = 500;
const PROBE_INTERVAL_MS = 250;
/** Interval in which an idle connection notices that Redis does not serve any more. */
const VERIFY_INTERVAL_MS = 2000;
/** The write of a probe leaves nothing behind. */
const PROBE_LIFE_MS = 1;
const BOOT_WAIT_MS = 1000;
/** Interval in which reopening lengthens the pause: one write says little about other commands. */
const RELAPSE_MS = 10_000;
const FIRST_REST_MS = 250;
const MAX_REST_MS = 5000;
const SUBSCRIBE_WAIT_MS = 1000;
const REPORT_INTERVAL_MS = 10_000;

const CONNECT_TIMEOUT_MS = 500;
/** Bounds silence: the kernel still accepts connections to a stopped process. */
const SILENCE_TIMEOUT_MS = 1000;
/** Keeps idle connections below that limit, and detects silence on a listening one. */
const PING_INTERVAL_MS = 500;
const FIRST_RETRY_MS = 50;
const MAX_RETRY_MS = 1000;
/** Pause before a new connection to the same name, which a failover points elsewhere. */
const RECONNECT_MS = 500;

/** Refusals of a Redis that answers and does not serve: https://redis.io/docs/latest/develop/reference/protocol-spec/ */
const DOES_NOT_SERVE =
  /^(READONLY|LOADING|MASTERDOWN|CLUSTERDOWN|MOVED|NOREPLICAS|NOPERM|NOAUTH|MISCONF|OOM)\b/;
/** Refusals of a server that another one may have replaced: it is left, and its name is looked up again. */
const IS_REPLACED = /^(READONLY|LOADING|MASTERDOWN|CLUSTERDOWN)\b/;

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
 * then resolve with `undefined` until Redis takes a write. A Redis that refuses writes, as one that became a replica or
 * is full, is unavailable as well.
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
  private verification: NodeJS.Timeout | undefined;
  private refusedWith: string | undefined;
  private readonly probeKey: string;
  /** Time of the last closing, on the clock of performance.now(). */
  private closedAtMs = -Infinity;
  private restMs = 0;

  constructor(
    @Inject(redisConfig.KEY) { url }: ConfigType<typeof redisConfig>,
    @Inject(cacheConfig.KEY) { keyPrefix }: Pick<ConfigType<typeof cacheConfig>, 'keyPrefix'>,
  ) {
    this.probeKey = `${keyPrefix}-probe`;
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
    this.verification = setInterval(() => this.verify(), VERIFY_INTERVAL_MS).unref();
  }

  onApplicationShutdown(): void {
    this.isClosed = true;
    this.isAnswering = false;
    clearTimeout(this.nextProbe);
    clearInterval(this.verification);
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

  /** Code of the refusal (`READONLY`, `OOM`) for which Redis is unavailable; undefined for another reason. */
  get refusal(): string | undefined {
    return this.isAvailable ? undefined : this.refusedWith;
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
      if (DOES_NOT_SERVE.test(refusalReason(error))) this.verify();
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
    [, this.refusedWith] = DOES_NOT_SERVE.exec(reason) ?? [];
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

  /** Makes Redis available with its first write. A lost connection is probed at its next `ready`. */
  private probe(): void {
    if (!this.isAnswering) this.tryWrite();
  }

  /** Makes Redis unavailable when it refuses a write. */
  private verify(): void {
    if (this.isAnswering && this.client?.isReady) this.tryWrite();
  }

  /** Awaits a late reply, as another command would defer the replacement of a silent connection. */
  private tryWrite(): void {
    const { client } = this;
    if (!client || this.isProbing) return;
    clearTimeout(this.nextProbe);
    this.isProbing = true;
    const startMs = performance.now();
    client.set(this.probeKey, '', { PX: PROBE_LIFE_MS }).then(
      () => {
        this.isProbing = false;
        if (!client.isReady || this.isAnswering) return;
        if (performance.now() - startMs > PROBE_TIMEOUT_MS) this.probe();
        else this.markBack();
      },
      (error: unknown) => {
        this.isProbing = false;
        if (!client.isReady) return;
        const reason = refusalReason(error);
        this.markAway(reason);
        if (IS_REPLACED.test(reason)) this.reconnect(client);
        else this.probeAfter(PROBE_INTERVAL_MS);
      },
    );
  }

  private reconnect(client: RedisClient): void {
    client.destroy();
    this.subscriber?.reconnect(RECONNECT_MS);
    this.nextProbe = setTimeout(() => {
      if (!this.isClosed) client.connect().catch(() => undefined); // `error` is emitted as well
    }, RECONNECT_MS).unref();
  }
}

export type RedisClient = ReturnType<typeof createRedisClient>;

/**
 * Creates a client that replaces a connection after a second of silence, handshake included. Commands without a reply
 * are rejected then, so that no late reply is taken for that of another command.
 */
function createRedisClient(url: string) {
  return createClient({
    url,
    RESP: 2, // the handshake of 3 needs Redis 6, and fails while Redis loads its data
    maintNotifications: 'disabled',
    disableOfflineQueue: true,
    commandOptions: { timeout: undefined }, // covers unsent commands only, at a timer each
    pingInterval: PING_INTERVAL_MS,
    socket: {
      connectTimeout: CONNECT_TIMEOUT_MS,
      socketTimeout: SILENCE_TIMEOUT_MS,
      reconnectStrategy: delayBefore,
    },
  });
}

/** Closes the connection, also while it connects: `destroy()` alone would let that finish. */
function closeRedisClient(client: RedisClient): void {
  client.destroy();
  client.on('connect', () => client.destroy());
}

/** Milliseconds, doubled per try and randomized, so that replicas do not reconnect in step. */
function delayBefore(retries: number): number {
  const longestMs = Math.min(FIRST_RETRY_MS * 2 ** retries, MAX_RETRY_MS);
  return longestMs * (0.5 + Math.random() / 2);
}

/** Logs refused commands, one line in ten seconds: a full Redis refuses thousands. */
class RefusalLog {
  private silentUntilMs = -Infinity;
  private unreported = 0;

  constructor(private readonly logger: Logger) {}

  report(error: unknown): void {
    const nowMs = performance.now();
    if (nowMs < this.silentUntilMs) {
      this.unreported += 1;
      return;
    }
    const more = this.unreported > 0 ? ` (and ${this.unreported} times since the last report)` : '';
    this.logger.warn(`A Redis command failed: ${refusalReason(error)}${more}`);
    this.unreported = 0;
    this.silentUntilMs = nowMs + REPORT_INTERVAL_MS;
  }
}

/** Reason for the log, without the arguments quoted by Redis, which may be personal data. */
function refusalReason(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  // A failure on several addresses has a code but no message.
  const text = error.message || ((error as NodeJS.ErrnoException).code ?? error.name);
  return text.split(', with args')[0] ?? text;
}

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
class RedisSubscriber {
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

  /** Replaces the connection; the client restores confirmed subscriptions. */
  reconnect(delayMs: number): void {
    if (this.isClosed || !this.client.isOpen) return;
    this.isAlive = false;
    this.client.destroy();
    setTimeout(() => {
      if (!this.isClosed) this.client.connect().catch(() => undefined); // `error` is emitted as well
    }, delayMs).unref();
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
