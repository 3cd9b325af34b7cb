import { type Child, h, icon, replace, shown } from './dom';
import { Menu } from './menu';
import {
  quoted,
  tokensOf,
  withoutQualifiers,
  withoutToken,
  withQualifier,
  WORDS,
} from './query-text';
import type { Language, Texts } from './texts';
import type { TimeFormat } from './time-format';
import { type Range, RANGES, type ViewState } from './view-state';

/** Filters that have a menu: qualifier, name, synonyms. */
const VALUES: readonly [qualifier: string, name: keyof Texts][] = [
  ['actor', 'principal'],
  ['action', 'action'],
  ['target', 'target'],
];

interface FilterBarOptions {
  language: Language;
  times: TimeFormat;
  /** Organizations to choose from; none where there is no choice. */
  organizations: readonly string[];
  valuesOf: (qualifier: string) => readonly string[];
  /** Called with what differs. */
  change: (change: Partial<ViewState>) => void;
}

/** Menus of the common filters, and a chip for each filter that holds. */
export class FilterBar {
  readonly element: HTMLElement;
  private readonly chips: HTMLElement;
  private readonly organizationLabel = h('span');
  private readonly timeLabel = h('span');
  private state: ViewState | undefined;

  constructor(private readonly options: FilterBarOptions) {
    const { language, organizations } = options;
    const menus: Node[] = [
      new Menu(
        [icon('clock'), this.timeLabel],
        (close) => this.timePanel(close),
        language.text('time'),
      ).element,
      new Menu([language.text('status')], () => this.statusPanel(), language.text('status'))
        .element,
      ...VALUES.map(
        ([qualifier, name]) =>
          new Menu(
            [language.text(name)],
            (close) => this.valuePanel(qualifier, name, close),
            language.text(name),
          ).element,
      ),
    ];
    if (organizations.length > 1) {
      const menu = new Menu(
        [this.organizationLabel],
        (close) => this.organizationPanel(close),
        language.text('organization'),
      );
      menus.unshift(menu.element);
    }
    this.chips = h('ul', { class: 'chips', 'aria-label': language.text('activeFilters') });
    this.element = h('div', { class: 'filters', part: 'filters' }, menus, this.chips);
  }

  show(state: ViewState): void {
    this.state = state;
    const { language } = this.options;
    replace(this.timeLabel, this.timeText(state));
    replace(this.organizationLabel, state.organization ?? language.text('allOrganizations'));
    const chips = tokensOf(state.q).map((token) => {
      const text = state.q.slice(token.start, token.end);
      return h(
        'li',
        { class: token.isNegated ? 'chip excludes' : 'chip', part: 'chip' },
        h('span', { class: 'chip-text', title: text }, shown(text)),
        h(
          'button',
          {
            type: 'button',
            class: 'icon-button',
            'aria-label': language.text('removeFilter', { filter: text }),
            onclick: () => this.change({ q: withoutToken(state.q, token) }),
          },
          icon('close'),
        ),
      );
    });
    if (chips.length > 1) {
      const all = { type: 'button', class: 'link', onclick: () => this.change({ q: '' }) };
      chips.push(h('li', {}, h('button', all, language.text('clearAll'))));
    }
    replace(this.chips, chips);
    this.chips.hidden = chips.length === 0;
  }

  private change(change: Partial<ViewState>): void {
    this.options.change(change);
  }

  private timeText({ range, from, to }: ViewState): string {
    const { language, times } = this.options;
    if (range) return language.text(`range_${range}`);
    if (!from && !to) return language.text('anyTime');
    return `${from ? times.short(from) : '…'} – ${to ? times.short(to) : '…'}`;
  }

  private timePanel(close: () => void): Child[] {
    const { language, times } = this.options;
    const choose = (change: { range?: Range; from?: string; to?: string }) => {
      this.change({ range: undefined, from: undefined, to: undefined, ...change });
      close();
    };
    const item = (label: string, isChosen: boolean, change: { range?: Range }) =>
      h(
        'button',
        {
          type: 'button',
          class: 'menu-item',
          'aria-pressed': String(isChosen),
          onclick: () => choose(change),
        },
        label,
      );
    const { range, from, to } = this.state ?? {};
    const input = (label: keyof Texts, value: string | undefined) => {
      const field = h('input', { type: 'datetime-local' });
      if (value) field.value = times.localInput(value);
      return { field, row: h('label', { class: 'field' }, language.text(label), field) };
    };
    const [start, end] = [input('from', from), input('to', to)];
    const form = h('form', {
      class: 'menu-form',
      onsubmit: (event: Event) => {
        event.preventDefault();
        const [first, last] = [
          times.instantOf(start.field.value),
          times.instantOf(end.field.value),
        ];
        choose({ ...(first ? { from: first } : {}), ...(last ? { to: last } : {}) });
      },
    });
    form.append(
      start.row,
      end.row,
      h('button', { type: 'submit', class: 'button primary' }, language.text('apply')),
    );
    return [
      item(language.text('anyTime'), !range && !from && !to, {}),
      ...(Object.keys(RANGES) as Range[]).map((one) =>
        item(language.text(`range_${one}`), range === one, { range: one }),
      ),
      form,
    ];
  }

  private statusPanel(): Child[] {
    const { language } = this.options;
    const query = () => this.state?.q ?? '';
    const chosen = () =>
      tokensOf(query())
        .filter(({ qualifier, isNegated }) => qualifier === 'status' && !isNegated)
        .flatMap(({ value }) => value.split(','));
    return (WORDS.status ?? []).map((status) => {
      const box = h('input', { type: 'checkbox' });
      box.checked = chosen().includes(status);
      box.addEventListener('change', () => {
        const others = chosen().filter((one) => one !== status);
        const all = box.checked ? [...others, status] : others;
        const rest = withoutQualifiers(query(), ['status']);
        const added = all.length === 0 ? '' : `status:${all.join(',')}`;
        this.change({ q: `${rest} ${added}`.trim() });
      });
      const label = language.text(`status_${status}` as keyof Texts);
      return h('label', { class: 'menu-item' }, box, h('span', { class: `dot ${status}` }), label);
    });
  }

  private valuePanel(qualifier: string, name: keyof Texts, close: () => void): Child[] {
    const { language, valuesOf } = this.options;
    const add = (value: string, isNegated: boolean) => {
      const text = value.trim();
      if (text === '') return;
      this.change({ q: withTerm(this.state?.q ?? '', qualifier, text, isNegated) });
      close();
    };
    const input = h('input', {
      type: 'text',
      'aria-label': language.text('valueOf', { name: language.text(name) }),
      placeholder: language.text(`hint_${qualifier}` as keyof Texts),
      spellcheck: 'false',
      autocapitalize: 'off',
    });
    const form = h('form', {
      class: 'menu-form',
      onsubmit: (event: Event) => {
        event.preventDefault();
        add(input.value, false);
      },
    });
    const excludes = { type: 'button', class: 'button', onclick: () => add(input.value, true) };
    form.append(
      input,
      h(
        'div',
        { class: 'row-of-buttons' },
        h('button', { type: 'submit', class: 'button primary' }, language.text('addFilter')),
        h('button', excludes, language.text('exclude')),
      ),
    );
    const seen = valuesOf(qualifier).slice(0, 8);
    return [
      form,
      seen.length > 0 && h('p', { class: 'menu-title' }, language.text('seen')),
      ...seen.map((value) => {
        const attributes = {
          type: 'button',
          class: 'menu-item',
          onclick: () => {
            this.change({ q: withQualifier(this.state?.q ?? '', qualifier, value) });
            close();
          },
        };
        return h('button', attributes, shown(value));
      }),
    ];
  }

  private organizationPanel(close: () => void): Child[] {
    const { language, organizations } = this.options;
    const item = (label: string, organization: string | undefined) =>
      h(
        'button',
        {
          type: 'button',
          class: 'menu-item',
          'aria-pressed': String(this.state?.organization === organization),
          onclick: () => {
            this.change({ organization });
            close();
          },
        },
        shown(label),
      );
    return [
      item(language.text('allOrganizations'), undefined),
      ...organizations.map((one) => item(one, one)),
    ];
  }
}

/** A value typed into a menu may have `*` at its end, as in the query. */
function withTerm(text: string, qualifier: string, value: string, isNegated: boolean): string {
  if (!/^[^\s"*!,]+\*$/.test(value)) return withQualifier(text, qualifier, value, isNegated);
  const beginning = quoted(value.slice(0, -1));
  if (beginning.startsWith('"')) return withQualifier(text, qualifier, value, isNegated);
  return `${text.trim()} ${isNegated ? '-' : ''}${qualifier}:${beginning}*`.trim();
}
