import { Logger } from '@nestjs/common';
import { createClient } from '@redis/client';

const CONNECT_TIMEOUT_MS = 500;
/** Bounds silence: the kernel still accepts connections to a stopped process. */
const SILENCE_TIMEOUT_MS = 1000;
/** Keeps idle connections below that limit, and detects silence on a listening one. */
const PING_INTERVAL_MS = 500;
const FIRST_RETRY_MS = 50;
const MAX_RETRY_MS = 1000;

export type RedisClient = ReturnType<typeof createRedisClient>;

/**
 * Creates a client that replaces a connection after a second of silence, handshake included. Commands without a reply
 * are rejected then, so that no late reply is taken for that of another command.
 */
export function createRedisClient(url: string) {
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
export function closeRedisClient(client: RedisClient): void {
  client.destroy();
  client.on('connect', () => client.destroy());
}

/** Milliseconds, doubled per try and randomized, so that replicas do not reconnect in step. */
function delayBefore(retries: number): number {
  const longestMs = Math.min(FIRST_RETRY_MS * 2 ** retries, MAX_RETRY_MS);
  return longestMs * (0.5 + Math.random() / 2);
}

const INTERVAL_MS = 10_000;

/** Logs refused commands, one line in ten seconds: a full Redis refuses thousands. */
export class RefusalLog {
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
    this.silentUntilMs = nowMs + INTERVAL_MS;
  }
}

/** Reason for the log, without the arguments quoted by Redis, which may be personal data. */
export function refusalReason(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  // A failure on several addresses has a code but no message.
  const text = error.message || ((error as NodeJS.ErrnoException).code ?? error.name);
  return text.split(', with args')[0] ?? text;
}
