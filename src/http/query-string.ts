import { parse } from 'node:querystring';
import { validationFailed } from '../platform/errors/app-error';

const MAX_NAME_SHOWN = 100;

/**
 * Parses repeated names as arrays; `[]` in a name has no meaning.
 * @throws URIError on a malformed percent-encoding, which `node:querystring` would change silently.
 */
export function parseQuery(query: string | null | undefined): Record<string, unknown> {
  if (!query) return {};
  decodeURIComponent(query.replaceAll('+', ' '));
  return parse(query, '&', '=', { maxKeys: 0 });
}

/**
 * Refuses repeated parameters: parsers differ, and a proxy may have checked the other value. Routes with a query DTO do
 * the same (coerceQuery).
 * @throws AppError VALIDATION_FAILED, naming each such parameter.
 */
export function requireSingleParameters(target: string): void {
  const queryAt = target.indexOf('?');
  if (queryAt === -1) return;
  const names = [...new URLSearchParams(target.slice(queryAt + 1)).keys()];
  const seen = new Set<string>();
  const repeated = new Set(names.filter((name) => seen.size === seen.add(name).size));
  if (repeated.size === 0) return;
  const errors = [...repeated].slice(0, 50).map((name) => ({
    path: name.slice(0, MAX_NAME_SHOWN),
    message: 'must be given once',
  }));
  throw validationFailed(errors);
}
