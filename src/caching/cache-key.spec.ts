import { createClient, type RedisClientType } from '@redis/client';
import fc from 'fast-check';
import { randomUUID } from 'node:crypto';
import { startTestRedis, type TestRedis } from '../../test/support/redis-server';
import { AppError } from '../platform/errors/app-error';
import { coversOnly, globMatcher, KeyPattern, keyHead, queryHash } from './cache-key';
import { growthOf, LINEAR_GROWTH } from '../../test/support/growth';

const PREFIX = 'api_cache';

const tenantIds = fc
  .uniqueArray(
    fc.oneof(
      fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 }),
      fc.constantFrom('*', '~', ',', ':', '%2A', '~1~', 'org-1', 'a,b', 'a:b'),
      fc.string({ minLength: 200, maxLength: 255 }),
    ),
    { maxLength: 8 },
  )
  .map((ids) => ids.sort());

function keyOf(tenants: readonly string[] | '*', namespace = 'pages'): string {
  return `${keyHead(PREFIX, namespace, tenants)}12:${queryHash('q')}`;
}

function matches(pattern: string, key: string): boolean {
  return new KeyPattern(pattern, PREFIX).test(key);
}

describe('keyHead', () => {
  it('has prefix, namespace and tenants in readable form', () => {
    expect(keyHead(PREFIX, 'pages', ['org-1', 'org.2'])).toBe('api_cache:pages:org-1,org.2:');
    expect(keyHead(PREFIX, 'pages', '*')).toBe('api_cache:pages:*:');
  });

  it('encodes ids so that none looks like all tenants, a hashed list, or another part of the key', () => {
    expect(keyHead(PREFIX, 'pages', ['*'])).toBe('api_cache:pages:%2A:');
    expect(keyHead(PREFIX, 'pages', ['~3~x', 'a,b', 'a:b'])).toBe(
      'api_cache:pages:%7E3%7Ex,a%2Cb,a%3Ab:',
    );
  });

  it('differs for different tenants, always with the same number of parts', () => {
    fc.assert(
      fc.property(tenantIds, tenantIds, (one, other) => {
        const [a, b] = [keyHead(PREFIX, 'pages', one), keyHead(PREFIX, 'pages', other)];
        expect(a.split(':')).toHaveLength(4);
        expect(a === b).toBe(JSON.stringify(one) === JSON.stringify(other));
      }),
    );
  });

  it('has at most 512 characters of tenants, beyond that their number and hash', () => {
    const id = 'x'.repeat(511);
    expect(keyHead(PREFIX, 'pages', [`${id}y`])).toBe(`api_cache:pages:${id}y:`);
    expect(keyHead(PREFIX, 'pages', ['a', id])).toMatch(/^api_cache:pages:~2~[\w-]{43}:$/);
  });
});

describe('queryHash', () => {
  it('is the same for the same text only, and has no character with a meaning in keys', () => {
    expect(queryHash('a')).toBe(queryHash('a'));
    expect(queryHash('a')).not.toBe(queryHash('b'));
    expect(queryHash('a')).toMatch(/^[\w-]{32}$/);
  });
});

describe('coversOnly', () => {
  it('is true exactly when all tenants of a key are allowed', () => {
    fc.assert(
      fc.property(tenantIds, tenantIds, (held, more) => {
        const key = keyOf(held);
        fc.pre(held.length > 0 && !key.includes(':~'));
        const allowed = [...new Set([...held, ...more])].sort();
        expect(coversOnly(key, allowed)).toBe(true);
        expect(coversOnly(key, '*')).toBe(true);
        expect(
          coversOnly(
            key,
            allowed.filter((id) => id !== held[0]),
          ),
        ).toBe(false);
      }),
    );
  });

  it('is true for keys of all tenants only when all are allowed', () => {
    expect(coversOnly(keyOf('*'), '*')).toBe(true);
    expect(coversOnly(keyOf('*'), ['*'])).toBe(false);
    expect(coversOnly(keyOf(['*']), ['*'])).toBe(true);
  });

  it('accepts a hashed list only when it is the allowed list itself', () => {
    const many = Array.from({ length: 200 }, (_, number) => `org-${1000 + number}`);
    const key = keyOf(many);
    expect(key).toContain(':~200~');
    expect(coversOnly(key, many)).toBe(true);
    expect(coversOnly(key, '*')).toBe(true);
    expect(coversOnly(key, [...many, 'org-2000'])).toBe(false);
    expect(coversOnly(key, many.slice(1))).toBe(false);
  });

  it('is false for text that is no key', () => {
    for (const text of ['', 'api_cache', 'api_cache:pages', 'api_cache:pages::1:x']) {
      expect(coversOnly(text, ['org-1'])).toBe(false);
    }
  });

  it('reads the tenants of a reader once for any number of keys', () => {
    let read = 0;
    const tenants = Array.from({ length: 1000 }, (_, number) => `org-${number}`).sort();
    const allowed = new Proxy(tenants, {
      get: (target, name, receiver): unknown => {
        read += 1;
        return Reflect.get(target, name, receiver);
      },
    });
    expect(coversOnly(keyOf(['org-17']), allowed)).toBe(true);
    expect(read).toBeGreaterThanOrEqual(tenants.length);
    read = 0;
    expect(coversOnly(keyOf(['org-18']), allowed)).toBe(true);
    expect(coversOnly(keyOf(['org-1000']), allowed)).toBe(false);
    expect(coversOnly(keyOf(tenants), allowed)).toBe(true);
    expect(read).toBe(0);
  });
});

describe('KeyPattern', () => {
  const key = keyOf(['org-1'], 'team_pages');

  it('matches * as any text, also none', () => {
    for (const pattern of ['*', 'team_*', 'team_pages*', '*org-1*', 'team_pages:org-1:*', '**']) {
      expect([pattern, matches(pattern, key)]).toEqual([pattern, true]);
    }
    for (const pattern of ['other*', 'team', 'team_page', 'team_pages:org-2:*', 'pages*', '*:']) {
      expect([pattern, matches(pattern, key)]).toEqual([pattern, false]);
    }
  });

  it('matches a name without * as the namespace of that name, and no longer one', () => {
    expect(matches('team_pages', key)).toBe(true);
    expect(matches('team_pages:org-1', key)).toBe(true);
    expect(matches('team_pages', keyOf(['org-1'], 'team_pages2'))).toBe(false);
  });

  it('may begin with the prefix, and matches nothing outside it', () => {
    expect(matches(`${PREFIX}:team_pages*`, key)).toBe(true);
    expect(matches('*', 'other_prefix:team_pages:org-1:1:x')).toBe(false);
    expect(matches('*', `lock:${key}`)).toBe(false);
  });

  it('has the same meaning in another process', () => {
    const doubled = new KeyPattern(`${PREFIX}:${PREFIX}:*`, PREFIX);
    const longest = new KeyPattern('n'.repeat(512), PREFIX);
    for (const pattern of [doubled, longest]) {
      expect(new KeyPattern(pattern.text, PREFIX).redisGlob).toBe(pattern.redisGlob);
    }
    expect(doubled.test(key)).toBe(false);
  });

  it.each([
    ['', 'must not be empty; * means every entry'],
    [`${PREFIX}:`, 'must not be empty; * means every entry'],
    ['x'.repeat(513), 'must be at most 512 characters'],
    ['pages\n*', 'must not hold control characters'],
    ['pages\u007f', 'must not hold control characters'],
    ['pages\u0085', 'must not hold control characters'],
  ])('refuses %j', (text, message) => {
    let thrown: unknown;
    try {
      new KeyPattern(text, PREFIX);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(AppError);
    expect(thrown).toMatchObject({
      code: 'VALIDATION_FAILED',
      errors: [{ path: 'pattern', message }],
    });
  });
});

/** Definition as in textbooks: slow, and evidently right. */
function slowlyMatches(pattern: string, text: string): boolean {
  if (pattern === '') return text === '';
  if (pattern[0] !== '*') {
    return pattern[0] === text[0] && slowlyMatches(pattern.slice(1), text.slice(1));
  }
  for (let at = 0; at <= text.length; at += 1) {
    if (slowlyMatches(pattern.slice(1), text.slice(at))) return true;
  }
  return false;
}

describe('globMatcher', () => {
  it('agrees with the textbook', () => {
    const text = fc.stringMatching(/^[ab:]{0,10}$/);
    const pattern = fc.stringMatching(/^[ab:*]{0,7}$/);
    fc.assert(
      fc.property(pattern, text, (glob, key) => {
        expect([glob, key, globMatcher(glob)(key)]).toEqual([glob, key, slowlyMatches(glob, key)]);
      }),
      {
        numRuns: 3000,
        examples: [
          ['ab*ba', 'aba'],
          ['a*a', 'a'],
          ['*', ''],
          ['', ''],
        ],
      },
    );
  });

  it('matches every character but * as itself', () => {
    expect(globMatcher('a.c')('abc')).toBe(false);
    expect(globMatcher('a?[b]\\*')('a?[b]\\')).toBe(true);
    expect(globMatcher('[ab]*')('a')).toBe(false);
  });

  it('takes time in proportion to the key for a malicious pattern', () => {
    const glob = globMatcher(`${'*a'.repeat(250)}*b`);
    expect(glob('a'.repeat(10_000))).toBe(false);
    expect(growthOf(10_000, (size) => 'a'.repeat(size), glob)).toBeLessThan(LINEAR_GROWTH);
  });
});

describe('the pattern for Redis', () => {
  let server: TestRedis | undefined;
  let client: RedisClientType | undefined;

  beforeAll(async () => {
    server = await startTestRedis();
    if (!server) return;
    client = createClient({ url: server.url });
    await client.connect();
  });

  afterAll(async () => {
    await client?.quit();
    await server?.stop();
  });

  it('matches the same keys as the pattern of this process', async () => {
    if (!client) return;
    const redis = client;
    const prefix = `spec-${randomUUID()}`;
    const part = fc.string({
      unit: fc.constantFrom('a', 'b', ':', '?', '[', ']', '^', '-', '\\', 'é'),
      maxLength: 6,
    });
    const pattern = fc.array(part, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('*'));
    const keys = fc.array(part, { minLength: 1, maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(pattern, keys, async (text, texts) => {
        fc.pre(text !== '');
        // Some keys are made from the pattern, as few others match.
        const made = [text, text.replaceAll('*', 'a'), text.replaceAll('*', ''), `${text}:b`];
        const all = [...new Set([...texts, ...made])].map((end) => `${prefix}:${end}`);
        await redis.mSet(all.map((name): [string, string] => [name, '']));
        const meant = new KeyPattern(text, prefix);
        const found: string[] = [];
        for await (const names of redis.scanIterator({ MATCH: meant.redisGlob, COUNT: 1000 })) {
          found.push(...names);
        }
        await redis.unlink(all);
        expect([...new Set(found)].sort()).toEqual(all.filter((name) => meant.test(name)).sort());
      }),
      { numRuns: 300 },
    );
  });
});
