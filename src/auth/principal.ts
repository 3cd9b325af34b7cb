import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { createHash } from 'node:crypto';
import { insufficientScope, invalidToken } from './challenge';
import type { AuthConfig, ClaimPath } from '../platform/config/settings';
import { AppError, internalError } from '../platform/errors/app-error';

export const SCOPES = [
  'audit:read',
  'audit:write',
  'audit:export',
  'schemas:manage',
  'performance:read',
  'performance:manage',
] as const;

/** A permission; tokens may hold others. */
export type Scope = (typeof SCOPES)[number];

/** Ids of organizations, or `*` for all (operators). */
export type Organizations = readonly string[] | '*';

/**
 * The caller of a verified token. Immutable, as requests with the same token share it. `expiresAtMs` (milliseconds
 * since 1970) is for work that outlives its request (subscriptions).
 */
export interface Principal {
  subject: string;
  /** Claim `iss`; undefined in a token without one. */
  issuer?: string;
  /** Values of AUTH_TENANT_CLAIMS; undefined in a token without any. */
  tenant?: string;
  scopes: ReadonlySet<string>;
  organizations: Organizations;
  /** The token has no claim of organizations: unlike an empty list, most often a fault of the identity provider. */
  namesNoOrganizations?: boolean;
  expiresAtMs: number;
}

/** Ids are columns of 255 characters. */
const MAX_ID_CHARACTERS = 255;

/** Part of a principal that separates it from those of other issuers and tenants. */
export type Identity = Pick<Principal, 'subject' | 'issuer' | 'tenant'>;

/**
 * Key of a principal's quotas, of 512 characters at most: a subject is unique within its issuer and tenant only. Unique,
 * as none of the parts is empty or contains NUL; long ones stand as their SHA-256.
 */
export function principalKey(identity: Identity): string {
  const { subject, issuer, tenant } = identity;
  if (issuer === undefined && tenant === undefined) return subject;
  const scope = `${issuer ?? ''}\0${tenant ?? ''}`;
  if (scope.length <= MAX_ID_CHARACTERS) return `${subject}\0${scope}`;
  return `${subject}\0${principalScope(identity).toString('base64url')}`;
}

/** SHA-256 of issuer and tenant, which may be too long for an index: with the subject the key of a principal in tables. */
export function principalScope({ issuer, tenant }: Omit<Identity, 'subject'>): Buffer {
  return createHash('sha256')
    .update(`${issuer ?? ''}\0${tenant ?? ''}`)
    .digest();
}

/** Canonical form: each id once, in code unit order. */
function canonicalOrganizations(ids: readonly string[]): readonly string[] {
  const canonical = ids.every((id, index) => {
    const previous = ids[index - 1];
    return previous === undefined || previous < id;
  });
  return canonical ? ids : [...new Set(ids)].sort();
}

/**
 * The requested organizations, else all of the caller's, in canonical form for cache keys and cursors. FORBIDDEN for
 * others, in the same words whether they exist or not.
 */
export function resolveOrganizations(
  principal: Principal,
  asked: readonly string[] | undefined,
): Organizations {
  requireOrganizations(principal);
  const mine = principal.organizations;
  if (asked === undefined || asked.length === 0) {
    return mine === '*' ? mine : canonicalOrganizations(mine);
  }
  if (mine === '*') return asked.includes('*') ? '*' : canonicalOrganizations(asked);
  if (!asked.every((id) => mine.includes(id))) {
    throw new AppError('FORBIDDEN', 'The token does not cover every organization asked for.');
  }
  return canonicalOrganizations(asked);
}

/**
 * Throws FORBIDDEN for a token without a claim of organizations, whose reader would otherwise take an empty page or
 * export for complete.
 */
export function requireOrganizations({ namesNoOrganizations }: Principal): void {
  if (!namesNoOrganizations) return;
  throw new AppError(
    'FORBIDDEN',
    'The token has no claim that names organizations, so it gives access to no events. See AUTH_ORGANIZATION_CLAIMS.',
  );
}

/** True for the caller's organizations; scopes are checked elsewhere. */
export function mayWrite(principal: Principal, organizationId: string): boolean {
  return principal.organizations === '*' || principal.organizations.includes(organizationId);
}

/** Throws FORBIDDEN with RFC 6750's challenge unless all scopes are held. */
export function requireScopes(principal: Principal, needed: readonly Scope[]): void {
  if (!needed.every((scope) => principal.scopes.has(scope))) throw insufficientScope(needed);
}

/** A request as authentication reads and marks it. */
export interface AuthenticatedRequest {
  url?: string;
  headers: { authorization?: string };
  principal?: Principal;
}

/** The principal; INTERNAL on a public route, which has none. */
export function principalOfContext(context: ExecutionContext): Principal {
  const { principal } = context.switchToHttp().getRequest<AuthenticatedRequest>();
  if (!principal) {
    throw internalError(new Error(`${context.getHandler().name} wants a principal but is public.`));
  }
  return principal;
}

/** Parameter decorator for the Principal, not for public routes. */
export const CurrentPrincipal = createParamDecorator((_data: unknown, context: ExecutionContext) =>
  principalOfContext(context),
);

/** The last instant of a Date: a later expiry is no date. */
const MAX_DATE_MS = 8.64e15;
/** Claims of a valid signature, with unchecked types. */
type VerifiedClaims = Readonly<Record<string, unknown>>;

export const DEFAULT_SCOPE_CLAIMS: readonly ClaimPath[] = [['scope'], ['scp']];
export const DEFAULT_ORGANIZATION_CLAIMS: readonly ClaimPath[] = [['organizations']];
const DEFAULT_TENANT_CLAIMS: readonly ClaimPath[] = [['tid']];

/** The principal; UNAUTHENTICATED for missing or mistyped claims. */
export function principalOf(claims: VerifiedClaims, config: AuthConfig): Principal {
  const { sub, exp, iss } = claims;
  if (!isId(sub)) throw invalidToken('claims', 'The token has no usable sub claim.');
  if (iss !== undefined && !isName(iss)) {
    throw invalidToken('claims', 'The token has no usable iss claim.');
  }
  if (typeof exp !== 'number' || !(exp * 1000 <= MAX_DATE_MS)) {
    throw invalidToken('claims', 'The token has no usable exp claim.');
  }
  const paths = config.organizationClaims ?? DEFAULT_ORGANIZATION_CLAIMS;
  const organizations = organizationsOf(claims, paths);
  const tenant = tenantOf(claims, config.tenantClaims ?? DEFAULT_TENANT_CLAIMS);
  return Object.freeze({
    subject: sub,
    ...(iss === undefined ? {} : { issuer: iss }),
    ...(tenant === undefined ? {} : { tenant }),
    scopes: scopesOf(claims, config.scopeClaims ?? DEFAULT_SCOPE_CLAIMS),
    organizations: organizations ?? [],
    ...(organizations ? {} : { namesNoOrganizations: true }),
    expiresAtMs: exp * 1000,
  });
}

/**
 * The values of all the claims, undefined when the token has none of them. `valuesOf` is undefined for a value that is
 * no list of names: UNAUTHENTICATED.
 */
function valuesAt(
  claims: VerifiedClaims,
  paths: readonly ClaimPath[],
  valuesOf: (value: unknown) => readonly string[] | undefined,
): string[] | undefined {
  let all: string[] | undefined;
  for (const path of paths) {
    let value: unknown = claims;
    for (const name of path) {
      value = isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;
    }
    if (value === undefined) continue;
    const values = valuesOf(value);
    if (!values) throw invalidToken('claims', `The token has no usable ${path.join('.')} claim.`);
    all = all ? [...all, ...values] : [...values];
  }
  return all;
}

/** Names in one text, as RFC 9068 has it, or in a list. */
function scopesOf(claims: VerifiedClaims, paths: readonly ClaimPath[]): ReadonlySet<string> {
  const names = valuesAt(claims, paths, (value) => {
    const texts: unknown[] = Array.isArray(value) ? value : [value];
    if (!texts.every((text) => typeof text === 'string')) return undefined;
    return texts.flatMap((text) => text.split(' ')).filter((name) => name !== '');
  });
  return new Set(names);
}

/** The text of the only claim; a list of texts as JSON for several, so that those of different claims differ. */
function tenantOf(claims: VerifiedClaims, paths: readonly ClaimPath[]): string | undefined {
  const texts = paths.map((path) => {
    const values = valuesAt(claims, [path], (value) => (isName(value) ? [value] : undefined));
    return values?.[0];
  });
  if (texts.length === 1) return texts[0];
  return texts.some((text) => text !== undefined) ? JSON.stringify(texts) : undefined;
}

/** One id, a list, or an object of objects by id (Keycloak). An id may contain spaces. */
function organizationsOf(
  claims: VerifiedClaims,
  paths: readonly ClaimPath[],
): Organizations | undefined {
  const ids = valuesAt(claims, paths, (value) => {
    const list: unknown[] = Array.isArray(value)
      ? value
      : isObject(value) && Object.values(value).every(isObject)
        ? Object.keys(value)
        : [value];
    return list.every(isId) ? list : undefined;
  });
  if (ids?.includes('*')) return '*';
  return ids && Object.freeze(canonicalOrganizations(ids));
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isId(value: unknown): value is string {
  return isName(value) && value.length <= MAX_ID_CHARACTERS;
}

/** Columns and log lines hold neither NUL nor half a surrogate pair. */
function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && !/[\0\p{Cs}]/u.test(value);
}
