import type { ViewerEvent } from './audit-api';
import { type Child, h, icon, replace, shown } from './dom';
import { type EventPages, keyOf } from './event-pages';
import type { Language, Texts } from './texts';
import type { TimeFormat } from './time-format';

/** Browsers do not show elements much higher than this, in pixels. */
const MAX_HEIGHT = 15_000_000;
/** Rows above and below those on screen. */
const MARGIN = 8;

const COLUMNS: readonly (keyof Texts)[] = [
  'columnTime',
  'status',
  'principal',
  'action',
  'target',
  'columnOutcome',
];

interface TimelineOptions {
  language: Language;
  times: TimeFormat;
  open: (event: ViewerEvent) => void;
  /** The first row on screen is another one. */
  scrolled: () => void;
}

/** One row on screen; it is used again for other events. */
interface Row {
  element: HTMLElement;
  cells: HTMLElement[];
  /** The event that it shows: another one fills it anew. */
  shown: ViewerEvent | undefined;
  index: number;
}

/**
 * The list of events (a grid of ARIA). Rows have one height, and those on screen are the only ones there are: its cost does not
 * depend on the length of the list.
 */
export class Timeline {
  readonly element: HTMLElement;
  private readonly body: HTMLElement;
  private readonly foot: HTMLElement;
  private readonly rows: Row[] = [];
  private pages: EventPages | undefined;
  private active = -1;
  private openKey: string | undefined;
  private frame = 0;
  private rowHeight = 40;
  private readonly resize = new ResizeObserver(() => this.render());

  constructor(private readonly options: TimelineOptions) {
    const { language } = options;
    const head = h(
      'div',
      { role: 'row', class: 'row head', 'aria-rowindex': 1 },
      COLUMNS.map((name) => h('div', { role: 'columnheader' }, language.text(name))),
    );
    this.body = h('div', { role: 'rowgroup', class: 'rows' });
    this.foot = h('div', { class: 'foot', role: 'status' });
    const grid = h('div', {
      id: 'grid',
      role: 'grid',
      class: 'grid',
      tabindex: 0,
      'aria-label': language.text('timeline'),
      'aria-rowcount': -1,
      onkeydown: (event: KeyboardEvent) => this.keyPressed(event),
      onfocus: () => {
        if (this.active < 0) this.activate(this.firstVisible());
      },
    });
    grid.append(h('div', { role: 'rowgroup', class: 'head-group' }, head), this.body);
    this.element = h('div', {
      class: 'timeline',
      part: 'timeline',
      onscroll: () => {
        this.schedule();
        options.scrolled();
      },
    });
    this.element.append(grid, this.foot);
  }

  connect(): void {
    this.resize.observe(this.element);
  }

  disconnect(): void {
    this.resize.disconnect();
    cancelAnimationFrame(this.frame);
    this.frame = 0;
  }

  /** True while the newest events are in sight. */
  get isAtTop(): boolean {
    return this.element.scrollTop < this.rowHeight;
  }

  focus(): void {
    this.grid.focus({ preventScroll: true });
  }

  /** Shows another list, from its beginning. */
  showPages(pages: EventPages): void {
    this.pages = pages;
    this.active = -1;
    this.element.scrollTop = 0;
    this.refresh();
  }

  /** Shows what the list has now. `added` rows have come above: what is on screen stays, unless the top is. */
  refresh(added = 0): void {
    if (added > 0 && this.active >= 0) this.active += added;
    if (added > 0 && !this.isAtTop) this.element.scrollTop += added * this.rowHeight;
    this.render();
  }

  scrollToTop(): void {
    this.element.scrollTop = 0;
    this.render();
  }

  /** Marks the event that is open. */
  markOpen(event: ViewerEvent | undefined): void {
    this.openKey = event && keyOf(event);
    for (const row of this.rows) this.markRow(row);
  }

  /** Opens the event that is `step` rows from the open one. */
  openBeside(step: number): void {
    const from = this.pages?.rowOf((event) => keyOf(event) === this.openKey) ?? -1;
    const row = from >= 0 ? from + step : this.active + step;
    if (row < 0 || !this.pages?.at(row)) return;
    this.activate(row);
    this.openActive();
  }

  private get grid(): HTMLElement {
    return this.element.firstElementChild as HTMLElement;
  }

  private schedule(): void {
    if (this.frame !== 0) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.render();
    });
  }

  private firstVisible(): number {
    return Math.ceil(this.element.scrollTop / this.rowHeight);
  }

  private render(): void {
    const { pages } = this;
    const { clientHeight, scrollTop } = this.element;
    if (!pages || clientHeight === 0) return;
    const height = parseFloat(getComputedStyle(this.element).getPropertyValue('--_row')) || 40;
    if (height !== this.rowHeight) {
      this.rowHeight = height;
      for (const row of this.rows) row.index = -1;
    }
    const count = Math.min(pages.count, Math.floor(MAX_HEIGHT / height));
    this.body.style.height = `${count * height}px`;
    const first = Math.max(0, Math.floor(scrollTop / height) - MARGIN);
    const last = Math.min(count - 1, Math.ceil((scrollTop + clientHeight) / height) + MARGIN);
    pages.show(first, last);
    // A power of two, so that a list that grows by some rows does not make all of them anew.
    const needed = Math.ceil((clientHeight / height + 2 * MARGIN + 2) / 16) * 16;
    while (this.rows.length < needed) this.rows.push(this.newRow());
    const used = new Set<Row>();
    for (let index = first; index <= last; index += 1) {
      const row = this.rows[index % this.rows.length];
      if (!row) continue;
      used.add(row);
      this.fill(row, index);
    }
    for (const row of this.rows) row.element.hidden = !used.has(row);
    const isActiveThere = this.active >= first && this.active <= last;
    if (isActiveThere) this.grid.setAttribute('aria-activedescendant', `row-${this.active}`);
    else this.grid.removeAttribute('aria-activedescendant');
    this.grid.setAttribute('aria-rowcount', String(pages.isAtEnd ? count + 1 : -1));
    this.renderFoot(pages);
  }

  private renderFoot(pages: EventPages): void {
    const { language } = this.options;
    let content: Child[] = [language.text('loadingMore')];
    if (pages.failure !== undefined) {
      const retry = { type: 'button', class: 'button', onclick: () => pages.extend() };
      content = [language.text('moreFailed'), h('button', retry, language.text('tryAgain'))];
    } else if (pages.isAtEnd) {
      content = [language.text('endOfList', { count: pages.count })];
    }
    const text = content.map((one) => (one instanceof Node ? one.textContent : one)).join();
    if (this.foot.dataset.text === text) return;
    this.foot.dataset.text = text;
    replace(this.foot, content);
  }

  private newRow(): Row {
    const cells = COLUMNS.map((name) => h('div', { role: 'gridcell', class: `cell ${name}` }));
    const row: Row = {
      element: h('div', { role: 'row', class: 'row', part: 'row' }),
      cells,
      shown: undefined,
      index: -1,
    };
    row.element.append(...cells);
    row.element.addEventListener('click', () => {
      if (getSelection()?.type === 'Range') return;
      this.activate(row.index);
      this.openActive();
    });
    this.body.append(row.element);
    return row;
  }

  private fill(row: Row, index: number): void {
    const event = this.pages?.at(index);
    if (row.index !== index) {
      row.index = index;
      row.element.id = `row-${index}`;
      row.element.setAttribute('aria-rowindex', String(index + 2));
      row.element.style.transform = `translateY(${index * this.rowHeight}px)`;
    } else if (event !== undefined && row.shown === event) {
      this.markRow(row);
      return;
    }
    row.shown = event;
    row.element.classList.toggle('pending', !event);
    if (event) this.fillCells(row.cells, event);
    else for (const cell of row.cells) cell.replaceChildren();
    this.markRow(row);
  }

  private fillCells(cells: HTMLElement[], event: ViewerEvent): void {
    const { language, times } = this.options;
    const contents: Child[][] = [
      [
        h(
          'time',
          { datetime: event.timestamp, title: event.timestamp },
          times.short(event.timestamp),
        ),
      ],
      [statusOf(event.status, language)],
      principalOf(event),
      [shown(event.action)],
      targetOf(event),
      [event.outcomeDescription !== null && shown(event.outcomeDescription)],
    ];
    for (const [index, cell] of cells.entries()) replace(cell, contents[index] ?? []);
  }

  private markRow({ element, shown: event, index }: Row): void {
    const isOpen = event !== undefined && keyOf(event) === this.openKey;
    element.setAttribute('aria-selected', String(isOpen));
    element.classList.toggle('active', index === this.active);
  }

  private activate(index: number): void {
    const { pages } = this;
    if (!pages || pages.count === 0) return;
    this.active = Math.min(Math.max(0, index), pages.count - 1);
    const top = this.active * this.rowHeight;
    const head = this.body.offsetTop;
    const { scrollTop, clientHeight } = this.element;
    if (top < scrollTop) this.element.scrollTop = top;
    else if (top + this.rowHeight > scrollTop + clientHeight - head)
      this.element.scrollTop = top + this.rowHeight - clientHeight + head;
    this.render();
  }

  private openActive(): void {
    const event = this.pages?.at(this.active);
    if (event) this.options.open(event);
  }

  private keyPressed(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.rowHeight) - 2);
    const steps: Record<string, number> = {
      ArrowDown: 1,
      j: 1,
      ArrowUp: -1,
      k: -1,
      PageDown: page,
      PageUp: -page,
      Home: -Infinity,
      End: Infinity,
    };
    const step = steps[event.key];
    if (step !== undefined) this.activate(this.active + step);
    else if (event.key === 'Enter' || event.key === ' ') this.openActive();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

/** A status with its icon: the colour says nothing that the word does not. */
export function statusOf(status: string, language: Language): HTMLElement {
  const names = { success: 'check', failure: 'failure', attempt: 'attempt' } as const;
  const known = Object.hasOwn(names, status) ? (status as keyof typeof names) : undefined;
  const label = known ? language.text(`status_${known}`) : status;
  return h('span', { class: `status ${known ?? ''}` }, known && icon(names[known]), shown(label));
}

function principalOf({ principalId, principalName, principalType }: ViewerEvent): Child[] {
  const name = principalName ?? principalId;
  if (name === null) return [h('span', { class: 'none' }, '–')];
  const isPerson = principalType === undefined || principalType === 'user';
  return [shown(name), !isPerson && h('span', { class: 'tag' }, shown(principalType))];
}

function targetOf({ targetResourceType, targetResourceId, targets }: ViewerEvent): Child[] {
  const [first] = targets ?? [];
  const id = first?.name ?? first?.id ?? targetResourceId;
  const type = first?.type ?? targetResourceType;
  if (!id && !type) return [h('span', { class: 'none' }, '–')];
  const others = (targets?.length ?? 1) - 1;
  return [
    type && h('span', { class: 'type' }, shown(type)),
    id && shown(id),
    others > 0 && h('span', { class: 'tag' }, `+${others}`),
  ];
}
