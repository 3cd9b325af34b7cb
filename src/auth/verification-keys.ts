import type { JSONWebKeySet, JWTVerifyGetKey } from 'jose';

/** Age of keys before they are fetched again: the longest life of a withdrawn key. */
export const MAX_KEY_AGE_MS = 5 * 60_000;

/** Least interval of fetches for unknown key ids, which any client can send. */
export const UNKNOWN_KEY_INTERVAL_MS = 2_000;

/** Keys that verify tokens. */
export interface VerificationKeys {
  /**
   * The key for a token's header. Rejects with a jose error when none fits, AUTHENTICATION_UNAVAILABLE in an outage.
   */
  readonly find: JWTVerifyGetKey;
  /** Time of performance.now() until which a token verified now needs no new keys. */
  trustedUntilMs(): number;
  /**
   * Fetches unconditionally; absent where keys do not change.
   * @throws AppError AUTHENTICATION_UNAVAILABLE.
   */
  refresh?(): Promise<JSONWebKeySet>;
}
