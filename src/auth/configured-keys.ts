import type { AuthConfig } from '../platform/config/auth.config';
import { JwksFileKeys } from './jwks-file-keys';
import { JwksUrlKeys } from './jwks-url-keys';
import type { VerificationKeys } from './verification-keys';

/** The configured source of keys, which is not read before the first token arrives. */
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
 * The configured algorithms that suit the kind of key: HMAC with a secret, signatures with a key set. So a public
 * key can never serve as an HMAC secret, whatever the configuration lists. Throws, at boot, when none is left.
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
