import { endOfString } from './lossless-json';

/** A member of a JSON object, its texts as written. */
export interface JsonMember {
  /** With its escapes resolved: `"\u0069d"` is `id`. */
  name: string;
  /** With its quotes. */
  nameText: string;
  valueText: string;
}

/*
 * Values stay slices of the text, so that numbers keep their digits, and a document of many records is read one record
 * at a time. Brackets, strings and separators alone are checked: the whole is well-formed if each value is.
 */

const QUOTE = 0x22;
const BLANKS = new Set([0x20, 0x09, 0x0a, 0x0d]);

/**
 * The outermost members of a JSON object, in order.
 * @throws SyntaxError for a text that is no object with members.
 */
export function* membersOf(objectText: string): Generator<JsonMember> {
  let at = beginning(objectText, '{');
  if (objectText[at] === '}') return requireEnd(objectText, at);
  for (;;) {
    if (objectText[at] !== '"') throw notWellFormed(at);
    const nameEnd = endOfString(objectText, at);
    const nameText = objectText.slice(at, nameEnd);
    const colonAt = skipBlanks(objectText, nameEnd);
    if (objectText[colonAt] !== ':') throw notWellFormed(colonAt);
    const valueStart = skipBlanks(objectText, colonAt + 1);
    const valueEnd = endOfValue(objectText, valueStart);
    const valueText = withoutBlanksAtEnd(objectText, valueStart, valueEnd);
    yield { name: JSON.parse(nameText) as string, nameText, valueText };
    if (objectText[valueEnd] !== ',') return requireEnd(objectText, valueEnd, '}');
    at = skipBlanks(objectText, valueEnd + 1);
  }
}

/**
 * The texts of the elements of a JSON array, in order.
 * @throws SyntaxError for a text that is no array with elements.
 */
export function* elementsOf(arrayText: string): Generator<string> {
  let at = beginning(arrayText, '[');
  if (arrayText[at] === ']') return requireEnd(arrayText, at);
  for (;;) {
    const end = endOfValue(arrayText, at);
    yield withoutBlanksAtEnd(arrayText, at, end);
    if (arrayText[end] !== ',') return requireEnd(arrayText, end, ']');
    at = skipBlanks(arrayText, end + 1);
  }
}

export function joinMembers(members: readonly Omit<JsonMember, 'name'>[]): string {
  return `{${members.map(({ nameText, valueText }) => `${nameText}:${valueText}`).join(',')}}`;
}

export function memberOf(name: string, value: string): JsonMember {
  return { name, nameText: JSON.stringify(name), valueText: JSON.stringify(value) };
}

function beginning(text: string, bracket: string): number {
  const at = skipBlanks(text, 0);
  if (text[at] !== bracket) throw notWellFormed(at);
  return skipBlanks(text, at + 1);
}

function requireEnd(text: string, at: number, bracket = text[at]): void {
  if (text[at] !== bracket) throw notWellFormed(at);
  const rest = skipBlanks(text, at + 1);
  if (rest < text.length) throw notWellFormed(rest);
}

function skipBlanks(text: string, from: number): number {
  let at = from;
  while (BLANKS.has(text.charCodeAt(at))) at += 1;
  return at;
}

function withoutBlanksAtEnd(text: string, start: number, end: number): string {
  let last = end;
  while (last > start && BLANKS.has(text.charCodeAt(last - 1))) last -= 1;
  if (last === start) throw notWellFormed(start);
  return text.slice(start, last);
}

/** The position of the comma or bracket after the value that begins at `from`. */
function endOfValue(text: string, from: number): number {
  let depth = 0;
  let at = from;
  while (at < text.length) {
    const character = text[at];
    if (text.charCodeAt(at) === QUOTE) {
      at = endOfString(text, at);
      continue;
    }
    const isClosing = character === '}' || character === ']';
    if (depth === 0 && (character === ',' || isClosing)) return at;
    if (character === '{' || character === '[') depth += 1;
    if (isClosing) depth -= 1;
    at += 1;
  }
  return at;
}

function notWellFormed(position: number): SyntaxError {
  return new SyntaxError(`Unexpected text in JSON at position ${position}`);
}
