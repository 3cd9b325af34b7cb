import type { RequestHandler } from 'express';
import { LRUCache } from 'lru-cache';
import Negotiator from 'negotiator';
import { AppError } from '../platform/errors/app-error';

/** Usual values of Accept, which are looked up: negotiation by RFC 9110 costs more than a cached response. */
const ACCEPTS_JSON = new Set([
  '*/*',
  'application/json',
  'application/json, text/plain, */*',
  'application/json; charset=utf-8',
]);

/** Tells whether `Accept` is absent or has a usual value. */
export function plainlyAcceptsJson(accept: string | undefined): boolean {
  return accept === undefined || ACCEPTS_JSON.has(accept);
}

/** Parameter of a media range other than its weight `q`. */
const RANGE_PARAMETER = /;(?!\s*q\s*=)[^;,="]*(?:=\s*(?:"(?:[^"\\]|\\.)*"|[^;,]*))?/gi;
/** `*` alone, which some clients send for any type. */
const BARE_STAR = /(^|,)\s*\*\s*(?=[,;]|$)/g;

/**
 * Removes the parameters of media ranges but the weight: no media type of the service has variants, and a client that
 * names a charset or a version gets its response rather than a refusal. An absent or empty header allows every type.
 */
function mediaTypeNegotiator(accept: string | undefined): Negotiator {
  const ranges = accept?.replace(RANGE_PARAMETER, '').replace(BARE_STAR, '$1*/*');
  return new Negotiator({ headers: { accept: ranges?.trim() ? ranges : '*/*' } });
}

/** Returns the type of `available` that `Accept` prefers (RFC 9110, section 12.5.1); of equals the first. */
export function preferredMediaType<T extends string>(
  accept: string | undefined,
  available: readonly T[],
): T | undefined {
  const [best] = mediaTypeNegotiator(accept).mediaTypes([...available]);
  return best as T | undefined;
}

/** Returns the media ranges of `Accept` by preference, in lower case, without those that it excludes. */
export function acceptedRanges(accept: string | undefined): string[] {
  return mediaTypeNegotiator(accept)
    .mediaTypes()
    .map((range) => range.toLowerCase());
}

/** Content codings of responses by preference. */
const CODINGS = ['br', 'gzip', 'deflate', 'identity'] as const;
export type Coding = (typeof CODINGS)[number];

/** negotiator 1.0 ranks codings of equal weight by a list, which its older types omit. */
type Encodings = (
  available: readonly Coding[],
  options: { preferred: readonly Coding[] },
) => Coding[];

/** Results for longer headers are not stored. */
const MAX_CACHED_LENGTH = 128;
const preferred = new LRUCache<string, Coding>({ max: 100 });

/** Returns the coding that `Accept-Encoding` prefers (RFC 9110, section 12.5.3), or else identity. */
export function preferredCoding(acceptEncoding: string | undefined): Coding {
  if (acceptEncoding === undefined) return 'identity';
  const known = preferred.get(acceptEncoding);
  if (known !== undefined) return known;
  // x-gzip is gzip (RFC 9110, section 8.4.1.3).
  const codings = acceptEncoding.replace(/\bx-gzip\b/gi, 'gzip');
  const negotiator = new Negotiator({ headers: { 'accept-encoding': codings } });
  const [best = 'identity'] = (negotiator.encodings as Encodings).call(negotiator, CODINGS, {
    preferred: CODINGS,
  });
  if (acceptEncoding.length <= MAX_CACHED_LENGTH) preferred.set(acceptEncoding, best);
  return best;
}

const PROBLEM_TYPES = ['application/json', 'application/problem+json'];

/**
 * Refuses, before any work, a request whose `Accept` allows neither JSON nor another media type of its path. `others`
 * has these by the end of a path.
 */
export function requireAcceptable(others: Record<string, readonly string[]>): RequestHandler {
  const endings = Object.entries(others);
  return (request, _response, next) => {
    if (plainlyAcceptsJson(request.headers.accept)) return next();
    const [, types = []] = endings.find(([ending]) => request.path.endsWith(ending)) ?? [];
    if (preferredMediaType(request.headers.accept, [...PROBLEM_TYPES, ...types])) return next();
    const all = ['application/json', ...types].join(', ');
    next(new AppError('NOT_ACCEPTABLE', `This service answers ${all}.`));
  };
}
