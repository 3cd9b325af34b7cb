/** `pagination` of every list. */
export interface PageInfo {
  limit: number;
  /** Only on pages by offset. */
  offset?: number;
  /** Only with `include_total=true`; exact up to TOTAL_EXACT_UP_TO. */
  total?: number;
  /** False when `total` is a lower bound. */
  totalIsExact?: boolean;
  hasNext: boolean;
  hasPrevious: boolean;
  nextCursor?: string;
  previousCursor?: string;
}

/** Limit of exact totals: counting on costs more than the page. */
export const TOTAL_EXACT_UP_TO = 10_000;
