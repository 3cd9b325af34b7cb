import { Inject, Injectable, type OnModuleDestroy } from '@nestjs/common';
import { errors, type JWTPayload, jwtVerify, type JWTVerifyOptions } from 'jose';
import { type AuthFailureReason, invalidToken, tokenRequired } from './challenge';
import { isObject, type Principal, principalOf } from './principal';
import { configuredKeys, DEFAULT_STALE_SECONDS, usableAlgorithms } from './verification-keys';
import { VerifiedTokenCache } from './verified-token-cache';
import { type KeyDependents, WatchedKeys } from './watched-keys';
import { authConfig, type AuthConfig } from '../platform/config/settings';
import { AppError } from '../platform/errors/app-error';
import { wallClockMs } from '../platform/runtime/clocks';

/** Seconds that an issuer's clock may be ahead, for `nbf` alone: the holder of an expired token can renew it. */
const NOT_BEFORE_TOLERANCE_SECONDS = 5;

const DEFAULT_REFRESH_SECONDS = 5;

/** Verifies Authorization headers. A known token costs a lookup and no promise; expiry is checked at each use. */
@Injectable()
export class TokenVerifier implements OnModuleDestroy {
  private readonly keys: WatchedKeys;
  private readonly options: JWTVerifyOptions;
  private readonly verified = new VerifiedTokenCache();
  /** Tokens of principals, with the count of key changes at verification. */
  private readonly tokens = new WeakMap<Principal, { token: string; changes: number }>();
  private changes = 0;
  private readonly dependents: KeyDependents[] = [];

  constructor(@Inject(authConfig.KEY) private readonly config: AuthConfig) {
    const intervalMs = 1000 * (config.jwksRefreshSeconds ?? DEFAULT_REFRESH_SECONDS);
    const staleMs = 1000 * (config.jwksStaleSeconds ?? DEFAULT_STALE_SECONDS);
    this.keys = new WatchedKeys(configuredKeys(config), intervalMs, staleMs, {
      exist: () => this.verified.size > 0 || this.dependents.some(({ exist }) => exist()),
      onChange: (isOutage) => this.onKeysChanged(isOutage),
    });
    this.options = {
      algorithms: usableAlgorithms(config),
      // jose refuses every token for an empty list.
      issuer: config.issuers?.length ? config.issuers : undefined,
      audience: config.audiences?.length ? config.audiences : undefined,
      requiredClaims: ['sub', 'exp'],
      clockTolerance: NOT_BEFORE_TOLERANCE_SECONDS,
    };
  }

  /**
   * The principal of an `Authorization: Bearer …` header. Throws or rejects with UNAUTHENTICATED and a
   * `WWW-Authenticate` challenge, or with AUTHENTICATION_UNAVAILABLE without keys.
   */
  verify(authorization: string | undefined): Principal | Promise<Principal> {
    const token = bearerToken(authorization);
    return this.verified.get(token) ?? this.verifyUnknown(token);
  }

  /** Of the key set: whether it could be read at the last attempt, and the seconds since it could. */
  keySet(): { isConfigured: boolean; isAway: boolean; ageSeconds?: number } {
    const { isAway, ageSeconds } = this.keys;
    return { isConfigured: this.config.keys.kind !== 'secret', isAway, ageSeconds };
  }

  /** Registers work that outlives a request. */
  dependOnKeys(dependents: KeyDependents): void {
    this.dependents.push(dependents);
  }

  /** True for a token verified with the present keys. */
  isCurrent(principal: Principal): boolean {
    const { changes = this.changes } = this.tokens.get(principal) ?? {};
    return changes === this.changes;
  }

  /** The error that the token would get now. Never rejects. */
  async failureOf(principal: Principal): Promise<AppError | undefined> {
    const known = this.tokens.get(principal);
    if (!known) return undefined;
    const { changes } = this;
    try {
      await this.claimsOf(known.token);
      known.changes = changes;
      return undefined;
    } catch (error) {
      if (error instanceof errors.JWTExpired) return refusalOf(error);
      if (!(error instanceof AppError)) {
        return invalidToken(
          'unknown_key',
          'The key that signed the token has been withdrawn.',
          error,
        );
      }
      this.keys.forget();
      return error;
    }
  }

  onModuleDestroy(): void {
    this.keys.stop();
  }

  private onKeysChanged(isOutage: boolean): void {
    this.changes += 1;
    this.verified.clear();
    for (const { onChange } of this.dependents) onChange(isOutage);
  }

  private async verifyUnknown(token: string): Promise<Principal> {
    checkTokenForm(token);
    const { changes } = this;
    const claims = await this.claimsOf(token).catch((error: unknown) => {
      throw error instanceof AppError ? error : refusalOf(error);
    });
    const principal = principalOf(claims, this.config);
    if (principal.expiresAtMs <= wallClockMs())
      throw invalidToken('expired', 'The token has expired.');
    this.tokens.set(principal, { token, changes });
    if (changes !== this.changes) return principal; // it is verified with the new keys at its next use
    this.verified.set(token, {
      principal,
      notBeforeMs: ((claims.nbf ?? 0) - NOT_BEFORE_TOLERANCE_SECONDS) * 1000,
      notAfterMs: principal.expiresAtMs,
      trustedUntilMs: this.keys.trustedUntilMs(),
    });
    return principal;
  }

  /** A token that names no key is tried with each that could fit. */
  private async claimsOf(token: string): Promise<JWTPayload> {
    try {
      return (await jwtVerify(token, this.keys.find, this.options)).payload;
    } catch (error) {
      if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
      for await (const key of error) {
        try {
          return (await jwtVerify(token, key, this.options)).payload;
        } catch (failure) {
          if (!(failure instanceof errors.JWSSignatureVerificationFailed)) throw failure;
        }
      }
      throw new errors.JWSSignatureVerificationFailed();
    }
  }
}

/** The refusal for an error of jose. Names claims only when the signature is good. */
function refusalOf(error: unknown): AppError {
  return invalidToken(...reasonAndDescriptionOf(error), error);
}

function reasonAndDescriptionOf(error: unknown): [AuthFailureReason, string] {
  if (error instanceof errors.JWTExpired) return ['expired', 'The token has expired.'];
  if (error instanceof errors.JWTClaimValidationFailed) return claimFailureOf(error);
  const description = 'The token is not valid.';
  if (error instanceof errors.JWSSignatureVerificationFailed) return ['signature', description];
  if (error instanceof errors.JWKSNoMatchingKey) return ['unknown_key', description];
  const isOfAlgorithm =
    error instanceof errors.JOSEAlgNotAllowed || error instanceof errors.JOSENotSupported;
  return [isOfAlgorithm ? 'algorithm' : 'malformed', description];
}

function claimFailureOf({
  claim,
  reason,
}: errors.JWTClaimValidationFailed): [AuthFailureReason, string] {
  switch (claim) {
    case 'nbf':
      return reason === 'check_failed'
        ? ['not_yet_valid', 'The token is not valid yet.']
        : ['claims', 'The token has no usable nbf claim.'];
    case 'iss':
      return ['issuer', 'The token is from another issuer.'];
    case 'aud':
      return ['audience', 'The token is for another audience.'];
    case 'sub':
    case 'exp':
      return ['claims', `The token has no usable ${claim} claim.`];
    default:
      return ['claims', 'The token is not valid.'];
  }
}

/** Node's limit for all headers of a request is the same 16 KiB. */
const MAX_TOKEN_CHARACTERS = 16_384;

/**
 * Refused header parameters: critical extensions (none is supported), a key, and `b64`, of the signed bytes. Others that
 * issuers send (`jku`, `x5u`, `x5c`, `x5t`) are neither read nor fetched: the configured keys alone verify.
 */
const REFUSED_PARAMETERS = ['crit', 'b64', 'jwk'];

/**
 * The unchecked token; its scheme may be in any case. UNAUTHENTICATED without one, for another scheme, above 16 KiB.
 */
export function bearerToken(authorization: string | undefined): string {
  const scheme = authorization?.slice(0, 7).toLowerCase();
  if (authorization === undefined || (scheme !== 'bearer ' && scheme !== 'bearer')) {
    throw tokenRequired();
  }
  const token = authorization.slice(7).trim();
  if (token.length > MAX_TOKEN_CHARACTERS)
    throw invalidToken('malformed', 'The token is too long.');
  return token;
}

/**
 * Refuses, without a key, all but three canonical base64url segments, and headers that are no object or hold a refused
 * parameter. Lenient decoders ignore surplus bits in a segment's last character: several texts would be one token.
 */
function checkTokenForm(token: string): void {
  if (token === '' || /\s/.test(token)) {
    throw invalidToken('malformed', 'The Authorization header must hold exactly one bearer token.');
  }
  const segments = token.split('.');
  const [header] = segments;
  if (header === undefined || segments.length !== 3 || !segments.every(isCanonicalBase64url)) {
    throw invalidToken('malformed', 'The token is malformed.');
  }
  const parameters = parseObject(header);
  if (parameters === undefined) throw invalidToken('malformed', 'The token is malformed.');
  if (REFUSED_PARAMETERS.some((name) => Object.hasOwn(parameters, name))) {
    throw invalidToken('malformed', 'The token has a header parameter that is not accepted.');
  }
}

function isCanonicalBase64url(segment: string): boolean {
  return segment !== '' && Buffer.from(segment, 'base64url').toString('base64url') === segment;
}

function parseObject(segment: string): object | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(segment, 'base64url').toString('utf8'));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
