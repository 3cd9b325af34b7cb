import { SignJWT } from 'jose';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { AppError } from '../platform/errors/app-error';
import { writeProblem } from '../platform/errors/problem';
import { wallClockMs } from '../platform/runtime/clocks';
import type { AuthConfig, ClaimPath } from '../platform/config/settings';
import { DEFAULT_ORGANIZATION_CLAIMS, DEFAULT_SCOPE_CLAIMS, SCOPES, type Scope } from './principal';
import { usableAlgorithms } from './verification-keys';

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
  const [scopeClaim] = config.scopeClaims ?? DEFAULT_SCOPE_CLAIMS;
  const [organizationClaim] = config.organizationClaims ?? DEFAULT_ORGANIZATION_CLAIMS;
  const payload: Nested = {};
  if (scopeClaim) put(payload, scopeClaim, claims.scopes.join(' '));
  if (organizationClaim) put(payload, organizationClaim, [...claims.organizations]);
  const token = new SignJWT(payload)
    .setProtectedHeader({ alg: algorithm, typ: 'JWT' })
    .setSubject(claims.subject)
    .setIssuedAt(nowSeconds)
    .setExpirationTime(nowSeconds + claims.expiresInSeconds);
  const [issuer] = config.issuers ?? [];
  const [audience] = config.audiences ?? [];
  if (issuer !== undefined) token.setIssuer(issuer);
  if (audience !== undefined) token.setAudience(audience);
  return token.sign(new TextEncoder().encode(config.keys.secret));
}

const LOOPBACK = new Set(['127.0.0.1', '::1', '::ffff:127.0.0.1']);
const LOCAL_HOST = /^(?:localhost|127\.0\.0\.1|\[::1\])(?::\d+)?$/i;

/**
 * True for a page of this service in a browser of this machine. Neither a proxy, nor a page of another origin, nor one
 * whose name resolves to this machine (DNS rebinding) is given a token.
 */
function isLocalPage({ headers, socket }: IncomingMessage): boolean {
  const { host = '', origin, 'sec-fetch-site': site = 'same-origin' } = headers;
  const isForwarded = headers['x-forwarded-for'] !== undefined || headers.forwarded !== undefined;
  const isLocal = LOOPBACK.has(socket.remoteAddress ?? '') && LOCAL_HOST.test(host);
  return isLocal && !isForwarded && origin === undefined && site === 'same-origin';
}

/** Serves `{ token }` to the pages of this service, GraphiQL and the API reference, on this machine. For the profile `development` alone. */
export function developmentTokenRoute(config: AuthConfig) {
  return (request: IncomingMessage, response: ServerResponse): void => {
    const fail = (error: unknown): void => writeProblem(error, request, response);
    if (config.keys.kind !== 'secret' || !isLocalPage(request)) {
      return fail(new AppError('NOT_FOUND', 'A token is given to a page on this machine alone.'));
    }
    signDevelopmentToken(config).then((token) => {
      response.setHeader('Content-Type', 'application/json; charset=utf-8');
      response.setHeader('Cache-Control', 'no-store');
      response.end(JSON.stringify({ token }));
    }, fail);
  };
}

interface Nested {
  [name: string]: unknown;
}

/** Both claims may be in one object, such as `resource_access`. */
function put(claims: Nested, path: ClaimPath, value: unknown): void {
  const [name = '', ...rest] = path;
  if (rest.length === 0) claims[name] = value;
  else put((claims[name] ??= {}) as Nested, rest, value);
}
