import { createHash } from 'node:crypto';
import { validationFailed } from '../platform/errors/app-error';

/** Owners of the data in a response: sorted ids without duplicates; `*` is all. */
export type Tenants = readonly string[] | '*';

/** Limit of the tenants in a key; of a longer list the key has number and hash. */
const MAX_SPELLED_LENGTH = 512;
export const MAX_PATTERN_LENGTH = 512;

/**
 * Returns the head of a key `prefix:namespace:tenants:version:hash`. Ids are percent-encoded, with `*`, so that none looks
 * like another part of a key or like all tenants.
 */
export function keyHead(prefix: string, namespace: string, tenants: Tenants): string {
  return `${prefix}:${namespace}:${tenantsText(tenants)}:`;
}

/** Hashes a query: 192 bits of SHA-256, 32 characters of base64url, so that no client can make two queries share an entry. */
export function queryHash(query: string): string {
  return createHash('sha256').update(query).digest('base64url').slice(0, 32);
}

/** Sets of allowed tenants by their list, with which every key of a store is compared. */
const spellings = new WeakMap<readonly string[], { ids: Set<string>; all: string }>();

/** Tells whether all tenants of a key are in `allowed`; a hashed list has to be `allowed` itself. */
export function coversOnly(key: string, allowed: Tenants): boolean {
  if (allowed === '*') return true;
  const [, , tenants = ''] = key.split(':', 3);
  let spelling = spellings.get(allowed);
  if (!spelling) {
    spelling = { ids: new Set(allowed.map(encoded)), all: tenantsText(allowed) };
    spellings.set(allowed, spelling);
  }
  if (tenants.startsWith('~')) return tenants === spelling.all;
  const { ids } = spelling;
  return tenants.split(',').every((id) => ids.has(id));
}

/** Returns tenants as in keys; of a long list its number and hash. */
export function tenantsText(tenants: Tenants): string {
  if (tenants === '*') return '*';
  const text = tenants.map(encoded).join(',');
  if (text.length <= MAX_SPELLED_LENGTH) return text;
  return `~${tenants.length}~${createHash('sha256').update(text).digest('base64url')}`;
}

/** Encodes an id, with `*` (all tenants) and `~` (hashed list), which encodeURIComponent leaves. */
function encoded(id: string): string {
  return encodeURIComponent(id).replaceAll('*', '%2A').replaceAll('~', '%7E');
}

/** Pattern of an operator: the beginning of keys after the prefix, with `*` for any text. */
export class KeyPattern {
  /** Pattern of `SCAN … MATCH` for the whole key, in which the other wildcards of Redis are escaped. */
  readonly redisGlob: string;
  readonly test: (key: string) => boolean;

  /**
   * @param text of the operator, of which every replica makes the same pattern. Without `*` it is a whole namespace, or a
   * namespace and tenants; it may begin with the prefix.
   * @throws AppError VALIDATION_FAILED for a text that is empty, too long or has control characters.
   */
  constructor(
    readonly text: string,
    prefix: string,
  ) {
    const bare = text.startsWith(`${prefix}:`) ? text.slice(prefix.length + 1) : text;
    const violation = violationOf(text, bare);
    if (violation !== undefined) {
      throw validationFailed([{ path: 'pattern', message: violation }]);
    }
    const whole = `${prefix}:${bare.includes('*') ? bare : `${bare}:*`}`;
    this.redisGlob = whole.replace(/[?[\]\\]/g, '\\$&');
    this.test = globMatcher(whole);
  }
}

function violationOf(text: string, bare: string): string | undefined {
  if (bare === '') return 'must not be empty; * means every entry';
  if (text.length > MAX_PATTERN_LENGTH) return `must be at most ${MAX_PATTERN_LENGTH} characters`;
  if (/\p{Cc}/u.test(text)) return 'must not hold control characters';
  return undefined;
}

/** Matches `*` as any text. Each literal part is searched once, behind the previous one: in linear time. */
export function globMatcher(pattern: string): (text: string) => boolean {
  const [first = '', ...others] = pattern.split('*');
  const last = others.pop();
  if (last === undefined) return (text) => text === first;
  const middle = others.filter((part) => part !== '');
  return (text) => {
    if (!text.startsWith(first)) return false;
    let at = first.length;
    for (const part of middle) {
      const found = text.indexOf(part, at);
      if (found === -1) return false;
      at = found + part.length;
    }
    return text.length - last.length >= at && text.endsWith(last);
  };
}
