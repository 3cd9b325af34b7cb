import type { DayCounts } from './audit-api';
import { h, replace } from './dom';
import type { Language } from './texts';
import type { TimeFormat } from './time-format';

const DAY_MS = 86_400_000;
/** More bars than that are too thin to be seen. */
const MAX_DAYS = 370;

interface DayChartOptions {
  language: Language;
  times: TimeFormat;
  /** Instants (ISO 8601): from this one on, and before this one. */
  choose: (from: string, to: string) => void;
}

/** Events of each day as bars; days are chosen by dragging, or with the keyboard (a list box of ARIA). */
export class DayChart {
  readonly element: HTMLElement;
  private readonly bars: HTMLElement;
  private readonly said: HTMLElement;
  private days: string[] = [];
  private counts = new Map<string, number>();
  private anchor = -1;
  private active = -1;
  private isDragging = false;

  constructor(private readonly options: DayChartOptions) {
    const { language } = options;
    this.said = h('span', { class: 'chart-said', role: 'status' });
    this.bars = h('div', {
      id: 'days',
      class: 'bars',
      role: 'listbox',
      tabindex: 0,
      'aria-orientation': 'horizontal',
      'aria-multiselectable': 'true',
      'aria-label': language.text('perDay'),
      title: language.text('perDayHint'),
      onpointerdown: (event: PointerEvent) => this.pressed(event),
      onpointermove: (event: PointerEvent) => this.moved(event),
      onpointerup: () => this.released(),
      onpointercancel: () => this.mark(-1, -1),
      onkeydown: (event: KeyboardEvent) => this.keyPressed(event),
      onblur: () => this.mark(-1, -1),
    });
    this.element = h('div', { class: 'chart', part: 'chart', hidden: true });
    this.element.append(this.bars, this.said);
  }

  hide(): void {
    this.element.hidden = true;
  }

  /**
   * Takes its place for the days from `from` to `to` (dates in the zone of the viewer), before they are counted: what is below does not
   * move later.
   * @returns whether these days are shown.
   */
  prepare(from: string, to: string): boolean {
    const days = daysBetween(from, to);
    // Bars of other days cannot be chosen any more.
    if (days.join() !== this.days.join()) replace(this.bars);
    this.days = days;
    const isShown = this.days.length >= 2 && this.days.length <= MAX_DAYS;
    this.element.hidden = !isShown;
    return isShown;
  }

  /**
   * Shows the days that were prepared.
   * @param note behind the total; what it is the total of, where that is not the list.
   */
  show({ counts, total, isExact }: DayCounts, note = ''): void {
    this.counts = counts;
    this.total = this.options.language.text(isExact ? 'countAll' : 'countAtLeast', {
      count: total,
    });
    if (note !== '') this.total += ` · ${note}`;
    const most = Math.max(1, ...counts.values());
    const bars = this.days.map((day, index) => {
      const count = counts.get(day) ?? 0;
      const bar = h('i', { class: 'bar' });
      // A day with few events is seen beside one with many.
      bar.style.height = count === 0 ? '0' : `${Math.max(6, (100 * count) / most)}%`;
      const label = this.labelOf(index);
      return h(
        'div',
        { id: `day-${index}`, class: 'day', role: 'option', 'aria-label': label, title: label },
        bar,
      );
    });
    replace(this.bars, bars);
    this.mark(-1, -1);
  }

  private total = '';

  private labelOf(index: number): string {
    const { language, times } = this.options;
    const day = this.days[index] ?? '';
    return language.text('dayCount', { day: times.day(day), count: this.counts.get(day) ?? 0 });
  }

  private mark(anchor: number, active: number): void {
    this.anchor = anchor;
    this.active = active;
    this.isDragging = this.isDragging && active >= 0;
    const [first, last] = [Math.min(anchor, active), Math.max(anchor, active)];
    for (const [index, bar] of [...this.bars.children].entries()) {
      bar.setAttribute('aria-selected', String(index >= first && index <= last));
    }
    if (active >= 0) this.bars.setAttribute('aria-activedescendant', `day-${active}`);
    else this.bars.removeAttribute('aria-activedescendant');
    const ends = [...new Set([first, last])].filter((index) => index >= 0);
    replace(
      this.said,
      ends.length === 0 ? this.total : ends.map((one) => this.labelOf(one)).join(' – '),
    );
  }

  private indexAt({ clientX }: PointerEvent): number {
    const { left, width } = this.bars.getBoundingClientRect();
    const index = Math.floor(((clientX - left) / width) * this.days.length);
    return Math.min(Math.max(index, 0), this.days.length - 1);
  }

  private pressed(event: PointerEvent): void {
    if (event.button !== 0) return;
    this.bars.setPointerCapture(event.pointerId);
    const index = this.indexAt(event);
    this.isDragging = true;
    this.mark(index, index);
  }

  private moved(event: PointerEvent): void {
    if (this.isDragging) this.mark(this.anchor, this.indexAt(event));
  }

  private released(): void {
    if (!this.isDragging) return;
    this.isDragging = false;
    this.choose();
  }

  private choose(): void {
    const { times, choose } = this.options;
    const first = this.days[Math.min(this.anchor, this.active)];
    const last = this.days[Math.max(this.anchor, this.active)];
    if (first === undefined || last === undefined) return;
    const from = times.instantOf(`${first}T00:00`);
    const to = times.instantOf(`${dayAfter(last)}T00:00`);
    if (from && to) choose(from, to);
  }

  private keyPressed(event: KeyboardEvent): void {
    const last = this.days.length - 1;
    const from = this.active < 0 ? last + 1 : this.active;
    const targets: Record<string, number> = {
      ArrowLeft: from - 1,
      ArrowRight: this.active < 0 ? last : from + 1,
      Home: 0,
      End: last,
    };
    const target = targets[event.key];
    if (target !== undefined) {
      const active = Math.min(Math.max(target, 0), last);
      this.mark(event.shiftKey && this.anchor >= 0 ? this.anchor : active, active);
    } else if ((event.key === 'Enter' || event.key === ' ') && this.active >= 0) {
      this.choose();
    } else {
      return;
    }
    event.preventDefault();
  }
}

/** Dates from `from` to `to`, both included; none where there are too many. */
export function daysBetween(from: string, to: string): string[] {
  const [first, last] = [Date.parse(`${from}T00:00Z`), Date.parse(`${to}T00:00Z`)];
  const days: string[] = [];
  for (let day = first; day <= last && days.length <= MAX_DAYS; day += DAY_MS) {
    days.push(new Date(day).toISOString().slice(0, 10));
  }
  return days;
}

function dayAfter(day: string): string {
  return new Date(Date.parse(`${day}T00:00Z`) + DAY_MS).toISOString().slice(0, 10);
}
