import { Inject, Injectable, type OnModuleDestroy } from '@nestjs/common';
import { errors, jwtVerify, type JWTPayload, type JWTVerifyOptions } from 'jose';
import { wallClockMs } from '../platform/runtime/clocks';
import { authConfig, type AuthConfig } from '../platform/config/auth.config';
import { AppError } from '../platform/errors/app-error';
import { bearerToken, checkTokenForm } from './bearer-token';
import { invalidToken } from './challenge';
import { configuredKeys, usableAlgorithms } from './configured-keys';
import type { Principal } from './principal';
import { principalOf } from './token-claims';
import { VerifiedTokenCache } from './verified-token-cache';
import { type KeyDependents, WatchedKeys } from './watched-keys';

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

  constructor(@Inject(authConfig.KEY) config: AuthConfig) {
    const intervalMs = 1000 * (config.jwksRefreshSeconds ?? DEFAULT_REFRESH_SECONDS);
    this.keys = new WatchedKeys(configuredKeys(config.keys), intervalMs, {
      exist: () => this.verified.size > 0 || this.dependents.some(({ exist }) => exist()),
      onChange: (isOutage) => this.onKeysChanged(isOutage),
    });
    this.options = {
      algorithms: usableAlgorithms(config),
      issuer: config.issuer,
      audience: config.audience,
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
      if (error instanceof errors.JWTExpired) return invalidToken(descriptionOf(error));
      if (!(error instanceof AppError)) {
        return invalidToken('The key that signed the token has been withdrawn.', error);
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
      throw error instanceof AppError ? error : invalidToken(descriptionOf(error), error);
    });
    const principal = principalOf(claims);
    if (principal.expiresAtMs <= wallClockMs()) throw invalidToken('The token has expired.');
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

/** Names claims only when the signature is good. */
function descriptionOf(error: unknown): string {
  if (error instanceof errors.JWTExpired) return 'The token has expired.';
  if (!(error instanceof errors.JWTClaimValidationFailed)) return 'The token is not valid.';
  switch (error.claim) {
    case 'nbf':
      return error.reason === 'check_failed'
        ? 'The token is not valid yet.'
        : 'The token has no usable nbf claim.';
    case 'iss':
      return 'The token is from another issuer.';
    case 'aud':
      return 'The token is for another audience.';
    case 'sub':
    case 'exp':
      return `The token has no usable ${error.claim} claim.`;
    default:
      return 'The token is not valid.';
  }
}
