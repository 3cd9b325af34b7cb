import { SignJWT } from 'jose';
import { wallClockMs } from '../platform/runtime/clocks';
import type { AuthConfig } from '../platform/config/settings';
import { usableAlgorithms } from './verification-keys';
import { SCOPES, type Scope } from './principal';

/** Claims of a developer's token. `expiresInSeconds` counts from now. */
export interface DevelopmentClaims {
  subject: string;
  organizations: readonly string[];
  scopes: readonly Scope[];
  expiresInSeconds: number;
}

/** Every scope and one organization for half a day. */
export const DEVELOPMENT_CLAIMS: DevelopmentClaims = {
  subject: 'developer',
  organizations: ['org-1'],
  scopes: SCOPES,
  expiresInSeconds: 12 * 60 * 60,
};

/** Signs a JWT with the configured secret. Rejects with a key set, which has no private key. */
export async function signDevelopmentToken(
  config: AuthConfig,
  claims: DevelopmentClaims = DEVELOPMENT_CLAIMS,
): Promise<string> {
  if (config.keys.kind !== 'secret') {
    throw new Error(
      'Tokens are verified with a JSON Web Key Set here, so only its issuer can sign one: there is no secret to sign with.',
    );
  }
  const [algorithm = 'HS256'] = usableAlgorithms(config);
  const nowSeconds = Math.floor(wallClockMs() / 1000);
  const token = new SignJWT({
    scope: claims.scopes.join(' '),
    organizations: [...claims.organizations],
  })
    .setProtectedHeader({ alg: algorithm, typ: 'JWT' })
    .setSubject(claims.subject)
    .setIssuedAt(nowSeconds)
    .setExpirationTime(nowSeconds + claims.expiresInSeconds);
  if (config.issuer !== undefined) token.setIssuer(config.issuer);
  if (config.audience !== undefined) token.setAudience(config.audience);
  return token.sign(new TextEncoder().encode(config.keys.secret));
}
