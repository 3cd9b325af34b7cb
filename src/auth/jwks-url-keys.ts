import {
  createRemoteJWKSet,
  customFetch,
  errors,
  jwksCache,
  type ExportedJWKSCache,
  type FetchImplementation,
  type JWTVerifyGetKey,
  type RemoteJWKSet,
} from 'jose';
import { AppError } from '../errors/app-error';
import { keysUnavailable } from './challenge';
import {
  MAX_KEY_AGE_MS,
  UNKNOWN_KEY_INTERVAL_MS,
  type VerificationKeys,
} from './verification-keys';

/** Longest wait for the key server, in milliseconds; requests whose key is at hand never wait for it. */
const FETCH_TIMEOUT_MS = 3_000;

/** After a failed fetch the next one waits this long, so that an outage is not answered with a flood. */
const RETRY_INTERVAL_MS = 1_000;

/**
 * The keys behind an issuer's JWKS URL: fetched when first needed, again after five minutes, and when a token names a
 * key that is not among them. While the URL cannot be had, tokens whose key is at hand and fresh still work; the
 * others are AUTHENTICATION_UNAVAILABLE, since they may well be valid.
 */
export class JwksUrlKeys implements VerificationKeys {
  private readonly fetched: Partial<ExportedJWKSCache> = {};
  private readonly keySet: RemoteJWKSet;
  private lastFailure: { error: AppError; atMs: number } | undefined;

  constructor(url: string, timeoutMs = FETCH_TIMEOUT_MS) {
    this.keySet = createRemoteJWKSet(new URL(url), {
      timeoutDuration: timeoutMs,
      cooldownDuration: UNKNOWN_KEY_INTERVAL_MS,
      cacheMaxAge: MAX_KEY_AGE_MS,
      [customFetch]: this.fetchUnlessJustFailed,
      [jwksCache]: this.fetched as ExportedJWKSCache,
    });
  }

  readonly find: JWTVerifyGetKey = async (header, token) => {
    try {
      return await this.keySet(header, token);
    } catch (error) {
      // An AppError is the last failure once more: it must not put off the next fetch any further.
      if (isAboutTheToken(error) || error instanceof AppError) throw error;
      this.lastFailure = { error: keysUnavailable(error), atMs: Date.now() };
      throw this.lastFailure.error;
    }
  };

  trustedUntilMs(): number {
    return (this.fetched.uat ?? 0) + MAX_KEY_AGE_MS;
  }

  private readonly fetchUnlessJustFailed: FetchImplementation = (url, options) => {
    const failure = this.lastFailure;
    if (failure && Date.now() - failure.atMs < RETRY_INTERVAL_MS) {
      return Promise.reject(failure.error);
    }
    return fetch(url, options);
  };
}

/** Whether the keys were there and only this token has none among them. */
function isAboutTheToken(error: unknown): boolean {
  return (
    error instanceof errors.JWKSNoMatchingKey ||
    error instanceof errors.JWKSMultipleMatchingKeys ||
    error instanceof errors.JOSENotSupported
  );
}
