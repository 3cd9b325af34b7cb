import type { IncomingHttpHeaders } from 'node:http';
import { DEFAULT_READ_POLICY, type ReadPolicy } from './response-cache';

/** Member of a list, up to the next comma: a token, whose argument may be quoted. Other text matches without a name, in linear time. */
const DIRECTIVE = /[\s,]*(?:([!#$%&'*+.^_`|~\w-]+)(?:\s*=\s*("(?:[^"\\]|\\.)*"|[^,]*))?)?[^,]*/g;

/** Maximum, as which larger numbers count (RFC 9111, section 1.2.2). */
const MAX_SECONDS = 2 ** 31;

const NO_CACHE: ReadPolicy = Object.freeze({ noCache: true, noStore: false });

/**
 * Reads the directives of a request's Cache-Control (RFC 9111, section 5.2.1). Of contradictory directives the strictest
 * counts, unknown ones are ignored, and an invalid number is 0, the strictest.
 */
export function readPolicyOf(headers: IncomingHttpHeaders): ReadPolicy {
  const text = headers['cache-control'];
  if (text === undefined) {
    if (headers.pragma === undefined) return DEFAULT_READ_POLICY;
    // Pragma counts only without Cache-Control (RFC 7234, section 5.4).
    return policyIn(headers.pragma).noCache ? NO_CACHE : DEFAULT_READ_POLICY;
  }
  const policy = policyIn(text);
  // No cached response is that young; a client may accept a stale one (RFC 9111, section 5.2.1.1).
  if (policy.maxAgeSeconds === 0 && !policy.maxStaleSeconds) policy.noCache = true;
  return policy;
}

function policyIn(directives: string): ReadPolicy {
  const policy: ReadPolicy = { noCache: false, noStore: false };
  for (const [, directive, value] of directives.matchAll(DIRECTIVE)) {
    const name = directive?.toLowerCase();
    if (name === 'no-cache') policy.noCache = true;
    else if (name === 'no-store') policy.noStore = true;
    else if (name === 'max-age') {
      policy.maxAgeSeconds = Math.min(policy.maxAgeSeconds ?? Infinity, secondsOf(value));
    } else if (name === 'max-stale') {
      const seconds = value === undefined ? Infinity : secondsOf(value);
      policy.maxStaleSeconds = Math.min(policy.maxStaleSeconds ?? Infinity, seconds);
    }
  }
  return policy;
}

function secondsOf(value = ''): number {
  const [, , digits] = /^("?)(\d+)\1\s*$/.exec(value) ?? [];
  return digits === undefined ? 0 : Math.min(Number(digits), MAX_SECONDS);
}

/** Entity tag of a list, weak or strong, with the comma or the end behind it; may be empty. */
const LISTED_TAG = /[ \t]*(?:(?:W\/)?("[^"]*")[ \t]*)?(?:,|$)/y;

/** Compares weakly (RFC 9110, section 13.1.2). Text after a syntax error is ignored, as a full response is never wrong. */
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
