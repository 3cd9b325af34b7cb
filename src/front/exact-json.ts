import { randomBytes } from 'node:crypto';

/**
 * JSON whose numbers keep their text. `JSON.parse` reads 9223372036854775807 as …5808 and forgets how 1.0 or 1E3 was
 * written. A body that holds such a number (a cheap look tells) is read a second time with each of those numbers
 * turned into a marked string; `exactJsonText` then writes an object of it back with the numbers as they came.
 * All linear time, and the parsing itself stays V8's.
 */

/**
 * Numbers that do not survive a double and back as text: 16 or more digits, an exponent, a negative zero, a tiny
 * fraction (1e-7 is how a double spells it), a trailing zero in the fraction. Looks at the whole text, strings
 * included: a false alarm costs time, never exactness. 3 ms for 4 MB.
 */
const SUSPECT =
  /[\d.]{16}|[\s:,[]-?\d[\d.]*[eE][+-]?\d|[\s:,[]-0|[\s:,[]-?0\.000000|[\s:,[]-?\d+\.\d*0(?=[\s,\]}])/;
const NUMBER = /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y;

const [QUOTE, BACKSLASH, MINUS, ZERO, NINE] = [0x22, 0x5c, 0x2d, 0x30, 0x39];
const [SPACE, COLON] = [0x20, 0x3a];

/** As it stands in JSON text. Not to be guessed from outside, so that no string of a client passes for a number. */
const KEY = randomBytes(12).toString('hex');
const MARK = `\\u0000${KEY}`;
const MARKED = new RegExp(`"\\\\u0000${KEY}([^"]*)"`, 'g');

/** The exact twin of each object of a body that needed one. */
const twins = new WeakMap<object, object>();
const texts = new WeakMap<object, string>();

/** An object names a member twice: whatever a parser keeps of it, something that was sent is lost. */
export class DuplicateMemberError extends Error {}

/**
 * `JSON.parse`, and remembers the exact numbers of every object in it for `exactJsonText`.
 * @throws SyntaxError as `JSON.parse` does; DuplicateMemberError.
 */
export function parseExactJson(text: string): unknown {
  const value: unknown = JSON.parse(text);
  if (countMembersWritten(text) !== countMembersRead(value)) {
    throw new DuplicateMemberError('An object names a member twice');
  }
  if (SUSPECT.test(text)) {
    pair(value, JSON.parse(mapJsonNumbers(text, mark)));
  }
  return value;
}

/** The minified JSON text of an object, with the numbers as they were sent when `parseExactJson` read it. */
export function exactJsonText(value: object): string {
  let text = texts.get(value);
  if (text === undefined) {
    const twin = twins.get(value);
    text = twin ? JSON.stringify(twin).replace(MARKED, '$1') : JSON.stringify(value);
    texts.set(value, text);
  }
  return text;
}

/**
 * Well-formed JSON text with the text of every number put through `change`. Strings stay as they are.
 */
export function mapJsonNumbers(text: string, change: (number: string) => string): string {
  const parts: string[] = [];
  let copied = 0;
  for (let at = 0; at < text.length;) {
    const char = text.charCodeAt(at);
    if (char === QUOTE) {
      at = endOfString(text, at);
    } else if (char === MINUS || (char >= ZERO && char <= NINE)) {
      NUMBER.lastIndex = at;
      const number = NUMBER.exec(text)?.[0] ?? '';
      const changed = change(number);
      if (changed !== number) {
        parts.push(text.slice(copied, at), changed);
        copied = at + number.length;
      }
      at += number.length;
    } else {
      at += 1;
    }
  }
  parts.push(text.slice(copied));
  return parts.join('');
}

/** Turns a number that a double would change into a marked string. */
function mark(number: string): string {
  return String(Number(number)) === number ? number : `"${MARK}${number}"`;
}

/** Where the string that opens at `start` is over. By hand: a regular expression runs out of stack on 5 MB of escapes. */
function endOfString(text: string, start: number): number {
  for (let quote = text.indexOf('"', start + 1); ; quote = text.indexOf('"', quote + 1)) {
    let backslashes = 0;
    while (text.charCodeAt(quote - 1 - backslashes) === BACKSLASH) backslashes += 1;
    if (backslashes % 2 === 0) return quote + 1;
  }
}

/** Members in well-formed JSON text: strings with a colon behind them. */
function countMembersWritten(text: string): number {
  let members = 0;
  for (let quote = text.indexOf('"'); quote !== -1;) {
    let at = endOfString(text, quote);
    while (text.charCodeAt(at) <= SPACE) at += 1;
    if (text.charCodeAt(at) === COLON) members += 1;
    quote = text.indexOf('"', at);
  }
  return members;
}

/** Members of all objects in a value; iterative, as a body may nest deeper than the stack. */
function countMembersRead(value: unknown): number {
  let members = 0;
  const open: unknown[] = [value];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (typeof next !== 'object' || next === null) continue;
    if (!Array.isArray(next)) members += Object.keys(next).length;
    for (const inner of Object.values(next)) {
      if (typeof inner === 'object' && inner !== null) open.push(inner);
    }
  }
  return members;
}

/** Walks both readings of one text side by side; iterative, as a body may nest deeper than the stack. */
function pair(value: unknown, exact: unknown): void {
  const open: [unknown, unknown][] = [[value, exact]];
  for (let next = open.pop(); next; next = open.pop()) {
    const [left, right] = next;
    if (typeof left !== 'object' || left === null) continue;
    if (typeof right !== 'object' || right === null) continue;
    if (!Array.isArray(left)) twins.set(left, right);
    for (const key of Object.keys(left)) {
      open.push([(left as Record<string, unknown>)[key], (right as Record<string, unknown>)[key]]);
    }
  }
}
