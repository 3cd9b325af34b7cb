/*
 * JSON as text: numbers are shown with the digits that were sent, which a double would round. Texts come from the service
 * and are well formed; one that is not ends where it ends.
 */

export type JsonTokenKind = 'punctuation' | 'name' | 'string' | 'number' | 'word' | 'space';

export interface JsonToken {
  kind: JsonTokenKind;
  text: string;
}

const SPACE = /\s/;

/** Index behind the value that begins at `at`. */
function endOfValue(text: string, at: number): number {
  const first = text[at];
  if (first === '"') return endOfString(text, at);
  if (first !== '{' && first !== '[') return endOfWord(text, at);
  let depth = 0;
  const marks = /["{}[\]]/g;
  marks.lastIndex = at;
  for (let mark = marks.exec(text); mark; mark = marks.exec(text)) {
    const [character] = mark;
    if (character === '"') marks.lastIndex = endOfString(text, mark.index);
    else if (character === '{' || character === '[') depth += 1;
    else if (depth === 1) return mark.index + 1;
    else depth -= 1;
  }
  return text.length;
}

function endOfString(text: string, at: number): number {
  for (let quote = text.indexOf('"', at + 1); quote >= 0; quote = text.indexOf('"', quote + 1)) {
    let backslashes = 0;
    while (text.charCodeAt(quote - 1 - backslashes) === 0x5c) backslashes += 1;
    if (backslashes % 2 === 0) return quote + 1;
  }
  return text.length;
}

function endOfWord(text: string, at: number): number {
  let index = at;
  while (index < text.length && !/[\s,:{}[\]"]/.test(text[index] ?? '')) index += 1;
  return Math.max(index, at + 1);
}

function afterSpace(text: string, at: number): number {
  let index = at;
  while (index < text.length && SPACE.test(text[index] ?? '')) index += 1;
  return index;
}

/** Members of an object, each name with the text of its value, in order. */
export function membersOf(text: string): [name: string, value: string][] {
  const members: [string, string][] = [];
  let at = afterSpace(text, 0);
  if (text[at] !== '{') return members;
  at = afterSpace(text, at + 1);
  while (text[at] === '"') {
    const nameEnd = endOfString(text, at);
    const name = JSON.parse(text.slice(at, nameEnd)) as string;
    const start = afterSpace(text, afterSpace(text, nameEnd) + 1);
    const end = endOfValue(text, start);
    members.push([name, text.slice(start, end)]);
    at = afterSpace(text, end);
    if (text[at] !== ',') break;
    at = afterSpace(text, at + 1);
  }
  return members;
}

/** Texts of the elements of an array. */
export function elementsOf(text: string): string[] {
  const elements: string[] = [];
  let at = afterSpace(text, 0);
  if (text[at] !== '[') return elements;
  at = afterSpace(text, at + 1);
  while (at < text.length && text[at] !== ']') {
    const end = endOfValue(text, at);
    elements.push(text.slice(at, end));
    at = afterSpace(text, end);
    if (text[at] === ',') at = afterSpace(text, at + 1);
  }
  return elements;
}

/** The text of one member of an object; undefined where there is none. */
export function memberOf(text: string, name: string): string | undefined {
  return membersOf(text).find(([one]) => one === name)?.[1];
}

/** Tokens of a text, laid out with two spaces a level. Strings and numbers are as they were sent. */
export function* layOut(text: string): Generator<JsonToken> {
  let depth = 0;
  const line = (): JsonToken => ({ kind: 'space', text: `\n${'  '.repeat(depth)}` });
  for (let at = afterSpace(text, 0); at < text.length; at = afterSpace(text, at)) {
    const character = text[at] ?? '';
    if (character === '{' || character === '[') {
      const next = afterSpace(text, at + 1);
      if (text[next] === '}' || text[next] === ']') {
        yield { kind: 'punctuation', text: character + text[next] };
        at = next + 1;
        continue;
      }
      depth += 1;
      yield { kind: 'punctuation', text: character };
      yield line();
      at += 1;
    } else if (character === '}' || character === ']') {
      depth -= 1;
      yield line();
      yield { kind: 'punctuation', text: character };
      at += 1;
    } else if (character === ',') {
      yield { kind: 'punctuation', text: ',' };
      yield line();
      at += 1;
    } else if (character === ':') {
      yield { kind: 'punctuation', text: ': ' };
      at += 1;
    } else {
      const end = endOfValue(text, at);
      const isName = character === '"' && text[afterSpace(text, end)] === ':';
      const kind = character === '"' ? (isName ? 'name' : 'string') : wordKind(character);
      yield { kind, text: text.slice(at, end) };
      at = end;
    }
  }
}

function wordKind(character: string): JsonTokenKind {
  return /[-0-9]/.test(character) ? 'number' : 'word';
}

/** The text with two spaces a level. */
export function pretty(text: string): string {
  let result = '';
  for (const token of layOut(text)) result += token.text;
  return result;
}
