/*
 * Elements are made by name, and texts are text nodes: nothing that an event holds is ever read as markup. No style
 * attribute is written, which a strict Content-Security-Policy forbids.
 */

export type Child = Node | string | number | undefined | null | false;
type Value = string | number | boolean | undefined | ((event: never) => void);

/** An element; names that begin with `on` are listeners, false and undefined leave an attribute out. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, Value> = {},
  ...children: (Child | Child[])[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    if (typeof value === 'function')
      element.addEventListener(name.slice(2), value as EventListener);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  append(element, children);
  return element;
}

export function append(parent: Node, children: (Child | Child[])[]): void {
  for (const child of children.flat()) {
    if (child === undefined || child === null || child === false) continue;
    parent.appendChild(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** Puts children in place of those that are there. */
export function replace(parent: Element, ...children: (Child | Child[])[]): void {
  parent.replaceChildren();
  append(parent, children);
}

/** Characters that are not seen and change how others are read: control characters, and those that turn the direction of text. */
// eslint-disable-next-line no-control-regex -- these are the characters that are looked for
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/gu; // prettier-ignore

/** A value of an event, isolated from the direction of the text round it; hidden characters are named. */
export function shown(value: string): HTMLElement {
  const element = document.createElement('bdi');
  let at = 0;
  for (const { 0: character, index } of value.matchAll(HIDDEN)) {
    if (index > at) element.append(value.slice(at, index));
    const code = character.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0');
    element.append(h('span', { class: 'hidden-character' }, `U+${code}`));
    at = index + 1;
  }
  element.append(value.slice(at));
  return element;
}

const SVG = 'http://www.w3.org/2000/svg';

/** Outlines on 16 × 16. */
const ICONS = {
  search: 'M7 12a5 5 0 1 0 0-10 5 5 0 0 0 0 10Zm3.6-1.4L14 14',
  close: 'm4 4 8 8m0-8-8 8',
  download: 'M8 2v8m0 0L5 7m3 3 3-3M3 13.5h10',
  clock: 'M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM8 5v3.2l2 1.3',
  down: 'm4.5 6.5 3.5 3.5 3.5-3.5',
  up: 'M4.5 9.5 8 6l3.5 3.5',
  copy: 'M6 6h7v7H6zM10 6V3H3v7h3',
  link: 'M6.5 9.5 9.5 6.5M7 4.5l1.2-1.2a3.2 3.2 0 0 1 4.5 4.5L11.5 9M9 11.5l-1.2 1.2a3.2 3.2 0 0 1-4.5-4.5L4.5 7',
  live: 'M8 9.2a1.2 1.2 0 1 0 0-2.4 1.2 1.2 0 0 0 0 2.4ZM4.8 11.2a4.5 4.5 0 0 1 0-6.4m6.4 0a4.5 4.5 0 0 1 0 6.4M2.9 13.1a7.2 7.2 0 0 1 0-10.2m10.2 0a7.2 7.2 0 0 1 0 10.2',
  sort: 'M5 3v10m0 0-2.5-2.5M5 13l2.5-2.5M11 13V3m0 0L8.5 5.5M11 3l2.5 2.5',
  zone: 'M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM2 8h12M8 2c2 1.8 2.8 3.7 2.8 6S10 12.2 8 14C6 12.2 5.2 10.3 5.2 8S6 3.8 8 2Z',
  check: 'm3.5 8.5 3 3 6-7',
  failure: 'm4.5 4.5 7 7m0-7-7 7',
  attempt: 'M3.5 8h9',
  keyboard: 'M2 4.500h12v7H2zM5 9.500h6M4.5 7h.01M7 7h.01M9.5 7h.01M11.5 7h.01',
} as const;
export type IconName = keyof typeof ICONS;

/** A picture beside a text, or in a button with a label: it says nothing by itself. */
export function icon(name: IconName): SVGElement {
  const svg = document.createElementNS(SVG, 'svg');
  const attributes = { viewBox: '0 0 16 16', width: '16', height: '16', 'aria-hidden': 'true' };
  for (const [key, value] of Object.entries(attributes)) svg.setAttribute(key, value);
  svg.classList.add('icon');
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', ICONS[name]);
  svg.append(path);
  return svg;
}
