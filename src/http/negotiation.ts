import type { RequestHandler } from 'express';
import { LRUCache } from 'lru-cache';
import Negotiator from 'negotiator';
import { AppError } from '../platform/errors/app-error';

/** Usual values; others follow RFC 9110. */
const ACCEPTS_JSON = new Set(['*/*', 'application/json', 'application/json, text/plain, */*']);

/** True for an absent `Accept` or a usual value. */
export function plainlyAcceptsJson(accept: string | undefined): boolean {
  return accept === undefined || ACCEPTS_JSON.has(accept);
}

/** Content codings of responses by preference. */
const CODINGS = ['br', 'gzip', 'deflate', 'identity'] as const;
export type Coding = (typeof CODINGS)[number];

/** negotiator 1.0 ranks codings of equal weight; its types are older. */
type Encodings = (
  available: readonly Coding[],
  options: { preferred: readonly Coding[] },
) => Coding[];

/** Longer headers are negotiated each time. */
const MAX_CACHED_LENGTH = 128;
const preferred = new LRUCache<string, Coding>({ max: 100 });

/** Coding for an `Accept-Encoding` (RFC 9110, section 12.5.3); identity when it allows no other. */
export function preferredCoding(acceptEncoding: string | undefined): Coding {
  if (acceptEncoding === undefined) return 'identity';
  const known = preferred.get(acceptEncoding);
  if (known !== undefined) return known;
  const negotiator = new Negotiator({ headers: { 'accept-encoding': acceptEncoding } });
  const [best = 'identity'] = (negotiator.encodings as Encodings).call(negotiator, CODINGS, {
    preferred: CODINGS,
  });
  if (acceptEncoding.length <= MAX_CACHED_LENGTH) preferred.set(acceptEncoding, best);
  return best;
}

const PROBLEM_TYPES = ['application/json', 'application/problem+json'];

/**
 * Refuses, before any work, an `Accept` that allows neither JSON nor the path's other media types. `others` are media
 * types by the end of a path.
 */
export function requireAcceptable(others: Record<string, readonly string[]>): RequestHandler {
  const endings = Object.entries(others);
  return (request, _response, next) => {
    if (plainlyAcceptsJson(request.headers.accept)) return next();
    const [, types = []] = endings.find(([ending]) => request.path.endsWith(ending)) ?? [];
    if (request.accepts([...PROBLEM_TYPES, ...types])) return next();
    const all = ['application/json', ...types].join(', ');
    next(new AppError('NOT_ACCEPTABLE', `This service answers ${all}.`));
  };
}
