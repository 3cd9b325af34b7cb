import {
  createRemoteJWKSet,
  customFetch,
  errors,
  type FetchImplementation,
  type JSONWebKeySet,
  type JWTVerifyGetKey,
  type RemoteJWKSet,
} from 'jose';
import { AppError } from '../platform/errors/app-error';
import { keysUnavailable } from './challenge';
import { ConditionalFetch } from './conditional-fetch';
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
  private readonly keySet: RemoteJWKSet;
  private readonly conditional = new ConditionalFetch();
  /** When the keys that are at hand came, on the clock of performance.now(). */
  private fetchedAtMs = -Infinity;
  /** On the clock of performance.now(). */
  private lastFailure: { error: AppError; atMs: number } | undefined;

  constructor(url: string, timeoutMs = FETCH_TIMEOUT_MS) {
    this.keySet = createRemoteJWKSet(new URL(url), {
      timeoutDuration: timeoutMs,
      // jose times these by the wall clock, which may be set: it never fetches by itself, but when told.
      cooldownDuration: Infinity,
      cacheMaxAge: Infinity,
      [customFetch]: this.fetchUnlessJustFailed,
    });
  }

  readonly find: JWTVerifyGetKey = async (header, token) => {
    try {
      if (this.ageMs >= MAX_KEY_AGE_MS) await this.fetchKeys();
      return await this.keySet(header, token).catch(async (error: unknown) => {
        const isSettled = this.ageMs < UNKNOWN_KEY_INTERVAL_MS;
        if (!(error instanceof errors.JWKSNoMatchingKey) || isSettled) throw error;
        await this.fetchKeys();
        return this.keySet(header, token);
      });
    } catch (error) {
      // An AppError is the last failure once more: it must not put off the next fetch any further.
      if (isAboutTheToken(error) || error instanceof AppError) throw error;
      this.lastFailure = { error: keysUnavailable(error), atMs: performance.now() };
      throw this.lastFailure.error;
    }
  };

  trustedUntilMs(): number {
    return this.fetchedAtMs + MAX_KEY_AGE_MS;
  }

  private get ageMs(): number {
    return performance.now() - this.fetchedAtMs;
  }

  /** Fetches the keys, once for all who ask at the same time. */
  private async fetchKeys(): Promise<void> {
    await this.keySet.reload();
    this.fetchedAtMs = performance.now();
  }

  async refresh(): Promise<JSONWebKeySet> {
    try {
      await this.fetchKeys();
    } catch (error) {
      if (error instanceof AppError) throw error;
      this.lastFailure = { error: keysUnavailable(error), atMs: performance.now() };
      throw this.lastFailure.error;
    }
    return this.keySet.jwks() ?? { keys: [] };
  }

  private readonly fetchUnlessJustFailed: FetchImplementation = (url, options) => {
    const failure = this.lastFailure;
    if (failure && performance.now() - failure.atMs < RETRY_INTERVAL_MS) {
      return Promise.reject(failure.error);
    }
    return this.conditional.fetch(url, options);
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
