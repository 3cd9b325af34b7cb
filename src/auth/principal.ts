import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { insufficientScope } from './challenge';
import { AppError, internalError } from '../platform/errors/app-error';

export const SCOPES = [
  'audit:read',
  'audit:write',
  'audit:export',
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
  scopes: ReadonlySet<string>;
  organizations: Organizations;
  /** The token has no claim of organizations: unlike an empty list, most often a fault of the identity provider. */
  namesNoOrganizations?: boolean;
  expiresAtMs: number;
}

/** Canonical form: each id once, in code unit order. */
export function canonicalOrganizations(ids: readonly string[]): readonly string[] {
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
