import type { IncomingMessage } from 'node:http';
import { requireScopes, type Principal, type Scope } from './principal';
import type { TokenVerifier } from './token-verifier';

/**
 * Whose request it is, when that can be told at once: the token was verified before and has the scopes. Undefined for
 * everything else, also for refusals; the ordinary path answers those.
 */
export function knownPrincipal(
  verifier: TokenVerifier,
  request: IncomingMessage,
  scopes: readonly Scope[],
): Principal | undefined {
  try {
    const principal = verifier.verify(request.headers.authorization);
    if (principal instanceof Promise) {
      principal.catch(() => undefined); // the ordinary path will meet the same refusal
      return undefined;
    }
    requireScopes(principal, scopes);
    return principal;
  } catch {
    return undefined;
  }
}
