import fc from 'fast-check';
import { AppError } from '../platform/errors/app-error';
import {
  mayWrite,
  principalKey,
  requireScopes,
  resolveOrganizations,
  type Organizations,
  type Principal,
} from './principal';

function principal(organizations: Organizations, ...scopes: string[]): Principal {
  return { subject: 'alice', scopes: new Set(scopes), organizations, expiresAtMs: 1 };
}

function failureOf(action: () => unknown): AppError {
  try {
    action();
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error('Nothing was thrown');
}

const ids = fc.array(fc.string({ minLength: 1 }).filter((id) => id !== '*'));

describe('resolveOrganizations', () => {
  it.each([[undefined], [[]]])('means all of mine when asked for %p', (asked) => {
    expect(resolveOrganizations(principal(['b', 'a', 'b']), asked)).toEqual(['a', 'b']);
    expect(resolveOrganizations(principal('*'), asked)).toBe('*');
    expect(resolveOrganizations(principal([]), asked)).toEqual([]);
  });

  it('sorts what was asked for and names it once, so that it can be part of a key', () => {
    expect(resolveOrganizations(principal(['a', 'b', 'c']), ['c', 'a', 'c'])).toEqual(['a', 'c']);
    expect(resolveOrganizations(principal('*'), ['c', 'a', 'c'])).toEqual(['a', 'c']);
  });

  it('refuses another organization in words that tell nothing about it', () => {
    const one = failureOf(() => resolveOrganizations(principal(['a']), ['a', 'secret']));
    const other = failureOf(() => resolveOrganizations(principal(['a']), ['nowhere']));
    expect(one.code).toBe('FORBIDDEN');
    expect(one.detail).toBe(other.detail);
    expect(one.detail).not.toContain('secret');
  });

  it('lets only an operator ask for all by name', () => {
    expect(resolveOrganizations(principal('*'), ['*'])).toBe('*');
    expect(failureOf(() => resolveOrganizations(principal(['a']), ['*'])).code).toBe('FORBIDDEN');
  });

  it('never yields an organization that is not the caller’s', () => {
    fc.assert(
      fc.property(ids, ids, (mine, asked) => {
        const foreign = asked.some((id) => !mine.includes(id));
        if (foreign) {
          expect(failureOf(() => resolveOrganizations(principal(mine), asked)).code).toBe(
            'FORBIDDEN',
          );
        } else {
          const wanted = asked.length > 0 ? asked : mine;
          expect(resolveOrganizations(principal(mine), asked)).toEqual([...new Set(wanted)].sort());
        }
      }),
    );
  });
});

describe('principalKey', () => {
  const name = fc
    .oneof(fc.constantFrom('a', 'b'), fc.string({ minLength: 1, maxLength: 600 }))
    .map((text) => text.replaceAll('\0', '0'));
  const identity = fc.record({
    subject: name.map((text) => text.slice(0, 255)),
    issuer: fc.option(name, { nil: undefined }),
    tenant: fc.option(name, { nil: undefined }),
  });

  it('is equal for the same issuer, tenant and subject alone', () => {
    fc.assert(
      fc.property(identity, identity, (one, other) => {
        const areSame =
          one.subject === other.subject &&
          one.issuer === other.issuer &&
          one.tenant === other.tenant;
        expect(principalKey(one) === principalKey(other)).toBe(areSame);
        expect(principalKey(one)).toBe(principalKey({ ...one }));
      }),
    );
  });

  it('is short, however long an issuer is', () => {
    const issuer = `https://${'a'.repeat(10_000)}`;
    const subject = 's'.repeat(255);
    expect(principalKey({ subject, issuer }).length).toBeLessThanOrEqual(512);
    expect(principalKey({ subject, issuer })).not.toBe(
      principalKey({ subject, issuer: `${issuer}b` }),
    );
    expect(principalKey({ subject, issuer })).not.toBe(principalKey({ subject, tenant: issuer }));
  });
});

describe('mayWrite', () => {
  it('is true for my own organizations and, for an operator, for every one', () => {
    expect(mayWrite(principal(['a']), 'a')).toBe(true);
    expect(mayWrite(principal(['a']), 'b')).toBe(false);
    expect(mayWrite(principal([]), 'a')).toBe(false);
    expect(mayWrite(principal('*'), 'b')).toBe(true);
  });
});

describe('requireScopes', () => {
  it('passes only when every scope is held, and otherwise lists all that are needed', () => {
    const reader = principal([], 'audit:read');
    expect(() => requireScopes(reader, ['audit:read'])).not.toThrow();
    const error = failureOf(() => requireScopes(reader, ['audit:read', 'audit:write']));
    expect(error.code).toBe('FORBIDDEN');
    expect(error.headers['WWW-Authenticate']).toBe(
      'Bearer realm="audit-server", error="insufficient_scope", scope="audit:read audit:write"',
    );
  });
});
