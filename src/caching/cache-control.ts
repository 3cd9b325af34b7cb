import type { IncomingHttpHeaders } from 'node:http';

/** What a request wants of a cache (RFC 9111, section 5.2.1). */
export interface ReadPolicy {
  /** Answer from the source, and keep that. */
  noCache: boolean;
  /** Keep nothing. */
  noStore: boolean;
  /** Nothing that was read longer ago. */
  maxAgeSeconds?: number;
  /** An answer that stopped being the present one no longer ago than this will do; Infinity: whenever that was. */
  maxStaleSeconds?: number;
}

/** Whether a kept answer will not do, however young. */
export function isFreshRead({ noCache, noStore }: ReadPolicy): boolean {
  return noCache || noStore;
}

/** What a request without wishes gets. */
export const DEFAULT_READ_POLICY: ReadPolicy = Object.freeze({ noCache: false, noStore: false });
const NO_CACHE: ReadPolicy = Object.freeze({ noCache: true, noStore: false });

/**
 * One member of a list of directives up to the next comma: a token, and an argument that may be quoted. It matches
 * anywhere, junk as a member without a name, so that no text is walked through more than a few times.
 */
const DIRECTIVE = /[\s,]*(?:([!#$%&'*+.^_`|~\w-]+)(?:\s*=\s*("(?:[^"\\]|\\.)*"|[^,]*))?)?[^,]*/g;

/** What seconds beyond it are taken for (RFC 9111, section 1.2.2). */
const MAX_SECONDS = 2 ** 31;

/**
 * The wishes in the headers of a request. Unknown directives mean nothing; of contradictory ones the strictest counts,
 * and a broken number is taken for 0, the strictest.
 */
export function readPolicyOf(headers: IncomingHttpHeaders): ReadPolicy {
  const text = headers['cache-control'];
  if (text === undefined) {
    if (headers.pragma === undefined) return DEFAULT_READ_POLICY;
    // Only old clients send it, and only it.
    return policyIn(headers.pragma).noCache ? NO_CACHE : DEFAULT_READ_POLICY;
  }
  const policy = policyIn(text);
  // Nothing kept is as young as that, unless the client puts up with what is older (RFC 9111, section 5.2.1.1).
  if (policy.maxAgeSeconds === 0 && !policy.maxStaleSeconds) policy.noCache = true;
  return policy;
}

function policyIn(directives: string): ReadPolicy {
  const policy: ReadPolicy = { noCache: false, noStore: false };
  for (const [, name, value] of directives.matchAll(DIRECTIVE)) {
    if (name !== undefined) apply(policy, name.toLowerCase(), value);
  }
  return policy;
}

function apply(policy: ReadPolicy, name: string, value: string | undefined): void {
  if (name === 'no-cache') policy.noCache = true;
  else if (name === 'no-store') policy.noStore = true;
  else if (name === 'max-age') {
    policy.maxAgeSeconds = Math.min(policy.maxAgeSeconds ?? Infinity, secondsOf(value));
  } else if (name === 'max-stale') {
    const seconds = value === undefined ? Infinity : secondsOf(value);
    policy.maxStaleSeconds = Math.min(policy.maxStaleSeconds ?? Infinity, seconds);
  }
}

function secondsOf(value = ''): number {
  const [, , digits] = /^("?)(\d+)\1\s*$/.exec(value) ?? [];
  return digits === undefined ? 0 : Math.min(Number(digits), MAX_SECONDS);
}

/** One member of a list of entity tags, weak or not, with the comma or the end behind it. A member may be empty. */
const LISTED_TAG = /[ \t]*(?:(?:W\/)?("[^"]*")[ \t]*)?(?:,|$)/y;

/**
 * Whether `If-None-Match` names this tag (RFC 9110, section 13.1.2: compared without regard to weakness). What stands
 * behind something that is no list of tags is not looked at: an answer in full is never wrong.
 */
export function matchesEtag(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  if (ifNoneMatch === etag || ifNoneMatch.trim() === '*') return true;
  const opaque = etag.startsWith('W/') ? etag.slice(2) : etag;
  LISTED_TAG.lastIndex = 0;
  while (LISTED_TAG.lastIndex < ifNoneMatch.length) {
    const [, tag] = LISTED_TAG.exec(ifNoneMatch) ?? [];
    if (tag === opaque) return true;
    if (LISTED_TAG.lastIndex === 0) return false; // no match
  }
  return false;
}
