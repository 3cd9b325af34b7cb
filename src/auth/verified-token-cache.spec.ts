import type { Principal } from './principal';
import { VerifiedTokenCache } from './verified-token-cache';

const principal: Principal = {
  subject: 'alice',
  scopes: new Set(),
  organizations: [],
  expiresAtMs: Infinity,
};
const entry = { principal, notBeforeMs: 0, notAfterMs: Infinity, trustedUntilMs: Infinity };

describe('VerifiedTokenCache', () => {
  it('drops the least recently used token first', () => {
    const cache = new VerifiedTokenCache(2);
    cache.set('a', entry);
    cache.set('b', entry);
    cache.get('a');
    cache.set('c', entry);
    expect([cache.get('a'), cache.get('b'), cache.get('c')]).toEqual([
      principal,
      undefined,
      principal,
    ]);
  });

  it('is bounded in bytes as well', () => {
    const cache = new VerifiedTokenCache(100, 1500);
    for (const token of ['1234', '5678', '90ab', '5678']) cache.set(token, entry);
    expect(cache.size).toBe(2);
    expect(cache.get('1234')).toBeUndefined();
    cache.set('longer than all of it'.padEnd(1000), entry);
    expect(cache.size).toBe(2);
    expect(cache.get('longer than all of it'.padEnd(1000))).toBeUndefined();
    cache.set('1234', entry);
    expect(cache.get('1234')).toBe(principal);
  });

  it.each(['subject', 'issuer', 'tenant'])('counts a long %s', (name) => {
    const cache = new VerifiedTokenCache(100, 1500);
    cache.set('1234', { ...entry, principal: { ...principal, [name]: 'x'.repeat(800) } });
    expect(cache.get('1234')).toBeUndefined();
  });

  it('looks at both ends of a token’s validity at each use, and forgets what is over', () => {
    const now = jest.spyOn(Date, 'now');
    try {
      const cache = new VerifiedTokenCache();
      cache.set('a', { ...entry, notBeforeMs: 1000, notAfterMs: 2000 });
      now.mockReturnValue(1999);
      expect(cache.get('a')).toBe(principal);
      now.mockReturnValue(2000);
      expect(cache.get('a')).toBeUndefined();
      expect(cache.size).toBe(0);
      cache.set('a', { ...entry, notBeforeMs: 1000, notAfterMs: 2000 });
      now.mockReturnValue(999);
      expect(cache.get('a')).toBeUndefined();
    } finally {
      now.mockRestore();
    }
  });

  it('trusts the keys for a time that no step of the wall clock makes longer', () => {
    const passed = jest.spyOn(performance, 'now').mockReturnValue(5000);
    const now = jest.spyOn(Date, 'now').mockReturnValue(10_000_000);
    try {
      const cache = new VerifiedTokenCache();
      cache.set('a', { ...entry, trustedUntilMs: 6000 });
      now.mockReturnValue(1000);
      passed.mockReturnValue(5999);
      expect(cache.get('a')).toBe(principal);
      passed.mockReturnValue(6000);
      expect(cache.get('a')).toBeUndefined();
    } finally {
      passed.mockRestore();
      now.mockRestore();
    }
  });
});
