import { createHash } from 'node:crypto';
import { validationFailed } from '../errors/app-error';

/** Whose data an answer holds: ids, sorted and each once; `*` stands for all there are. */
export type Tenants = readonly string[] | '*';

/** Longer lists of tenants stand in keys as their number and hash. */
const MAX_SPELLED_LENGTH = 512;
const MAX_PATTERN_LENGTH = 512;

/**
 * What the keys of a namespace and these tenants begin with: `prefix:namespace:tenants:`. Epoch and query follow, so a
 * whole key is `prefix:namespace:tenants:epoch:hash`. Ids are percent-encoded, `*` too: no id can look like another
 * part of a key, or like all tenants.
 */
export function keyHead(prefix: string, namespace: string, tenants: Tenants): string {
  return `${prefix}:${namespace}:${spelled(tenants)}:`;
}

/** A query in 32 characters of base64url: 192 bits of SHA-256, so that no two queries can be made to share an entry. */
export function queryHash(query: string): string {
  return createHash('sha256').update(query).digest('base64url').slice(0, 32);
}

/** Whether all tenants of a key are among `allowed`. A list that a key only hashes must be `allowed` itself. */
export function coversOnly(key: string, allowed: Tenants): boolean {
  if (allowed === '*') return true;
  const [, , tenants = ''] = key.split(':', 3);
  if (tenants === '*') return false;
  if (tenants.startsWith('~')) return tenants === spelled(allowed);
  const all = new Set(allowed.map(encoded));
  return tenants.split(',').every((id) => all.has(id));
}

function spelled(tenants: Tenants): string {
  if (tenants === '*') return '*';
  const text = tenants.map(encoded).join(',');
  if (text.length <= MAX_SPELLED_LENGTH) return text;
  return `~${tenants.length}~${createHash('sha256').update(text).digest('base64url')}`;
}

/** `~` begins the hashed form, so it is encoded where it begins an id. */
function encoded(id: string): string {
  return encodeURIComponent(id).replaceAll('*', '%2A').replaceAll('~', '%7E');
}

/** Which keys an operator means: the start of the part behind the prefix, `*` standing for any text. */
export class KeyPattern {
  /** The pattern as it has to be matched: without the prefix. */
  readonly text: string;
  /** The same for Redis. */
  readonly redisGlob: string;
  private readonly matches: (text: string) => boolean;

  /** @throws AppError VALIDATION_FAILED for a text that is empty, too long or holds control characters. */
  constructor(text: string, prefix: string) {
    const fault = faultOf(text);
    if (fault !== undefined) throw validationFailed([{ path: 'pattern', message: fault }]);
    const bare = text.startsWith(`${prefix}:`) ? text.slice(prefix.length + 1) : text;
    this.text = bare.includes('*') ? bare : `${bare}:*`;
    const whole = `${prefix}:${this.text}`;
    this.redisGlob = whole.replace(/[?[\]\\]/g, '\\$&');
    this.matches = globMatcher(whole);
  }

  test(key: string): boolean {
    return this.matches(key);
  }
}

function faultOf(text: string): string | undefined {
  if (text === '') return 'must not be empty; * means every entry';
  if (text.length > MAX_PATTERN_LENGTH) return `must be at most ${MAX_PATTERN_LENGTH} characters`;
  if (/\p{Cc}/u.test(text)) return 'must not hold control characters';
  return undefined;
}

/**
 * Matches texts against a pattern in which `*` is any text and all else is itself. Each literal part is looked for
 * once, behind the one before: a text is never walked through again, whatever the pattern.
 */
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
