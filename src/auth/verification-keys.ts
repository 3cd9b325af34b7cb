import type { JSONWebKeySet, JWTVerifyGetKey } from 'jose';

/** Age at which keys are fetched again, thus the longest life of a withdrawn key. */
export const MAX_KEY_AGE_MS = 5 * 60_000;

/** Least interval of fetches for unknown key ids: any client can send such tokens. */
export const UNKNOWN_KEY_INTERVAL_MS = 2_000;

/** Keys that verify tokens. */
export interface VerificationKeys {
  /**
   * Finds the key for a token's header. Rejects with a jose error when none fits, AUTHENTICATION_UNAVAILABLE in an
   * outage.
   */
  readonly find: JWTVerifyGetKey;
  /** Time on the clock of performance.now() until which a token verified now needs no new keys. */
  trustedUntilMs(): number;
  /**
   * Fetches the keys unconditionally; absent where keys do not change.
   * @throws AppError AUTHENTICATION_UNAVAILABLE.
   */
  refresh?(): Promise<JSONWebKeySet>;
}
