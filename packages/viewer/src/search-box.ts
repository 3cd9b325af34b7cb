import { h, icon, replace, shown } from './dom';
import { completionAt, faultPlace, QUALIFIERS, quoted, WORDS } from './query-text';
import type { Language, Texts } from './texts';

interface Suggestion {
  /** Text that replaces what was typed. */
  text: string;
  label: string;
  hint?: string;
  /** More is to come: the value behind a qualifier. */
  isUnfinished: boolean;
}

const MAX_SUGGESTIONS = 8;

interface SearchBoxOptions {
  language: Language;
  /** Values of a qualifier in the events that are there. */
  valuesOf: (qualifier: string) => readonly string[];
  search: (text: string) => void;
}

/** The box of the query, with suggestions (a combobox of ARIA), and the place of a fault below it. */
export class SearchBox {
  readonly element: HTMLFormElement;
  private readonly input: HTMLInputElement;
  private readonly list: HTMLElement;
  private readonly fault: HTMLElement;
  private readonly clear: HTMLButtonElement;
  private suggestions: Suggestion[] = [];
  private active = -1;

  constructor(private readonly options: SearchBoxOptions) {
    const { language } = options;
    this.input = h('input', {
      id: 'query',
      type: 'text',
      role: 'combobox',
      autocomplete: 'off',
      autocapitalize: 'off',
      spellcheck: 'false',
      enterkeyhint: 'search',
      maxlength: 2000,
      placeholder: language.text('searchPlaceholder'),
      'aria-label': language.text('searchLabel'),
      'aria-autocomplete': 'list',
      'aria-expanded': 'false',
      'aria-controls': 'suggestions',
      oninput: () => {
        this.clear.hidden = this.input.value === '';
        this.suggest();
      },
      onclick: () => this.suggest(),
      onkeydown: (event: KeyboardEvent) => this.keyPressed(event),
      onblur: () => this.close(),
    });
    this.list = h('ul', {
      id: 'suggestions',
      role: 'listbox',
      class: 'suggestions',
      'aria-label': language.text('completions'),
      hidden: true,
      // The box keeps the focus while one chooses.
      onpointerdown: (event: Event) => event.preventDefault(),
    });
    this.clear = h(
      'button',
      {
        type: 'button',
        class: 'icon-button',
        'aria-label': language.text('clearSearch'),
        hidden: true,
        onclick: () => {
          this.value = '';
          this.input.focus();
          options.search('');
        },
      },
      icon('close'),
    );
    this.fault = h('div', { class: 'fault', id: 'fault', role: 'alert' });
    const box = h('div', { class: 'search-box', part: 'search' }, icon('search'), this.input);
    box.append(
      this.clear,
      h('button', { type: 'submit', class: 'button primary' }, language.text('searchButton')),
    );
    this.element = h('form', {
      class: 'search',
      role: 'search',
      onsubmit: (event: Event) => {
        event.preventDefault();
        this.close();
        options.search(this.input.value.trim());
      },
    });
    this.element.append(box, this.list, this.fault);
  }

  get value(): string {
    return this.input.value;
  }

  set value(text: string) {
    this.input.value = text;
    this.clear.hidden = text === '';
  }

  focus(): void {
    this.input.focus();
    this.input.select();
  }

  /** Shows the fault that the service found in `query`; none takes it away. */
  showFault(query: string, message: string | undefined): void {
    this.input.setAttribute('aria-invalid', String(message !== undefined));
    if (message === undefined) {
      this.input.removeAttribute('aria-describedby');
      return replace(this.fault);
    }
    this.input.setAttribute('aria-describedby', 'fault');
    const { language } = this.options;
    const at = faultPlace(query, message);
    const said = message.replace(/^.*?at character \d+: /, '');
    if (at === undefined) {
      return replace(this.fault, h('p', {}, language.text('fault'), ' ', said));
    }
    const marked = query.slice(at).match(/^\S*/)?.[0] || ' ';
    const place = [...query.slice(0, at)].length + 1;
    const excerpt = h('code', {}, shown(query.slice(0, at)), h('mark', {}, shown(marked)));
    excerpt.append(shown(query.slice(at + marked.length)));
    replace(
      this.fault,
      h('p', {}, language.text('faultAt', { place: String(place) }), ' ', said),
      excerpt,
    );
    if (this.input.matches(':focus')) this.input.setSelectionRange(at, at + marked.trim().length);
  }

  private suggest(): void {
    const caret = this.input.selectionStart ?? this.input.value.length;
    const { kind, qualifier = '', prefix } = completionAt(this.input.value, caret);
    const typed = prefix.toLowerCase();
    if (kind === 'qualifier') {
      const isDone = typed === '' && this.input.value.trim() !== '';
      this.suggestions = isDone
        ? []
        : QUALIFIERS.filter((name) => name.startsWith(typed)).map((name) => ({
            text: name.endsWith('.') ? name : `${name}:`,
            label: name.endsWith('.') ? `${name}…` : `${name}:`,
            hint: this.options.language.text(`hint_${name}` as keyof Texts),
            isUnfinished: true,
          }));
    } else {
      const values = WORDS[qualifier] ?? this.options.valuesOf(qualifier);
      this.suggestions = values
        .filter((value) => value.toLowerCase().includes(typed) && value !== prefix)
        .slice(0, MAX_SUGGESTIONS)
        .map((value) => ({ text: quoted(value), label: value, isUnfinished: false }));
    }
    this.active = -1;
    this.render();
  }

  private render(): void {
    const isOpen = this.suggestions.length > 0;
    this.list.hidden = !isOpen;
    this.input.setAttribute('aria-expanded', String(isOpen));
    const items = this.suggestions.map(({ label, hint }, index) => {
      const item = h('li', {
        id: `suggestion-${index}`,
        role: 'option',
        'aria-selected': String(index === this.active),
        onclick: () => this.choose(index),
      });
      item.append(shown(label));
      if (hint) item.append(h('span', { class: 'hint' }, hint));
      return item;
    });
    replace(this.list, items);
    if (this.active >= 0) {
      this.input.setAttribute('aria-activedescendant', `suggestion-${this.active}`);
      items[this.active]?.scrollIntoView({ block: 'nearest' });
    } else {
      this.input.removeAttribute('aria-activedescendant');
    }
  }

  private choose(index: number): void {
    const suggestion = this.suggestions[index];
    if (!suggestion) return;
    const { value } = this.input;
    const { start, end } = completionAt(value, this.input.selectionStart ?? value.length);
    const rest = value.slice(end);
    const space = suggestion.isUnfinished || rest.startsWith(' ') ? '' : ' ';
    this.value = value.slice(0, start) + suggestion.text + space + rest;
    const caret = start + suggestion.text.length + space.length;
    this.input.setSelectionRange(caret, caret);
    if (suggestion.isUnfinished) this.suggest();
    else this.close();
  }

  private close(): void {
    this.suggestions = [];
    this.active = -1;
    this.render();
  }

  private keyPressed(event: KeyboardEvent): void {
    const { key } = event;
    const count = this.suggestions.length;
    if (key === 'Escape' && count > 0) {
      event.stopPropagation();
      this.close();
    } else if ((key === 'ArrowDown' || key === 'ArrowUp') && count > 0) {
      const step = key === 'ArrowDown' ? 1 : -1;
      this.active = (this.active + step + (this.active < 0 && step < 0 ? 1 : 0) + count) % count;
      this.render();
    } else if (key === 'ArrowDown') {
      this.suggest();
    } else if ((key === 'Enter' || key === 'Tab') && this.active >= 0) {
      this.choose(this.active);
    } else {
      return;
    }
    event.preventDefault();
  }
}
