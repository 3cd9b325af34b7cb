import {
  type CryptoKey,
  createLocalJWKSet,
  createRemoteJWKSet,
  customFetch,
  errors,
  type FetchImplementation,
  type JSONWebKeySet,
  type JWTVerifyGetKey,
  type RemoteJWKSet,
} from 'jose';
import { readFile, stat } from 'node:fs/promises';
import { keysUnavailable } from './challenge';
import type { AuthConfig } from '../platform/config/settings';
import { AppError } from '../platform/errors/app-error';
import { proxiedFetch } from '../platform/runtime/proxied-fetch';

/** Age of keys before they are fetched again: the longest life of a withdrawn key. */
const MAX_KEY_AGE_MS = 5 * 60_000;

/** Time after the last successful read for which known keys verify in an outage of their source. */
export const DEFAULT_STALE_SECONDS = 3600;

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

/** The configured keys, not read before the first token. */
export function configuredKeys({ keys, jwksStaleSeconds, proxy }: AuthConfig): VerificationKeys {
  const staleMs = 1000 * (jwksStaleSeconds ?? DEFAULT_STALE_SECONDS);
  switch (keys.kind) {
    case 'secret':
      return { find: secretOf(keys.secret, keys.previous), trustedUntilMs: () => Infinity };
    case 'jwks-url':
      return new JwksUrlKeys(keys.url, { staleMs, fetch: proxiedFetch(proxy) });
    case 'jwks-file':
      return new JwksFileKeys(keys.path, staleMs);
  }
}

/** Two secrets are tried one after the other, as jose does with several keys of a set that fit. */
function secretOf(current: string, previous: string | undefined): JWTVerifyGetKey {
  const secret = new TextEncoder().encode(current);
  if (previous === undefined) return () => Promise.resolve(secret);
  const secrets = [secret, new TextEncoder().encode(previous)];
  return () => {
    const several = new errors.JWKSMultipleMatchingKeys();
    several[Symbol.asyncIterator] = async function* () {
      for (const key of secrets) yield await Promise.resolve(key as unknown as CryptoKey);
    };
    return Promise.reject(several);
  };
}

/**
 * Algorithms that suit the kind of key, so that a public key never serves as an HMAC secret. Throws, at boot, when none
 * is left.
 */
export function usableAlgorithms(config: AuthConfig): string[] {
  const symmetric = config.keys.kind === 'secret';
  const usable = config.algorithms.filter(
    (name) => name.toLowerCase() !== 'none' && name.startsWith('HS') === symmetric,
  );
  if (usable.length === 0) {
    throw new Error(
      `AUTH_ALGORITHMS lists nothing that works with ${symmetric ? 'AUTH_JWT_SECRET' : 'a JSON Web Key Set'}.`,
    );
  }
  return usable;
}

interface LoadedKeySet {
  keys: JSONWebKeySet;
  find: JWTVerifyGetKey;
  version: string;
  /** On the clock of performance.now(). */
  readAtMs: number;
  checkedAtMs: number;
}

/**
 * Keys of a JWKS file, read when first needed, after a change, and for an unknown key id, as a change may keep the
 * metadata. While the file is missing or invalid, what was read holds for `staleMs`; then it is
 * AUTHENTICATION_UNAVAILABLE until repaired, without a restart.
 */
export class JwksFileKeys implements VerificationKeys {
  private loaded: LoadedKeySet | undefined;

  constructor(
    private readonly path: string,
    private readonly staleMs: number,
  ) {}

  readonly find: JWTVerifyGetKey = async (header, token) => {
    let failure: unknown;
    const keySet = await this.current().catch((error: unknown) => {
      failure = error;
      return this.unlessStale(error);
    });
    try {
      return await keySet.find(header, token);
    } catch (error) {
      const isSettled = performance.now() - keySet.readAtMs < UNKNOWN_KEY_INTERVAL_MS;
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      if (failure) throw failure as AppError; // the file to come may have the key
      if (isSettled) throw error;
      return (await this.current(true)).find(header, token);
    }
  };

  trustedUntilMs(): number {
    return performance.now() + MAX_KEY_AGE_MS;
  }

  async refresh(): Promise<JSONWebKeySet> {
    return (await this.current(true)).keys;
  }

  private unlessStale(error: unknown): LoadedKeySet {
    const { loaded } = this;
    if (!loaded || performance.now() - loaded.checkedAtMs >= this.staleMs) throw error;
    return loaded;
  }

  private async current(again = false): Promise<LoadedKeySet> {
    try {
      const { mtimeMs, size, ino } = await stat(this.path);
      const version = `${mtimeMs}-${size}-${ino}`;
      const nowMs = performance.now();
      if (!again && this.loaded?.version === version) {
        this.loaded.checkedAtMs = nowMs;
        return this.loaded;
      }
      const keys = JSON.parse(await readFile(this.path, 'utf8')) as JSONWebKeySet;
      const find = createLocalJWKSet(keys);
      this.loaded = { keys, find, version, readAtMs: nowMs, checkedAtMs: nowMs };
      return this.loaded;
    } catch (error) {
      throw keysUnavailable(error);
    }
  }
}

/** Requests with a known key never wait for the key server. */
const FETCH_TIMEOUT_MS = 3_000;

/** Pause after a failed fetch against floods in an outage. */
const RETRY_INTERVAL_MS = 1_000;

/** Settings for fetching a key set. */
interface JwksFetching {
  /** Milliseconds for which known keys verify without a successful fetch. */
  staleMs?: number;
  timeoutMs?: number;
  fetch?: typeof fetch;
}

/**
 * Keys of a JWKS URL: fetched when first needed, after five minutes, and for an unknown key. In an outage tokens with a
 * known key still work for `staleMs`; others, possibly valid, are AUTHENTICATION_UNAVAILABLE.
 */
export class JwksUrlKeys implements VerificationKeys {
  private readonly keySet: RemoteJWKSet;
  private readonly conditional: ConditionalFetch;
  private readonly staleMs: number;
  /** Times on the clock of performance.now(). */
  private fetchedAtMs = -Infinity;
  private lastFailure: { error: AppError; atMs: number } | undefined;

  constructor(
    url: string,
    {
      staleMs = 1000 * DEFAULT_STALE_SECONDS,
      timeoutMs = FETCH_TIMEOUT_MS,
      fetch: send,
    }: JwksFetching = {},
  ) {
    this.staleMs = staleMs;
    this.conditional = new ConditionalFetch(send);
    this.keySet = createRemoteJWKSet(new URL(url), {
      timeoutDuration: timeoutMs,
      // jose times these by the wall clock, which may be set, so it never fetches by itself.
      cooldownDuration: Infinity,
      cacheMaxAge: Infinity,
      [customFetch]: this.fetchUnlessJustFailed,
    });
  }

  readonly find: JWTVerifyGetKey = async (header, token) => {
    try {
      if (this.ageMs >= MAX_KEY_AGE_MS) await this.fetchUnlessAway();
      return await this.keySet(header, token).catch(async (error: unknown) => {
        const isSettled = this.ageMs < UNKNOWN_KEY_INTERVAL_MS;
        if (!(error instanceof errors.JWKSNoMatchingKey) || isSettled) throw error;
        await this.fetchKeys();
        return this.keySet(header, token);
      });
    } catch (error) {
      throw isAboutTheToken(error) ? error : this.noteFailure(error);
    }
  };

  trustedUntilMs(): number {
    const freshUntilMs = this.fetchedAtMs + MAX_KEY_AGE_MS;
    if (!this.lastFailure) return freshUntilMs;
    const staleUntilMs = Math.min(
      this.fetchedAtMs + this.staleMs,
      performance.now() + RETRY_INTERVAL_MS,
    );
    return Math.max(freshUntilMs, staleUntilMs);
  }

  /** Only the first request of an outage waits for the fetch; later ones go on with the known keys meanwhile. */
  private async fetchUnlessAway(): Promise<void> {
    const isUsable = this.ageMs < this.staleMs;
    const fetched = this.fetchKeys();
    if (isUsable && this.lastFailure) {
      fetched.catch((error: unknown) => this.noteFailure(error));
      return;
    }
    await fetched.catch((error: unknown) => {
      const failure = this.noteFailure(error);
      if (!isUsable) throw failure;
    });
  }

  private get ageMs(): number {
    return performance.now() - this.fetchedAtMs;
  }

  /** Single flight. */
  private async fetchKeys(): Promise<void> {
    await this.keySet.reload();
    this.fetchedAtMs = performance.now();
    this.lastFailure = undefined;
  }

  async refresh(): Promise<JSONWebKeySet> {
    try {
      await this.fetchKeys();
    } catch (error) {
      throw this.noteFailure(error);
    }
    return this.keySet.jwks() ?? { keys: [] };
  }

  /** An AppError is the last failure again: it must not delay the next fetch any further. */
  private noteFailure(error: unknown): AppError {
    if (error instanceof AppError) return error;
    this.lastFailure = { error: keysUnavailable(error), atMs: performance.now() };
    return this.lastFailure.error;
  }

  private readonly fetchUnlessJustFailed: FetchImplementation = (url, options) => {
    const failure = this.lastFailure;
    if (failure && performance.now() - failure.atMs < RETRY_INTERVAL_MS) {
      return Promise.reject(failure.error);
    }
    return this.conditional.fetch(url, options);
  };
}

/** True when only this token has none of the available keys. */
function isAboutTheToken(error: unknown): boolean {
  return (
    error instanceof errors.JWKSNoMatchingKey ||
    error instanceof errors.JWKSMultipleMatchingKeys ||
    error instanceof errors.JOSENotSupported
  );
}

/**
 * Fetches one URL with the last response's ETag or date; a 304 repeats it. A key set is checked every few seconds and
 * changes every few months.
 */
export class ConditionalFetch {
  private last: { text: string; validators: Record<string, string> } | undefined;

  constructor(private readonly send: typeof fetch = fetch) {}

  readonly fetch: FetchImplementation = async (url, options) => {
    const headers = new Headers(options.headers);
    for (const [name, value] of Object.entries(this.last?.validators ?? {})) {
      headers.set(name, value);
    }
    const response = await this.send(url, { ...options, headers });
    if (response.status === 304 && this.last) {
      await response.body?.cancel();
      return new Response(this.last.text, { headers: { 'content-type': 'application/json' } });
    }
    if (response.status !== 200) return response;
    const text = await response.text();
    this.last = { text, validators: validatorsOf(response.headers) };
    return new Response(text, { status: response.status, headers: response.headers });
  };
}

function validatorsOf(headers: Headers): Record<string, string> {
  const etag = headers.get('etag');
  if (etag !== null) return { 'if-none-match': etag };
  const modified = headers.get('last-modified');
  return modified === null ? {} : { 'if-modified-since': modified };
}
