import type { JSONWebKeySet, JWTVerifyGetKey } from 'jose';

/** How long keys are believed without looking again, in milliseconds: a withdrawn key is gone after this. */
export const MAX_KEY_AGE_MS = 5 * 60_000;

/** How often at most an unknown key id makes a source look again, in milliseconds: anybody can send such tokens. */
export const UNKNOWN_KEY_INTERVAL_MS = 2_000;

/** Where the keys that verify tokens come from. */
export interface VerificationKeys {
  /** The key for a token's header. Rejects with a jose error when none fits, AUTHENTICATION_UNAVAILABLE in an outage. */
  readonly find: JWTVerifyGetKey;
  /** Until when, on the clock of performance.now(), a token verified right now needs no second look at the keys. */
  trustedUntilMs(): number;
  /**
   * Looks at the source again, whatever is known, and gives the keys that are there; left out where keys do not change.
   * @throws AppError AUTHENTICATION_UNAVAILABLE.
   */
  refresh?(): Promise<JSONWebKeySet>;
}
