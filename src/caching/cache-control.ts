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

/** What a request without wishes gets. */
export const DEFAULT_READ_POLICY: ReadPolicy = Object.freeze({ noCache: false, noStore: false });
const NO_CACHE: ReadPolicy = Object.freeze({ noCache: true, noStore: false });

/** A directive: a token, and an argument that may be quoted. Anything else is skipped up to the next comma. */
const DIRECTIVE =
  /([!#$%&'*+.^_`|~\w-]+)(?:=(?:"((?:[^"\\]|\\.)*)"|([^",\s]*)))?|"(?:[^"\\]|\\.)*"/g;

/** The wishes in the headers of a request. Unknown directives mean nothing; broken numbers are taken as the strictest. */
export function readPolicyOf(headers: IncomingHttpHeaders): ReadPolicy {
  const text = headers['cache-control'];
  if (text === undefined) {
    // Only old clients send it, and only it.
    return headers.pragma === 'no-cache' ? NO_CACHE : DEFAULT_READ_POLICY;
  }
  const policy: ReadPolicy = { noCache: false, noStore: false };
  for (const [, name, quoted, plain] of text.matchAll(DIRECTIVE)) {
    if (name !== undefined) apply(policy, name.toLowerCase(), quoted ?? plain);
  }
  if (policy.maxAgeSeconds === 0 && policy.maxStaleSeconds === undefined) policy.noCache = true;
  return policy;
}

function apply(policy: ReadPolicy, name: string, value: string | undefined): void {
  if (name === 'no-cache') policy.noCache = true;
  else if (name === 'no-store') policy.noStore = true;
  else if (name === 'max-age') policy.maxAgeSeconds = secondsOf(value) ?? 0;
  else if (name === 'max-stale') {
    policy.maxStaleSeconds = value === undefined ? Infinity : secondsOf(value);
  }
}

function secondsOf(value: string | undefined): number | undefined {
  return value !== undefined && /^\d{1,15}$/.test(value) ? Number(value) : undefined;
}

/** An entity tag, weak or not; `*`; or one character of junk. */
const ENTITY_TAG = /(?:W\/)?("[^"]*")|[^",\s]+/g;

/** Whether `If-None-Match` names this tag (RFC 9110, section 13.1.2: compared without regard to weakness). */
export function matchesEtag(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  if (ifNoneMatch === etag || ifNoneMatch.trim() === '*') return true;
  for (const [, tag] of ifNoneMatch.matchAll(ENTITY_TAG)) if (tag === etag) return true;
  return false;
}
