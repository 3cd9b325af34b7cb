import { setTimeout as delay } from 'node:timers/promises';

/** Time, as the retries see it; a spec puts its own in place. */
export interface Clock {
  now: () => number;
  /** Waits; rejects as soon as the signal is aborted. */
  sleep: (ms: number, signal: AbortSignal) => Promise<void>;
}

export const SYSTEM_CLOCK: Clock = {
  now: () => performance.now(),
  sleep: async (ms, signal) => {
    await delay(ms, undefined, { signal });
  },
};

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30_000;

/** How long one request is retried before the import gives up. */
export const GIVE_UP_AFTER_MS = 5 * 60_000;

/**
 * How long to wait before the next attempt: doubling from half a second to half a minute, the upper half of it by
 * chance so that importers do not knock in step, and never less than the service asked for with `Retry-After`.
 * `attempt` counts from 0, `random` is in [0, 1).
 */
export function waitBeforeRetryMs(
  attempt: number,
  retryAfterMs: number | undefined,
  random: number,
): number {
  const full = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** attempt);
  return Math.max(retryAfterMs ?? 0, full / 2 + (full / 2) * random);
}
