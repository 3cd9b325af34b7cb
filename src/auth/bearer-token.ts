import { invalidToken, tokenRequired } from './challenge';

/** Longest token; Node's own limit for all headers of a request is the same 16 KiB. */
const MAX_TOKEN_CHARACTERS = 16_384;

/**
 * Header parameters of tokens that are always refused: critical extensions (none is supported) and those by which a token
 * could choose the key it is verified with, or (`b64`) what its signature covers.
 */
const REFUSED_PARAMETERS = ['crit', 'b64', 'jwk', 'jku', 'x5u', 'x5c'];

const SEGMENT = /^[A-Za-z0-9_-]+$/;

/**
 * The token of an Authorization header, whose form is not checked; the scheme may be in any case. UNAUTHENTICATED when there
 * is none, when the scheme is another one, and for a token longer than 16 KiB.
 */
export function bearerToken(authorization: string | undefined): string {
  const scheme = authorization?.slice(0, 7).toLowerCase();
  if (authorization === undefined || (scheme !== 'bearer ' && scheme !== 'bearer')) {
    throw tokenRequired();
  }
  const token = authorization.slice(7).trim();
  if (token.length > MAX_TOKEN_CHARACTERS) throw invalidToken('The token is too long.');
  return token;
}

/**
 * Refuses tokens that need no key for that: all but one of three canonical base64url segments, and headers that are not an
 * object or hold a refused parameter. Lenient decoders ignore surplus bits in the last character of a segment, and then
 * several texts would be the same token.
 */
export function checkTokenForm(token: string): void {
  if (token === '' || /\s/.test(token)) {
    throw invalidToken('The Authorization header must hold exactly one bearer token.');
  }
  const segments = token.split('.');
  const [header] = segments;
  if (header === undefined || segments.length !== 3 || !segments.every(isCanonicalBase64url)) {
    throw invalidToken('The token is malformed.');
  }
  const parameters = parseObject(header);
  if (parameters === undefined) throw invalidToken('The token is malformed.');
  if (REFUSED_PARAMETERS.some((name) => Object.hasOwn(parameters, name))) {
    throw invalidToken('The token has a header parameter that is not accepted.');
  }
}

function isCanonicalBase64url(segment: string): boolean {
  return (
    SEGMENT.test(segment) && Buffer.from(segment, 'base64url').toString('base64url') === segment
  );
}

function parseObject(segment: string): object | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(segment, 'base64url').toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
