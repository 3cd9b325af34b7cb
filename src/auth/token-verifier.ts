import { Inject, Injectable } from '@nestjs/common';
import { errors, jwtVerify, type JWTPayload, type JWTVerifyOptions } from 'jose';
import { wallClockMs } from '../clock/clocks';
import { authConfig, type AuthConfig } from '../config/auth.config';
import { AppError } from '../errors/app-error';
import { bearerToken, checkTokenForm } from './bearer-token';
import { invalidToken } from './challenge';
import { configuredKeys, usableAlgorithms } from './configured-keys';
import type { Principal } from './principal';
import { principalOf } from './token-claims';
import type { VerificationKeys } from './verification-keys';
import { VerifiedTokenCache } from './verified-token-cache';

/**
 * How far ahead an issuer's clock may be, in seconds. It is granted to `nbf` alone: there it keeps fresh tokens from
 * being refused. An expired token gets no grace, as its holder can renew it and nobody gains by using it on.
 */
const NOT_BEFORE_TOLERANCE_SECONDS = 5;

/**
 * Tells who sends a request from its Authorization header. A token seen before costs a map lookup and is answered
 * without a promise; its expiry is looked at on each use.
 */
@Injectable()
export class TokenVerifier {
  private readonly keys: VerificationKeys;
  private readonly options: JWTVerifyOptions;
  private readonly verified = new VerifiedTokenCache();

  constructor(@Inject(authConfig.KEY) config: AuthConfig) {
    this.keys = configuredKeys(config.keys);
    this.options = {
      algorithms: usableAlgorithms(config),
      issuer: config.issuer,
      audience: config.audience,
      requiredClaims: ['sub', 'exp'],
      clockTolerance: NOT_BEFORE_TOLERANCE_SECONDS,
    };
  }

  /**
   * The principal of an `Authorization: Bearer …` header. Fails, at once or by rejecting, with UNAUTHENTICATED and a
   * `WWW-Authenticate` challenge, or with AUTHENTICATION_UNAVAILABLE while the keys cannot be had.
   */
  verify(authorization: string | undefined): Principal | Promise<Principal> {
    const token = bearerToken(authorization);
    return this.verified.get(token) ?? this.verifyUnknown(token);
  }

  private async verifyUnknown(token: string): Promise<Principal> {
    checkTokenForm(token);
    const claims = await this.claimsOf(token).catch((error: unknown) => {
      throw error instanceof AppError ? error : invalidToken(descriptionOf(error), error);
    });
    const principal = principalOf(claims);
    if (principal.expiresAtMs <= wallClockMs()) throw invalidToken('The token has expired.');
    this.verified.set(token, {
      principal,
      notBeforeMs: ((claims.nbf ?? 0) - NOT_BEFORE_TOLERANCE_SECONDS) * 1000,
      notAfterMs: principal.expiresAtMs,
      trustedUntilMs: this.keys.trustedUntilMs(),
    });
    return principal;
  }

  /** Checks signature, times, issuer and audience. A token that names no key is tried with each that could fit. */
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

/** What the caller is told about a refused token. Claims are only spoken of once the signature was good. */
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
