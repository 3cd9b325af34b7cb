import { AppError } from '../platform/errors/app-error';
import { insufficientScope } from './challenge';

/** All scopes, in the order of a developer's token. */
export const SCOPES = [
  'audit:read',
  'audit:write',
  'audit:export',
  'performance:read',
  'performance:manage',
] as const;

/** A permission that a route can require. A token may hold others. */
export type Scope = (typeof SCOPES)[number];

/** The organizations of a caller: their ids, or `*` for all (operators). */
export type Organizations = readonly string[] | '*';

/**
 * The caller, by its verified token. One object serves all requests with the same token, so it is never changed.
 * `expiresAtMs` is in milliseconds since 1970, for work that outlives its request (subscriptions).
 */
export interface Principal {
  subject: string;
  scopes: ReadonlySet<string>;
  organizations: Organizations;
  expiresAtMs: number;
}

/** The ids in canonical form: each once, in code unit order. */
export function canonicalOrganizations(ids: readonly string[]): readonly string[] {
  const canonical = ids.every((id, index) => {
    const previous = ids[index - 1];
    return previous === undefined || previous < id;
  });
  return canonical ? ids : [...new Set(ids)].sort();
}

/**
 * The organizations of a read: those asked for, else all of the caller's. In canonical form, so that they can be part of a
 * cache key or a cursor. Another one is FORBIDDEN, in the same words whether it exists or not.
 */
export function resolveOrganizations(
  principal: Principal,
  asked: readonly string[] | undefined,
): Organizations {
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

/** Whether the caller may write events of this organization, if it has the scope. */
export function mayWrite(principal: Principal, organizationId: string): boolean {
  return principal.organizations === '*' || principal.organizations.includes(organizationId);
}

/** Passes when the caller holds every scope; otherwise FORBIDDEN with the challenge of RFC 6750. */
export function requireScopes(principal: Principal, needed: readonly Scope[]): void {
  if (!needed.every((scope) => principal.scopes.has(scope))) throw insufficientScope(needed);
}
