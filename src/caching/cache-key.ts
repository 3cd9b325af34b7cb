import { createHash } from 'node:crypto';
import { validationFailed } from '../platform/errors/app-error';

/** Whose data an answer holds: ids, sorted and each once; `*` stands for all there are. */
export type Tenants = readonly string[] | '*';

/** Longer lists of tenants stand in keys as their number and hash. */
const MAX_SPELLED_LENGTH = 512;
/** Characters of a pattern. */
export const MAX_PATTERN_LENGTH = 512;

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

/** How lists of tenants are spelled, taken down once: every key of a store is held against the same list. */
const spellings = new WeakMap<readonly string[], { ids: Set<string>; all: string }>();

/** Whether all tenants of a key are among `allowed`. A list that a key only hashes must be `allowed` itself. */
export function coversOnly(key: string, allowed: Tenants): boolean {
  if (allowed === '*') return true;
  const [, , tenants = ''] = key.split(':', 3);
  let spelling = spellings.get(allowed);
  if (!spelling) {
    spelling = { ids: new Set(allowed.map(encoded)), all: spelled(allowed) };
    spellings.set(allowed, spelling);
  }
  if (tenants.startsWith('~')) return tenants === spelling.all;
  const { ids } = spelling;
  return tenants.split(',').every((id) => ids.has(id));
}

function spelled(tenants: Tenants): string {
  if (tenants === '*') return '*';
  const text = tenants.map(encoded).join(',');
  if (text.length <= MAX_SPELLED_LENGTH) return text;
  return `~${tenants.length}~${createHash('sha256').update(text).digest('base64url')}`;
}

/** What encodeURIComponent leaves and has a meaning here: `*` is all tenants, `~` begins a hashed list. */
function encoded(id: string): string {
  return encodeURIComponent(id).replaceAll('*', '%2A').replaceAll('~', '%7E');
}

/** Which keys an operator means: the start of the part behind the prefix, `*` standing for any text. */
export class KeyPattern {
  /** For `SCAN … MATCH`: the whole key, what Redis would take for more than itself escaped. */
  readonly redisGlob: string;
  private readonly matches: (text: string) => boolean;

  /**
   * @param text as it was given; another process that is handed it makes the same pattern of it. Without `*` it is the
   * beginning of the parts of a key: a namespace, or a namespace and its tenants. The prefix may stand before it.
   * @throws AppError VALIDATION_FAILED for a text that is empty, too long or holds control characters.
   */
  constructor(
    readonly text: string,
    prefix: string,
  ) {
    const bare = text.startsWith(`${prefix}:`) ? text.slice(prefix.length + 1) : text;
    const fault = faultOf(text, bare);
    if (fault !== undefined) throw validationFailed([{ path: 'pattern', message: fault }]);
    const whole = `${prefix}:${bare.includes('*') ? bare : `${bare}:*`}`;
    this.redisGlob = whole.replace(/[?[\]\\]/g, '\\$&');
    this.matches = globMatcher(whole);
  }

  /** Whether a whole key is meant. */
  test(key: string): boolean {
    return this.matches(key);
  }
}

function faultOf(text: string, bare: string): string | undefined {
  if (bare === '') return 'must not be empty; * means every entry';
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
