/** The member `pagination` of every list. */
export interface PageInfo {
  limit: number;
  /** Present on pages by offset alone. */
  offset?: number;
  /** Present with `include_total=true`; exact up to TOTAL_EXACT_UP_TO. */
  total?: number;
  /** False when `total` is a lower bound. */
  totalIsExact?: boolean;
  /**
   * True when the time for a read ended before the page was full or the list at its end: the page has what was found, and
   * its cursor goes on where the search ended. Absent on other pages.
   */
  partial?: true;
  hasNext: boolean;
  hasPrevious: boolean;
  nextCursor?: string;
  previousCursor?: string;
  /** On the last page of an ascending list: leads to events that are added later. Never beside `nextCursor`. */
  resumeCursor?: string;
}

/** Totals above this are lower bounds, because counting further would cost more than reading the page. */
export const TOTAL_EXACT_UP_TO = 10_000;

/** RFC 8288 `Link` values (first, prev, next) of the page of `url`: relative references, valid behind any proxy. */
export function linksOf(url: string, page: PageInfo): string[] {
  const target = new URL(url, 'http://localhost');
  for (const name of ['cursor', 'offset', 'include_total']) target.searchParams.delete(name);
  const { pathname, search } = target;
  // Numbers and cursors (base64url) need no escaping in a query.
  const link = (rel: string, position?: string): string => {
    const query =
      position === undefined ? search : `${search === '' ? '?' : `${search}&`}${position}`;
    return `<${pathname}${query}>; rel="${rel}"`;
  };
  const links = [link('first')];
  if (page.previousCursor !== undefined) links.push(link('prev', `cursor=${page.previousCursor}`));
  if (page.nextCursor !== undefined) links.push(link('next', `cursor=${page.nextCursor}`));
  return links;
}
