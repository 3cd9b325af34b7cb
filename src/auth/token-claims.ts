import { invalidToken } from './challenge';
import { canonicalOrganizations, type Organizations, type Principal } from './principal';

/** The last instant of a Date: a later expiry is no date. */
const MAX_DATE_MS = 8.64e15;

/** Ids are columns of 255 characters. */
const MAX_ID_CHARACTERS = 255;

/** Claims of a valid signature, with unchecked types. */
export type VerifiedClaims = Readonly<Record<string, unknown>>;

/** The principal; UNAUTHENTICATED for missing or mistyped claims. */
export function principalOf(claims: VerifiedClaims): Principal {
  const { sub, exp } = claims;
  if (!isId(sub)) throw invalidToken('The token has no usable sub claim.');
  if (typeof exp !== 'number' || !(exp * 1000 <= MAX_DATE_MS)) {
    throw invalidToken('The token has no usable exp claim.');
  }
  return Object.freeze({
    subject: sub,
    scopes: scopesOf(claims),
    organizations: organizationsOf(claims),
    expiresAtMs: exp * 1000,
  });
}

function scopesOf({ scope = '' }: VerifiedClaims): ReadonlySet<string> {
  if (typeof scope !== 'string') throw invalidToken('The token has no usable scope claim.');
  return new Set(scope.split(' ').filter((name) => name !== ''));
}

function organizationsOf({ organizations = [] }: VerifiedClaims): Organizations {
  if (!Array.isArray(organizations) || !organizations.every(isId)) {
    throw invalidToken('The token has no usable organizations claim.');
  }
  if (organizations.includes('*')) return '*';
  return Object.freeze(canonicalOrganizations(organizations));
}

/** Columns and log lines hold neither NUL nor half a surrogate pair. */
function isId(value: unknown): value is string {
  return (
    typeof value === 'string' &&
    value !== '' &&
    value.length <= MAX_ID_CHARACTERS &&
    !/[\0\p{Cs}]/u.test(value)
  );
}
