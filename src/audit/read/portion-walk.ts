import { addMonths, type Month, monthOf } from '../../platform/database/partitions';
import { formatInstant, parseInstant } from '../../platform/runtime/instant';
import type { SealedPart } from '../search/sealed-reads';
import type { PageRequest } from './page-statement';
import { beginOf, startOf } from './page-windows';
import type { Position } from './position';

/** Months of a window after which the next one is the rest of the list. */
const MAX_MONTHS = 24;
/** Before all ids. */
const NIL_ID = '00000000-0000-0000-0000-000000000000';

interface Range extends Pick<PageRequest, 'after' | 'from' | 'to' | 'isNarrow'> {
  /** Of a part that an index serves. */
  sealed?: Required<Pick<SealedPart, 'by' | 'ranges'>>;
}

/**
 * Where a search in portions is in its list. In an order by time each portion is within a window of months, so that
 * planning its statement opens few partitions; windows grow as they turn out to hold less than a portion.
 */
export class PortionWalk {
  private after: Position | undefined;
  /** The month in which the next portion begins; undefined where windows say nothing. */
  private month: Month | undefined;
  /** The end of the window before, which the next one continues. */
  private edge: string | undefined;
  /** Months beside the first; Infinity: all. */
  private width: number;
  /** Parts that replace windows, from the present one on. */
  private parts: readonly SealedPart[] | undefined;

  /** @param covered months that a page of this list covers, beside the first; Infinity: it is searched everywhere. */
  constructor(
    private readonly request: PageRequest,
    covered: number,
  ) {
    this.after = request.after;
    this.month = beginOf(request);
    // A search that ended between two windows goes on in the rest of the list: further ones may be as empty.
    this.width = request.after?.id === NIL_ID ? Infinity : covered;
  }

  /** The part of the list that the next portion is in. */
  range(): Range {
    const { after, month, width, edge } = this;
    const [part] = this.parts ?? [];
    if (part) return this.rangeOf(part);
    if (month === undefined || width > MAX_MONTHS)
      return { after, ...this.bounded(edge, undefined) };
    const isAscending = this.request.sort.direction === 'asc';
    const far = isAscending ? addMonths(month, width + 1) : addMonths(month, -width);
    const near = isAscending ? month : addMonths(month, 1);
    const isBounded = edge !== undefined || after !== undefined;
    return {
      after,
      isNarrow: true,
      ...this.bounded(isBounded ? startOf(near) : undefined, startOf(far)),
    };
  }

  /** Goes on in these parts, which are all of a list by time in its order, instead of windows. */
  use(parts: readonly SealedPart[]): void {
    const isAscending = this.request.sort.direction === 'asc';
    const { timestamp } = this.position() ?? {};
    const micros = timestamp === undefined ? undefined : (parseInstant(timestamp) ?? 0);
    const isPassed = ({ lowerMs, upperMs }: SealedPart): boolean => {
      if (micros === undefined) return false;
      return isAscending ? 1000 * upperMs <= micros : 1000 * lowerMs > micros;
    };
    this.parts = parts.filter((part) => !isPassed(part));
  }

  private rangeOf({ lowerMs, upperMs, by, ranges }: SealedPart): Range {
    if (by && ranges) return { after: this.position(), sealed: { by, ranges } };
    const { after, edge } = this;
    const [lower, upper] = [lowerMs, upperMs].map((ms) =>
      Number.isFinite(ms) ? formatInstant(1000 * ms) : undefined,
    );
    const isAscending = this.request.sort.direction === 'asc';
    const [near, far] = isAscending ? [lower, upper] : [upper, lower];
    return { after, isNarrow: true, ...this.bounded(edge ?? near, far) };
  }

  private bounded(near: string | undefined, far: string | undefined): Range {
    const isAscending = this.request.sort.direction === 'asc';
    const [from, to] = isAscending ? [near, far] : [far, near];
    return { ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) };
  }

  /**
   * Goes on after a portion that ended at `reached`, or, without, at the end of its range. False at the end of the list.
   */
  advance(reached: Position | undefined): boolean {
    if (reached) {
      this.after = reached;
      this.edge = undefined;
      if (this.parts) return true;
      if (this.hasWindows) this.month = monthOf(reached.timestamp);
      if (this.width > MAX_MONTHS) this.width = 0;
      return true;
    }
    const isAscending = this.request.sort.direction === 'asc';
    if (this.parts) return this.leavePart(this.parts, isAscending);
    const range = this.range();
    const far = isAscending ? range.to : range.from;
    if (far === undefined || this.month === undefined || this.isLast(far)) return false;
    this.edge = far;
    this.month = isAscending ? monthOf(far) : addMonths(monthOf(far), -1);
    this.width = 4 * this.width + 3;
    return true;
  }

  private leavePart([part, ...others]: readonly SealedPart[], isAscending: boolean): boolean {
    this.parts = others;
    const farMs = isAscending ? part?.upperMs : part?.lowerMs;
    if (farMs === undefined || others.length === 0) return false;
    const far = formatInstant(1000 * farMs);
    if (this.isLast(far)) return false;
    this.edge = far;
    return true;
  }

  /** Where the search has come to: every event of the list before is in what was found. */
  position(): Position | undefined {
    const { edge, after } = this;
    if (edge === undefined) return after;
    // Before all events of that instant, in either direction.
    return { timestamp: edge, id: NIL_ID, organizationId: '', sequence: '0' };
  }

  /** Events that an offset skips are counted up to the end of a portion alone. */
  get hasWindows(): boolean {
    return this.request.sort.field === 'timestamp' && this.request.offset === 0;
  }

  private isLast(far: string): boolean {
    const { filter, sort } = this.request;
    const { startDate, endDate } = filter;
    const micros = parseInstant(far) ?? 0;
    return sort.direction === 'asc'
      ? endDate !== undefined && endDate.micros < micros
      : startDate !== undefined && startDate.micros >= micros;
  }
}
