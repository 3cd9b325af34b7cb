import type { RedisConnection } from '../../platform/redis/redis-connection';

/** Window of commits that share a message. */
const INTERVAL_MS = 10;

/** Announces commits to other replicas over Redis. The next poll of EventTailer finds lost messages. */
export class CommitAnnouncements {
  private readonly unannounced = new Set<string>();
  private timer: NodeJS.Timeout | undefined;
  private isSubscribed = false;

  constructor(
    private readonly redis: RedisConnection,
    private readonly channel: string,
    private readonly onError: (error: unknown) => void,
  ) {}

  announce(organizations: Iterable<string>): void {
    if (!this.redis.isConfigured) return;
    for (const id of organizations) this.unannounced.add(id);
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      const message = JSON.stringify([...this.unannounced]);
      this.unannounced.clear();
      this.redis.attempt((client) => client.publish(this.channel, message)).catch(this.onError);
    }, INTERVAL_MS).unref();
  }

  /** Passes the organizations of each announcement to `listener`; subscribes once. */
  subscribe(listener: (organizations: string[]) => void): void {
    if (this.isSubscribed || !this.redis.isConfigured) return;
    this.isSubscribed = true;
    // The connection resubscribes after Redis has returned.
    this.redis
      .subscribe(this.channel, (message) => listener(organizationsIn(message)))
      .catch(this.onError);
  }

  stop(): void {
    clearTimeout(this.timer);
  }
}

/** Empty for malformed messages, which any client of the Redis can publish. */
function organizationsIn(message: string): string[] {
  try {
    const named: unknown = JSON.parse(message);
    return Array.isArray(named) ? named.filter((id) => typeof id === 'string') : [];
  } catch {
    return [];
  }
}
