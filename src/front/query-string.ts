import { parse } from 'node:querystring';

/**
 * Parses a query string. Repeated names become arrays, `[]` in a name means nothing.
 * @throws URIError on a malformed percent-encoding, which `node:querystring` would silently turn into other text.
 */
export function parseQuery(query: string | null | undefined): Record<string, unknown> {
  if (!query) return {};
  decodeURIComponent(query.replaceAll('+', ' '));
  return parse(query, '&', '=', { maxKeys: 0 });
}
