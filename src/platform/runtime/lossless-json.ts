import { randomBytes } from 'node:crypto';

/**
 * JSON whose numbers keep their text: `JSON.parse` reads 9223372036854775807 as …5808, and loses 1.0 and 1E3. A body
 * with such numbers is parsed again with placeholder strings, which `exactJsonText` replaces. Linear time, and V8
 * parses.
 */

const [QUOTE, BACKSLASH, MINUS, PLUS, DOT] = [0x22, 0x5c, 0x2d, 0x2b, 0x2e];
const [ZERO, NINE, BIG_E, SMALL_E] = [0x30, 0x39, 0x45, 0x65];
const [COLON, OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x3a, 0x5b, 0x5d, 0x7b, 0x7d];

/*
 * Each pass over JSON text, here, in http/body-reader.ts and in json-members.ts, is its own loop; only `endOfString` is
 * shared. A scanner with callbacks took 1.6 µs for an event of 354 bytes instead of 0.8, and 1.5 ms for 355 kB instead
 * of 1.0; one that yields tokens 2.2 µs and 2.6 ms. json-array-splitter.ts and body-memory-limiter.ts scan bytes,
 * before decoding.
 */

/** No route takes deeper nesting, which costs every later step. */
const MAX_JSON_DEPTH = 64;
/** Numbers of one body or response that a double would change ("inexact"): each costs about a microsecond. */
export const MAX_EXACT_NUMBERS = 500_000;
/** Members with exact numbers; all objects of a body would cost seconds. */
const EXACT_MEMBERS = new Set(['metadata', 'changes']);

/** Random, so that no client's string passes for a placeholder. */
const KEY = randomBytes(6).toString('base64url');
const PLACEHOLDER = `\\u0000${KEY}`;
const OPENING = `"${PLACEHOLDER}`;
const UNESCAPED_PLACEHOLDER = `\u0000${KEY}`;
const TEXT = 't';

/** Objects with inexact numbers, and the same objects with placeholders. */
const shadows = new WeakMap<object, object>();

/** Inexact numbers that may still come. */
export interface NumberBudget {
  left: number;
}

/** Well-formed JSON that this service refuses; the message says why. */
export class UnacceptableJsonError extends Error {}

/**
 * `JSON.parse` that keeps exact numbers of the value and of every member named `metadata` or `changes` for
 * `exactJsonText`.
 * @throws SyntaxError as `JSON.parse` does; UnacceptableJsonError for a member named twice (parsers keep one of them),
 * too deep nesting and too many numbers that a double cannot hold.
 */
export function parseExactJson(
  text: string,
  budget: NumberBudget = { left: MAX_EXACT_NUMBERS },
): unknown {
  const { value, isInexact } = parseChecked(text);
  if (isInexact) attachShadow(value, parseWithPlaceholders(text, budget));
  return value;
}

/**
 * `JSON.parse` with texts in place of the numbers that a double would change, for forms in which a number may be a text
 * (protobuf's JSON).
 * @throws as `parseExactJson`.
 */
export function parseJsonWithNumberTexts(text: string): unknown {
  const { value, isInexact } = parseChecked(text);
  if (!isInexact) return value;
  return JSON.parse(mapJsonNumbers(text, (one) => (survives(one) ? one : `"${one}"`)));
}

function parseChecked(text: string): { value: unknown; isInexact: boolean } {
  const { members, isInexact } = scanNumbers(text);
  const value: unknown = JSON.parse(text);
  if (members !== countMembersRead(value)) {
    throw new UnacceptableJsonError('must not name a member of an object twice');
  }
  return { value, isInexact };
}

function parseWithPlaceholders(text: string, budget: NumberBudget): unknown {
  return JSON.parse(
    mapJsonNumbers(text, (number) => {
      if (survives(number)) return number;
      budget.left -= 1;
      if (budget.left < 0) {
        throw new UnacceptableJsonError(
          `must hold at most ${MAX_EXACT_NUMBERS} numbers that a double cannot; send it in parts`,
        );
      }
      return `"${PLACEHOLDER}${number}"`;
    }),
  );
}

/**
 * `JSON.parse` for text of this service, with placeholders for `restoreNumbers` in place of inexact numbers.
 * @throws UnacceptableJsonError for more of them than `budget` has left.
 */
export function parseJsonWithPlaceholders(
  text: string,
  budget: NumberBudget = { left: MAX_EXACT_NUMBERS },
): unknown {
  return scanNumbers(text).isInexact ? parseWithPlaceholders(text, budget) : JSON.parse(text);
}

/** JSON text that is written into a response as it is. */
export class JsonText {
  constructor(readonly text: string) {}
}

/** Placeholders of `JsonText`, for responses built from values. */
export class JsonTexts {
  private readonly texts = new Map<number, string>();
  private count = 0;

  /** True once every placeholder has been replaced. */
  get isEmpty(): boolean {
    return this.texts.size === 0;
  }

  /** Puts placeholders for `restoreNumbers` in place of `JsonText` members. */
  placeholder(value: unknown): unknown {
    if (typeof value !== 'object' || value === null) return value;
    if (!Object.values(value).some((member) => member instanceof JsonText)) return value;
    const members = Object.entries(value).map(([name, member]) => [
      name,
      member instanceof JsonText
        ? `${UNESCAPED_PLACEHOLDER}${TEXT}${this.keep(member.text)}`
        : (member as unknown),
    ]);
    return Object.fromEntries(members);
  }

  /**
   * The text of a placeholder, once.
   * @throws Error for an unknown placeholder.
   */
  take(index: string): string {
    const text = this.texts.get(Number(index));
    if (text === undefined) throw new Error(`No text ${index} belongs to this response`);
    this.texts.delete(Number(index));
    return text;
  }

  private keep(text: string): number {
    const index = this.count;
    this.count += 1;
    this.texts.set(index, text);
    return index;
  }
}

const NO_TEXTS = new JsonTexts();

/**
 * Replaces placeholders of `parseJsonWithPlaceholders` and of `texts`.
 * @throws Error for a placeholder of other texts.
 */
export function restoreNumbers(text: string, texts = NO_TEXTS): string {
  const parts: string[] = [];
  let copied = 0;
  for (let at = text.indexOf(OPENING); at !== -1; at = text.indexOf(OPENING, copied)) {
    const end = text.indexOf('"', at + OPENING.length);
    const inner = text.slice(at + OPENING.length, end);
    parts.push(text.slice(copied, at), inner.startsWith(TEXT) ? texts.take(inner.slice(1)) : inner);
    copied = end + 1;
  }
  return copied === 0 ? text : parts.join('') + text.slice(copied);
}

/** Minified JSON text, with the numbers as `parseExactJson` read them. */
export function exactJsonText(value: object): string {
  const shadow = shadows.get(value);
  return shadow ? restoreNumbers(JSON.stringify(shadow)) : JSON.stringify(value);
}

/** Keeps exact numbers for all objects and lists that are members at `path` of a value from `parseExactJson`. */
export function keepExactMembers(value: object, ...path: string[]): void {
  const inner = path.reduce(objectIn, value);
  const shadow = path.reduce(objectIn, shadows.get(value));
  if (!inner || !shadow) return;
  for (const key of Object.keys(inner)) {
    const [member, itsShadow] = [memberOf(inner, key), memberOf(shadow, key)];
    if (typeof member !== 'object' || member === null) continue;
    if (typeof itsShadow !== 'object' || itsShadow === null) continue;
    // A member of such a name may hold some, and has not been searched yet.
    if (EXACT_MEMBERS.has(key)) attachShadow(member, itsShadow);
    shadows.set(member, itsShadow);
  }
}

function memberOf(value: object | undefined, name: string): unknown {
  return (value as Record<string, unknown> | undefined)?.[name];
}

function objectIn(value: object | undefined, name: string): object | undefined {
  const inner = memberOf(value, name);
  return typeof inner === 'object' && inner !== null && !Array.isArray(inner) ? inner : undefined;
}

/** True when `JSON.stringify` would change numbers of this object. */
export function hasExactNumbers(value: object): boolean {
  return shadows.has(value);
}

/** The texts of numbers that a double changes, by the object or list that holds them and their key in it. */
export interface InexactNumbers {
  textAt(holder: object, key: string | number): string | undefined;
}

/** Those of an object or list from `parseExactJson`, itself and all within; undefined where there are none. */
export function inexactNumbersOf(value: object): InexactNumbers | undefined {
  const shadow = shadows.get(value);
  if (!shadow) return undefined;
  const pairs = new Map([[value, shadow]]);
  for (const [left, right] of pairs) {
    for (const key of Object.keys(left)) {
      const [inner, itsShadow] = [memberOf(left, key), memberOf(right, key)];
      if (typeof inner !== 'object' || inner === null) continue;
      if (typeof itsShadow === 'object' && itsShadow !== null) pairs.set(inner, itsShadow);
    }
  }
  return {
    textAt: (holder, key) => {
      const text = memberOf(pairs.get(holder), String(key));
      const isPlaceholder = typeof text === 'string' && text.startsWith(UNESCAPED_PLACEHOLDER);
      return isPlaceholder ? text.slice(UNESCAPED_PLACEHOLDER.length) : undefined;
    },
  };
}

/** Half a million parts at once take several times the memory of the text. */
const PARTS_AT_ONCE = 10_000;

/** JSON text with `change` applied to every number outside strings. */
export function mapJsonNumbers(text: string, change: (number: string) => string): string {
  const whole: string[] = [];
  const parts: string[] = [];
  let copied = 0;
  for (let at = 0; at < text.length;) {
    const char = text.charCodeAt(at);
    if (char === QUOTE) {
      at = endOfString(text, at);
    } else if (char === MINUS || (char >= ZERO && char <= NINE)) {
      const number = text.slice(at, endOfNumber(text, at));
      const changed = change(number);
      if (changed !== number) {
        parts.push(text.slice(copied, at), changed);
        copied = at + number.length;
        if (parts.length >= PARTS_AT_ONCE) whole.push(parts.splice(0).join(''));
      }
      at += number.length;
    } else {
      at += 1;
    }
  }
  parts.push(text.slice(copied));
  whole.push(parts.join(''));
  return whole.join('');
}

/** A regular expression runs out of stack on 10 MB of digits. */
function endOfNumber(text: string, start: number): number {
  let at = start + 1;
  for (; at < text.length; at += 1) {
    const char = text.charCodeAt(at);
    const isDigit = char >= ZERO && char <= NINE;
    if (isDigit || char === DOT || char === BIG_E || char === SMALL_E) continue;
    if (char !== MINUS && char !== PLUS) break;
  }
  return at;
}

/** A regular expression runs out of stack on 5 MB of escapes. */
export function endOfString(text: string, start: number): number {
  for (let quote = text.indexOf('"', start + 1); ; quote = text.indexOf('"', quote + 1)) {
    if (quote === -1) return text.length; // not well formed; the parser reports it
    let backslashes = 0;
    while (text.charCodeAt(quote - 1 - backslashes) === BACKSLASH) backslashes += 1;
    if (backslashes % 2 === 0) return quote + 1;
  }
}

/** Counts members (colons outside strings) and detects inexact numbers. Refuses deep nesting before any later step. */
function scanNumbers(text: string): { members: number; isInexact: boolean } {
  let members = 0;
  let depth = 0;
  let isInexact = false;
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charCodeAt(at);
    if (char === QUOTE) at = endOfString(text, at) - 1;
    else if (char === COLON) members += 1;
    else if (char === OPEN_LIST || char === OPEN_OBJECT) {
      depth += 1;
      if (depth > MAX_JSON_DEPTH) {
        JSON.parse(text); // malformed is malformed first
        throw new UnacceptableJsonError(`must not nest deeper than ${MAX_JSON_DEPTH} levels`);
      }
    } else if (char === CLOSE_LIST || char === CLOSE_OBJECT) depth -= 1;
    else if (!isInexact && (char === MINUS || (char >= ZERO && char <= NINE))) {
      const number = text.slice(at, endOfNumber(text, at));
      isInexact = !survives(number);
      at += number.length - 1;
    }
  }
  return { members, isInexact };
}

/** False for 1.0, 1E3, -0 or 9223372036854775807. */
function survives(number: string): boolean {
  return String(Number(number)) === number;
}

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

function attachShadow(value: unknown, exact: unknown): void {
  if (typeof value !== 'object' || value === null) return;
  if (typeof exact !== 'object' || exact === null) return;
  shadows.set(value, exact);
  const open: [object, object][] = [[value, exact]];
  for (let next = open.pop(); next; next = open.pop()) {
    const [left, right] = next as [Record<string, unknown>, Record<string, unknown>];
    for (const key of Object.keys(left)) {
      const [inner, shadow] = [left[key], right[key]];
      if (typeof inner !== 'object' || inner === null) continue;
      if (typeof shadow !== 'object' || shadow === null) continue;
      if (EXACT_MEMBERS.has(key)) shadows.set(inner, shadow);
      else open.push([inner, shadow]);
    }
  }
}
