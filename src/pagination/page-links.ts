import type { PageInfo } from './page';

/**
 * The RFC 8288 `Link` header (first, prev, next) for a page that `url` asked for. The targets are relative references
 * to the same query with another cursor or offset, so they hold behind any proxy.
 */
export function linkHeader(url: string, page: PageInfo): string {
  return linksOf(url, page).join(', ');
}

/** The values of the Link header for a page that `url` asked for. */
export function linksOf(url: string, page: PageInfo): string[] {
  const target = new URL(url, 'http://localhost');
  for (const name of ['cursor', 'offset', 'include_total']) target.searchParams.delete(name);
  const { pathname, search } = target;
  // Neither a number nor a cursor (base64url) holds anything that a query would have to escape.
  const link = (rel: string, place?: string): string => {
    const query = place === undefined ? search : `${search === '' ? '?' : `${search}&`}${place}`;
    return `<${pathname}${query}>; rel="${rel}"`;
  };
  const links = [link('first')];
  if (page.previousCursor !== undefined) links.push(link('prev', `cursor=${page.previousCursor}`));
  else if (page.hasPrevious) {
    links.push(link('prev', `offset=${Math.max(0, (page.offset ?? 0) - page.limit)}`));
  }
  if (page.nextCursor !== undefined) links.push(link('next', `cursor=${page.nextCursor}`));
  return links;
}
