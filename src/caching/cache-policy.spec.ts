import type { CacheConfig } from '../platform/config/settings';
import { CachePolicy } from './cache-policy';

const CONFIG: CacheConfig = {
  enabled: true,
  adaptive: false,
  adaptiveMinTtlSeconds: 10,
  adaptiveMaxTtlSeconds: 3600,
  defaultTtlSeconds: 60,
  maxSizeBytes: 8000,
  keyPrefix: 'cache',
  excludeEndpoints: [],
  disablePatterns: [],
  ttlOverrides: [],
};

const policyOf = (config: Partial<CacheConfig>) => new CachePolicy({ ...CONFIG, ...config });

describe('CachePolicy', () => {
  it.each([
    ['/books', '/api/v1/books', true],
    ['/books', '/api/v1/books/1', true],
    ['/books/', '/api/v1/books', true],
    ['/api/v1/books', '/api/v1/books/1', true],
    ['/api/v1/book', '/api/v1/books', false],
    ['/book', '/api/v1/books', false],
    ['/books/*', '/api/v1/books/1', true],
    ['/books/*', '/api/v1/books', false],
    ['/*/books', '/api/v1/old/books', true],
    ['/oo', '/api/v1/books', false],
    ['/books.1', '/api/v1/booksx1', false],
    ['/', '/api/v1/books', true],
    ['/*', '/api/v1/books', true],
  ])('excluding %s excludes %s: %s', (endpoint, path, isExcluded) => {
    const policy = policyOf({ excludeEndpoints: ['/nothing', endpoint] });
    expect(policy.isExcluded('books', path)).toBe(isExcluded);
  });

  it.each([
    ['books', 'books', true],
    ['books', 'books_by_id', false],
    ['books*', 'books_by_id', true],
    ['*_id', 'books_by_id', true],
    ['*', 'books', true],
    ['book', 'books', false],
  ])('disabling %s excludes the namespace %s: %s', (pattern, namespace, isExcluded) => {
    const policy = policyOf({ disablePatterns: ['nothing', pattern] });
    expect(policy.isExcluded(namespace, '/api/v1/any')).toBe(isExcluded);
  });

  it('excludes nothing by itself, and everything when it is switched off', () => {
    expect(policyOf({}).isExcluded('books', '/api/v1/books')).toBe(false);
    expect(policyOf({ enabled: false }).isExcluded('books', '/api/v1/books')).toBe(true);
  });

  it.each([
    ['books', '/api/v1/books', 1000],
    ['books_by_id', '/api/v1/books/1', 2000],
    ['films', '/api/v1/films/7', 3000],
    ['films', '/api/v1/filmstrips', 60_000],
    ['songs', '/api/v1/songs', 4000],
  ])('gives %s at %s the lifetime of the first override that matches', (namespace, path, ttlMs) => {
    const policy = policyOf({
      ttlOverrides: [
        { pattern: 'books', ttlSeconds: 1 },
        { pattern: 'books*', ttlSeconds: 2 },
        { pattern: '/films', ttlSeconds: 3 },
        { pattern: '/api/v1/songs', ttlSeconds: 4 },
        { pattern: 'songs', ttlSeconds: 5 },
      ],
    });
    expect(policy.ttlMs(namespace, path)).toBe(ttlMs);
  });

  it('limits a response to an eighth of the memory', () => {
    expect(policyOf({}).maxEntryBytes).toBe(1000);
  });
});
