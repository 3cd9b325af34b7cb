import type { AuthConfig } from '../platform/config/auth.config';
import { JwksFileKeys } from './jwks-file-keys';
import { JwksUrlKeys } from './jwks-url-keys';
import type { VerificationKeys } from './verification-keys';

/** The configured keys, not read before the first token. */
export function configuredKeys(keys: AuthConfig['keys']): VerificationKeys {
  switch (keys.kind) {
    case 'secret': {
      const secret = new TextEncoder().encode(keys.secret);
      return { find: () => Promise.resolve(secret), trustedUntilMs: () => Infinity };
    }
    case 'jwks-url':
      return new JwksUrlKeys(keys.url);
    case 'jwks-file':
      return new JwksFileKeys(keys.path);
  }
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
