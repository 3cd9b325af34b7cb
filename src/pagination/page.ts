/** The position of a page in its list; `pagination` of every list. */
export interface PageInfo {
  limit: number;
  /** Only on pages asked for by offset. */
  offset?: number;
  /** Only with `include_total=true`: the number of elements, exact up to TOTAL_EXACT_UP_TO. */
  total?: number;
  /** False when `total` is only a lower bound. */
  totalIsExact?: boolean;
  hasNext: boolean;
  hasPrevious: boolean;
  nextCursor?: string;
  previousCursor?: string;
}

/** Above this a total is a lower bound, as counting on would cost more than the page itself. */
export const TOTAL_EXACT_UP_TO = 10_000;
