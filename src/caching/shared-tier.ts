import { KeyvAdapter } from 'cache-manager';
import { redisInsStore } from 'cache-manager-redis-yet';
import Keyv from 'keyv';
import type { RedisConnection } from '../platform/redis/redis-connection';
import type { SharedEntry } from './cache-entry';
import type { SizedValue } from './memory-store';

/**
 * Limit of a shared response; larger ones stay in their process, as all commands share a connection, and nothing else
 * limits the share of one reader in Redis. A page of 1000 common events has half of it.
 */
export const MAX_SHARED_BYTES = 1024 * 1024;

/* Keyv's `expires`, a wall-clock time, is not stored: Redis alone counts down the time to live for all replicas. */

interface Kept {
  value?: Partial<SizedValue>;
}

/** Envelope of Keyv without `expires`, which Keyv would check by its clock. */
interface Shared {
  value: SharedEntry;
}

/**
 * Shared tier for cache-manager: cache-manager-redis-yet on the connection of the service, with a time limit for each
 * command. While Redis is not reached, nothing is found or stored, without an error.
 */
export function sharedStore(redis: RedisConnection): Keyv | undefined {
  const { client } = redis;
  if (!client) return undefined;
  const store = redisInsStore(client as unknown as Parameters<typeof redisInsStore>[0]);
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
    disconnect: () => Promise.resolve(), // RedisConnection closes it
  };
  return new Keyv({
    store: new KeyvAdapter(bounded),
    useKeyPrefix: false,
    serialize: undefined,
    deserialize: undefined,
  });
}
