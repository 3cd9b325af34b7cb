import type { RedisClientType } from '@redis/client';
import { randomUUID } from 'node:crypto';
import { KeyvAdapter } from 'cache-manager';
import { redisInsStore } from 'cache-manager-redis-yet';
import Keyv from 'keyv';
import type { RedisConnection } from '../platform/redis/redis-connection';
import type { SharedEntry } from './cache-entry';
import type { SizedValue } from './memory-store';

/**
 * Larger answers stay in their process: one connection carries the commands of all, and nothing here bounds how much
 * one reader has Redis keep. A page of 1000 common events has half of it.
 */
export const MAX_SHARED_BYTES = 1024 * 1024;
/** As long as the slowest fill should take; the lock of a replica that died is gone after that. */
const LOCK_MS = 2000;
/** Longer than most fills take; whoever waited in vain reads for itself. */
const MAX_WAIT_MS = 250;
const FIRST_POLL_MS = 5;
/** A Redis that takes longer for one answer is not asked a second time by the same request. */
const SLOW_ANSWER_MS = 50;

/** Removes the lock only if it is still ours: it may have run out and been taken by another replica. */
const UNLOCK = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('UNLINK', KEYS[1]) else return 0 end`;

/**
 * The tier that replicas share, as a Keyv for cache-manager: cache-manager-redis-yet on our own connection, with every
 * command bounded in time. Redis away means that nothing is found and nothing is kept, never an error.
 */
export function sharedStore(redis: RedisConnection): Keyv | undefined {
  const { client } = redis;
  if (!client) return undefined;
  const store = redisInsStore(client as Parameters<typeof redisInsStore>[0]);
  const bounded = {
    ...store,
    name: 'redis',
    get: async (key: string): Promise<Shared | undefined> => {
      const found = await redis.attempt(() => Promise.all([store.get(key), store.ttl(key)]));
      const [stored, leftMs] = found ?? [];
      if (stored === undefined || leftMs === undefined) return undefined;
      return { value: { stored, leftMs } };
    },
    set: async (key: string, { value }: Kept, ttl?: number) => {
      if (ttl === undefined || (value?.sizeBytes ?? 0) > MAX_SHARED_BYTES) return;
      await redis.attempt(() => store.set(key, value, ttl));
    },
    del: async (key: string) => {
      await redis.attempt(() => store.del(key));
    },
    disconnect: () => Promise.resolve(), // the connection is not this store's to close
  };
  return new Keyv({
    store: new KeyvAdapter(bounded),
    useKeyPrefix: false,
    serialize: undefined,
    deserialize: undefined,
  });
}

/*
 * Keyv keeps a moment of the wall clock (`expires`) beside each value. It is not stored: only Redis counts the time to
 * live, and its count is the same for all replicas.
 */

/** What Keyv hands to a store. */
interface Kept {
  value?: Partial<SizedValue>;
}

/** What it gets back: no `expires` means that Keyv does not judge it. */
interface Shared {
  value: SharedEntry;
}

/** One replica at a time fills a key; the others wait for it a little, never for long. */
export class FillLock {
  private readonly token = randomUUID();
  private readonly lockKey: string;
  private isOurs = false;

  constructor(
    private readonly redis: RedisConnection,
    key: string,
  ) {
    // Not below the prefix of the entries, so that no pattern counts or removes it.
    this.lockKey = `lock:${key}`;
  }

  /**
   * What `look` finds now, or once the replica that fills this key right now is done; undefined when the caller is to
   * read for itself. It holds the lock then, unless Redis is away, or so slow that its lock would cost more than a read.
   */
  async findOrAcquire<T>(look: () => Promise<T | undefined>): Promise<T | undefined> {
    const startedMs = performance.now();
    const found = await look();
    if (found !== undefined || performance.now() - startedMs > SLOW_ANSWER_MS) return found;
    return (await this.acquire()) ? undefined : this.waitFor(look);
  }

  /** False only when another replica is known to fill this key right now. */
  private async acquire(): Promise<boolean> {
    const answer = await this.redis.attempt((client) =>
      client.set(this.lockKey, this.token, { NX: true, PX: LOCK_MS }),
    );
    this.isOurs = answer === 'OK';
    return answer !== null;
  }

  async release(): Promise<void> {
    if (!this.isOurs) return;
    await this.redis.attempt((client: RedisClientType) =>
      client.eval(UNLOCK, { keys: [this.lockKey], arguments: [this.token] }),
    );
  }

  /** Looks again and again for what the other replica fills in, for at most a quarter of a second. */
  private async waitFor<T>(look: () => Promise<T | undefined>): Promise<T | undefined> {
    const deadlineMs = performance.now() + MAX_WAIT_MS;
    for (let pauseMs = FIRST_POLL_MS; performance.now() < deadlineMs; pauseMs *= 2) {
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
      const found = await look();
      if (found !== undefined || !this.redis.isAvailable) return found;
    }
    return undefined;
  }
}
