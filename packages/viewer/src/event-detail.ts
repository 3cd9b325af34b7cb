import type { EventTarget, ViewerEvent } from './audit-api';
import { type Child, h, icon, type IconName, replace, shown } from './dom';
import { elementsOf, layOut, memberOf, membersOf, pretty } from './exact-json';
import type { Language, Texts } from './texts';
import type { TimeFormat } from './time-format';
import { statusOf } from './timeline';

/** Characters of JSON that are laid out at once: more takes the browser long. */
const SHOWN_JSON = 20_000;
/** Characters of a value of a change that are compared. */
const COMPARED = 5000;

interface DetailOptions {
  language: Language;
  times: TimeFormat;
  close: () => void;
  /** Opens the event above (-1) or below (1). */
  step: (step: number) => void;
  /** Searches for events with the same value. */
  similar: (qualifier: string, value: string) => void;
  /** The address of the event. */
  link: () => string;
}

/** One event: its members, changes, targets, session, metadata and JSON. */
export class EventDetail {
  readonly element: HTMLElement;
  private readonly heading: HTMLElement;
  private readonly content: HTMLElement;
  private event: ViewerEvent | undefined;

  constructor(private readonly options: DetailOptions) {
    const { language } = options;
    this.heading = h('h2', { tabindex: -1 }, language.text('details'));
    this.content = h('div', { class: 'detail-content' });
    const bar = h('div', { class: 'detail-bar' }, this.heading);
    bar.append(
      this.button('up', 'previous', () => options.step(-1)),
      this.button('down', 'next', () => options.step(1)),
      this.copyButton('link', 'copyLink', () => options.link()),
      this.copyButton('copy', 'copyJson', () => this.event?.text ?? ''),
      this.button('close', 'close', () => options.close()),
    );
    this.element = h('section', {
      class: 'detail',
      part: 'detail',
      'aria-label': language.text('details'),
      hidden: true,
    });
    this.element.append(bar, this.content);
  }

  get isOpen(): boolean {
    return !this.element.hidden;
  }

  get shown(): ViewerEvent | undefined {
    return this.isOpen ? this.event : undefined;
  }

  focus(): void {
    this.heading.focus({ preventScroll: true });
  }

  close(): void {
    this.element.hidden = true;
    this.event = undefined;
  }

  /** A sentence in place of an event. */
  showMessage(text: string): void {
    this.event = undefined;
    this.element.hidden = false;
    replace(this.heading, this.options.language.text('details'));
    replace(this.content, h('p', { class: 'message', role: 'status' }, text));
  }

  show(event: ViewerEvent): void {
    this.event = event;
    this.element.hidden = false;
    replace(this.heading, shown(event.action));
    replace(
      this.content,
      this.summary(event),
      this.similarTo(event),
      this.changes(event),
      this.targets(event),
      this.session(event),
      this.json('metadata', memberOf(event.text, 'metadata'), true),
      this.json('raw', event.text, false),
    );
    this.content.scrollTop = 0;
  }

  private button(name: IconName, label: keyof Texts, onclick: () => void): HTMLButtonElement {
    const text = this.options.language.text(label);
    const attributes = { type: 'button', class: 'icon-button', 'aria-label': text, title: text };
    return h('button', { ...attributes, onclick }, icon(name));
  }

  private copyButton(name: IconName, label: keyof Texts, text: () => string): HTMLElement {
    const said = h('span', { class: 'said', role: 'status' });
    const button = this.button(name, label, () => {
      navigator.clipboard.writeText(text()).then(
        () => {
          replace(said, this.options.language.text('copied'));
          setTimeout(() => said.replaceChildren(), 2000);
        },
        () => undefined, // the page may not use the clipboard
      );
    });
    return h('span', { class: 'copy' }, button, said);
  }

  private summary(event: ViewerEvent): Node {
    const { language, times } = this.options;
    const list = h('dl', { class: 'members' });
    const add = (name: keyof Texts, ...value: Child[]) =>
      list.append(h('div', {}, h('dt', {}, language.text(name)), h('dd', {}, value)));
    const text = (name: keyof Texts, value: string | null | undefined) => {
      if (value !== null && value !== undefined) add(name, shown(value));
    };
    const time = (value: string) => [
      times.full(value),
      h('span', { class: 'exact' }, h('time', { datetime: value }, value)),
    ];
    add('when', ...time(event.timestamp));
    add('status', statusOf(event.status, language));
    text('outcome', event.outcomeDescription);
    if (event.principalId !== null || event.principalName !== undefined) {
      add(
        'principal',
        event.principalName !== undefined && shown(event.principalName),
        event.principalId !== null && h('code', {}, shown(event.principalId)),
        event.principalType !== undefined &&
          h('span', { class: 'tag' }, shown(event.principalType)),
      );
    }
    text('organization', event.organizationId);
    text('classification', event.dataClassification);
    if (event.correlationId !== null) add('correlation', h('code', {}, shown(event.correlationId)));
    if (event.source) {
      const { service, host, version } = event.source;
      const parts = [service, host, version].filter((one) => one !== undefined && one !== null);
      add('source', shown(parts.join(' · ')));
    }
    text('schemaVersion', event.schemaVersion);
    add('recordedAt', ...time(event.recordedAt));
    add('sequence', h('code', {}, event.sequence));
    add('id', h('code', {}, event.id));
    return list;
  }

  private similarTo(event: ViewerEvent): Node {
    const { language, similar } = this.options;
    const [target] = event.targets ?? [];
    const values: [qualifier: string, value: string | null | undefined][] = [
      ['actor', event.principalId],
      ['action', event.action],
      ['target', target?.id ?? event.targetResourceId],
      ['correlation', event.correlationId],
      ['session', event.sessionContext?.sessionId],
      ['ip', event.sessionContext?.ipAddress],
    ];
    const buttons = values.flatMap(([qualifier, value]) => {
      if (value === null || value === undefined || value === '') return [];
      const label = language.text(`same_${qualifier}` as keyof Texts);
      const onclick = () => similar(qualifier, value);
      return [h('button', { type: 'button', class: 'button small', title: value, onclick }, label)];
    });
    return this.section('moreLikeThis', h('div', { class: 'row-of-buttons' }, buttons));
  }

  private changes(event: ViewerEvent): Node | undefined {
    const changes = elementsOf(memberOf(event.text, 'changes') ?? '');
    if (changes.length === 0) return undefined;
    const { language } = this.options;
    const head = (['path', 'before', 'after'] as const).map((name) =>
      h('th', { scope: 'col' }, language.text(name)),
    );
    const rows = changes.map((change) => {
      const members = new Map(membersOf(change));
      const path = JSON.parse(members.get('path') ?? '""') as string;
      const [before, after] = this.compared(members.get('old'), members.get('new'));
      return h(
        'tr',
        {},
        h('th', { scope: 'row' }, h('code', {}, shown(path))),
        h('td', { class: 'old' }, before),
        h('td', { class: 'new' }, after),
      );
    });
    const table = h('table', { class: 'changes' }, h('thead', {}, h('tr', {}, head)));
    table.append(h('tbody', {}, rows));
    return this.section('changes', table);
  }

  /** Two values, where they differ marked. */
  private compared(old: string | undefined, now: string | undefined): [Child[], Child[]] {
    const absent = () => [h('span', { class: 'none' }, this.options.language.text('absent'))];
    const whole = (text: string) => [h('code', {}, shown(pretty(text)))];
    if (old === undefined || now === undefined || old.length + now.length > COMPARED) {
      return [old === undefined ? absent() : whole(old), now === undefined ? absent() : whole(now)];
    }
    const [one, other] = [[...pretty(old)], [...pretty(now)]];
    let start = 0;
    while (start < Math.min(one.length, other.length) && one[start] === other[start]) start += 1;
    let end = 0;
    while (
      end < Math.min(one.length, other.length) - start &&
      one[one.length - 1 - end] === other[other.length - 1 - end]
    ) {
      end += 1;
    }
    const marked = (tag: 'del' | 'ins', text: string[]) => {
      const part = (from: number, to: number) => text.slice(from, to).join('');
      const code = h('code', {}, shown(part(0, start)));
      const changed = part(start, text.length - end);
      if (changed !== '') code.append(h(tag, {}, shown(changed)));
      code.append(shown(part(text.length - end, text.length)));
      return [code];
    };
    return [marked('del', one), marked('ins', other)];
  }

  private targets({
    targets,
    targetResourceType,
    targetResourceId,
  }: ViewerEvent): Node | undefined {
    const first: EventTarget = {
      ...(targetResourceType === null ? {} : { type: targetResourceType }),
      ...(targetResourceId === null ? {} : { id: targetResourceId }),
    };
    const items = (targets ?? [first]).flatMap(({ type, id, name }) => {
      if (type === undefined && id === undefined) return [];
      return [
        h(
          'li',
          {},
          type !== undefined && h('span', { class: 'type' }, shown(type)),
          name !== undefined && shown(name),
          id !== undefined && h('code', {}, shown(id)),
        ),
      ];
    });
    if (items.length === 0) return undefined;
    return this.section('targets', h('ul', { class: 'targets' }, items));
  }

  private session({ sessionContext }: ViewerEvent): Node | undefined {
    if (!sessionContext) return undefined;
    const { language } = this.options;
    const names = ['ipAddress', 'geolocation', 'userAgent', 'sessionId'] as const;
    const list = h('dl', { class: 'members' });
    for (const name of names) {
      const value = sessionContext[name];
      if (value === null || value === undefined) continue;
      list.append(h('div', {}, h('dt', {}, language.text(name)), h('dd', {}, shown(value))));
    }
    return list.childElementCount === 0 ? undefined : this.section('session', list);
  }

  private json(name: keyof Texts, text: string | undefined, isOpen: boolean): Node | undefined {
    if (text === undefined || text === 'null') return undefined;
    const { language } = this.options;
    const code = h('code', { class: 'json' });
    const block = h('pre', { tabindex: 0, role: 'group', 'aria-label': language.text(name) }, code);
    const details = h('details', {}, h('summary', {}, language.text(name)), block);
    let isFilled = false;
    const fill = () => {
      if (isFilled || !details.open) return;
      isFilled = true;
      const isWhole = fillJson(code, text, SHOWN_JSON);
      if (isWhole) return;
      const onclick = () => {
        code.replaceChildren();
        // Without colours: an element for each of a hundred thousand tokens would hold the page up.
        code.append(shown(pretty(text)));
        more.remove();
      };
      const size = language.size(new TextEncoder().encode(text).length);
      const label = language.text('showAll', { size });
      const more = h('button', { type: 'button', class: 'button small', onclick }, label);
      details.append(more);
    };
    details.addEventListener('toggle', fill);
    details.open = isOpen;
    fill();
    return details;
  }

  private section(name: keyof Texts, content: Node): Node {
    return h('section', {}, h('h3', {}, this.options.language.text(name)), content);
  }
}

/** Writes tokens into `code`, up to `limit` characters. @returns whether that was all. */
function fillJson(code: HTMLElement, text: string, limit: number): boolean {
  let length = 0;
  for (const { kind, text: token } of layOut(text)) {
    if (length > limit) {
      code.append(' …');
      return false;
    }
    length += token.length;
    if (kind === 'space' || kind === 'punctuation') code.append(token);
    else {
      const element = shown(token.length > limit ? `${token.slice(0, limit)}…` : token);
      element.className = kind;
      code.append(element);
      if (token.length > limit) return false;
    }
  }
  return true;
}
