import { invalidToken, tokenRequired } from './challenge';

/** Node's limit for all headers of a request is the same 16 KiB. */
const MAX_TOKEN_CHARACTERS = 16_384;

/**
 * Refused header parameters: critical extensions (none is supported), choices of the key, and `b64`, of the signed
 * bytes.
 */
const REFUSED_PARAMETERS = ['crit', 'b64', 'jwk', 'jku', 'x5u', 'x5c'];

const SEGMENT = /^[A-Za-z0-9_-]+$/;

/**
 * The unchecked token; its scheme may be in any case. UNAUTHENTICATED without one, for another scheme, above 16 KiB.
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
 * Refuses, without a key, all but three canonical base64url segments, and headers that are no object or hold a refused
 * parameter. Lenient decoders ignore surplus bits in a segment's last character: several texts would be one token.
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
