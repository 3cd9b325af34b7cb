import type { EventPage, ViewerEvent } from './audit-api';

/** Loads the page of a cursor; the first one without. */
export type LoadPage = (cursor: string | undefined, signal: AbortSignal) => Promise<EventPage>;

/** Pages whose events are kept; others keep their cursor, and are loaded again when they are scrolled to. */
const KEPT_PAGES = 20;
/** Rows beyond those on screen that are loaded ahead. */
const AHEAD = 300;

interface Page {
  cursor: string | undefined;
  count: number;
  events: ViewerEvent[] | undefined;
  usedAt: number;
  isLoading: boolean;
}

/**
 * A list of any length in bounded memory. Rows are numbered from the newest event that came live; a page that has left
 * memory keeps its rows, so that nothing on screen moves when it comes back.
 */
export class EventPages {
  /** Events that came since the first page was loaded, the newest first. */
  readonly live: ViewerEvent[] = [];
  private readonly pages: Page[] = [];
  private next: string | undefined;
  private isComplete = false;
  private isExtending = false;
  private clock = 0;
  private readonly controller = new AbortController();
  /** Why the list could not be extended; a further call of `extend` tries again. */
  failure: unknown;

  /** @param changed called when rows have come, gone or failed. */
  constructor(
    private readonly load: LoadPage,
    private readonly changed: () => void,
  ) {}

  /** Rows so far. */
  get count(): number {
    return this.live.length + this.pages.reduce((sum, { count }) => sum + count, 0);
  }

  /** True when the last row is the last event. */
  get isAtEnd(): boolean {
    return this.isComplete;
  }

  get isLoading(): boolean {
    return this.isExtending;
  }

  /** Ends all requests; nothing is called afterwards. */
  close(): void {
    this.controller.abort();
  }

  /** The event of a row; undefined while its page is not in memory. */
  at(row: number): ViewerEvent | undefined {
    if (row < this.live.length) return this.live[row];
    let start = this.live.length;
    for (const page of this.pages) {
      if (row < start + page.count) return page.events?.[row - start];
      start += page.count;
    }
    return undefined;
  }

  /** The row of an event in memory; -1 without. */
  rowOf(isWanted: (event: ViewerEvent) => boolean): number {
    const inLive = this.live.findIndex(isWanted);
    if (inLive >= 0) return inLive;
    let start = this.live.length;
    for (const { events, count } of this.pages) {
      const found = events?.findIndex(isWanted) ?? -1;
      if (found >= 0) return start + found;
      start += count;
    }
    return -1;
  }

  /** Every event in memory. */
  *loaded(): Generator<ViewerEvent> {
    yield* this.live;
    for (const { events } of this.pages) if (events) yield* events;
  }

  /** The newest events: those that came live, and the first page. */
  *head(): Generator<ViewerEvent> {
    yield* this.live;
    yield* this.pages[0]?.events ?? [];
  }

  /** Puts newer events on top; those that are there already are left out. */
  prepend(events: readonly ViewerEvent[]): number {
    const known = new Set([...this.head()].map(keyOf));
    const fresh = events.filter((event) => !known.has(keyOf(event)));
    this.live.unshift(...fresh);
    return fresh.length;
  }

  /** Sees to it that rows from `first` to `last` are in memory, and some beyond. */
  show(first: number, last: number): void {
    let start = this.live.length;
    this.clock += 1;
    for (const page of this.pages) {
      const isShown = start <= last && first < start + page.count;
      if (isShown) page.usedAt = this.clock;
      if (isShown && !page.events && !page.isLoading) this.reload(page);
      start += page.count;
    }
    if (last + AHEAD >= this.count && this.failure === undefined) this.extend();
  }

  /** Loads the next page, unless one is being loaded or there is none. */
  extend(): void {
    if (this.isExtending || this.isComplete || this.controller.signal.aborted) return;
    this.isExtending = true;
    this.failure = undefined;
    const cursor = this.next;
    this.load(cursor, this.controller.signal).then(
      (page) => {
        if (this.controller.signal.aborted) return;
        this.isExtending = false;
        const { events, nextCursor } = page;
        const usedAt = this.clock;
        if (events.length > 0)
          this.pages.push({ cursor, count: events.length, events, usedAt, isLoading: false });
        this.next = nextCursor;
        this.isComplete = nextCursor === undefined;
        this.forget();
        this.changed();
      },
      (error: unknown) => {
        if (this.controller.signal.aborted) return;
        this.isExtending = false;
        this.failure = error;
        this.changed();
      },
    );
  }

  private reload(page: Page): void {
    page.isLoading = true;
    this.load(page.cursor, this.controller.signal).then(
      ({ events }) => {
        page.isLoading = false;
        // Events with earlier timestamps may have been recorded since: rows keep their places all the same.
        page.events = events.slice(0, page.count);
        this.forget();
        this.changed();
      },
      (error: unknown) => {
        page.isLoading = false;
        if (this.controller.signal.aborted) return;
        this.failure = error;
        this.changed();
      },
    );
  }

  private forget(): void {
    const inMemory = this.pages.filter(({ events }) => events);
    const surplus = inMemory.length - KEPT_PAGES;
    if (surplus <= 0) return;
    const oldest = inMemory.sort((one, other) => one.usedAt - other.usedAt).slice(0, surplus);
    for (const page of oldest) page.events = undefined;
  }
}

/** Ids are unique in an organization. */
export function keyOf({ organizationId, id }: ViewerEvent): string {
  return `${organizationId} ${id}`;
}
