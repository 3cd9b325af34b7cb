import { createClient } from '@redis/client';

const CONNECT_TIMEOUT_MS = 500;
/** A stopped process is still connected to by the kernel, but answers nothing. */
const SILENCE_TIMEOUT_MS = 1000;
/** Keeps idle connections below that, and shows that one which only listens has gone silent. */
const PING_INTERVAL_MS = 500;
const FIRST_RETRY_MS = 50;
const MAX_RETRY_MS = 1000;

export type RedisClient = ReturnType<typeof createRedisClient>;

/**
 * A client whose connections, from the handshake on, end after a second of silence and are then made anew. Commands
 * without a reply are rejected at that moment, so that no late reply can be taken for that of another command.
 */
export function createRedisClient(url: string) {
  return createClient({
    url,
    RESP: 2, // the handshake of 3 needs Redis 6, and fails while Redis loads its data
    maintNotifications: 'disabled',
    disableOfflineQueue: true,
    commandOptions: { timeout: undefined }, // covers only what is not yet sent, with a timer for each command
    pingInterval: PING_INTERVAL_MS,
    socket: {
      connectTimeout: CONNECT_TIMEOUT_MS,
      socketTimeout: SILENCE_TIMEOUT_MS,
      reconnectStrategy: delayBefore,
    },
  });
}

/** Ends the connection at once, also one that is just being made: `destroy()` alone would let it be connected. */
export function closeRedisClient(client: RedisClient): void {
  client.destroy();
  client.on('connect', () => client.destroy());
}

/** Milliseconds, doubled at each try and scattered, so that replicas do not reconnect in step. */
function delayBefore(retries: number): number {
  const longestMs = Math.min(FIRST_RETRY_MS * 2 ** retries, MAX_RETRY_MS);
  return longestMs * (0.5 + Math.random() / 2);
}
