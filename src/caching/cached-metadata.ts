/** Under this key a handler says which CachedRead it is (see cached.decorator.ts). */
export const CACHED = 'caching:read';
