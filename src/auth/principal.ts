import { AppError } from '../platform/errors/app-error';
import { insufficientScope } from './challenge';

/** Every scope this service knows, in the order a developer's token lists them. */
export const SCOPES = [
  'audit:read',
  'audit:write',
  'audit:export',
  'performance:read',
  'performance:manage',
] as const;

/** A permission a route can ask for. A token may hold others; nothing here asks for them. */
export type Scope = (typeof SCOPES)[number];

/** The organizations a caller may see: their ids, or `*` for all of them (operators). */
export type Organizations = readonly string[] | '*';

/**
 * Who is asking, as a verified token says. One object serves every request that brings the same token, so it is
 * never changed. `expiresAtMs` is in milliseconds since 1970, for work that outlives its request (subscriptions).
 */
export interface Principal {
  subject: string;
  scopes: ReadonlySet<string>;
  organizations: Organizations;
  expiresAtMs: number;
}

/** The ids in one canonical form: each once, in code unit order. An already canonical list is returned as it is. */
export function canonicalOrganizations(ids: readonly string[]): readonly string[] {
  const canonical = ids.every((id, index) => {
    const previous = ids[index - 1];
    return previous === undefined || previous < id;
  });
  return canonical ? ids : [...new Set(ids)].sort();
}

/**
 * The organizations a read covers: those asked for, or all of the caller's when none are. Sorted and without
 * duplicates, so that the answer can be part of a cache key or a cursor. Asking for one that is not the caller's is
 * FORBIDDEN, in the same words whether it exists or not.
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

/** Whether the caller may write events of this organization. The scope is a separate question. */
export function mayWrite(principal: Principal, organizationId: string): boolean {
  return principal.organizations === '*' || principal.organizations.includes(organizationId);
}

/** Passes when the caller holds every scope; otherwise FORBIDDEN with the challenge of RFC 6750. */
export function requireScopes(principal: Principal, needed: readonly Scope[]): void {
  if (!needed.every((scope) => principal.scopes.has(scope))) throw insufficientScope(needed);
}
