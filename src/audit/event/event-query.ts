import { parseFineInstantOrDay } from '../../platform/runtime/instant';
import { splitList } from '../../validation/query-coercion';
import { EVENT_FILTERS, type AuditEventFilter, type EventFilter } from './audit-event-filter';
import { fold } from './folded-text';
import { parseMetadataTerm } from './metadata-terms';
import { literalTerm, parseValueTerm } from './value-terms';

/** Limits of a query: its characters, and the texts that each event is searched for. */
export const MAX_QUERY_LENGTH = 2000;
const MAX_TEXTS = 10;
const MAX_ELEMENTS = 100;
/** Shorter texts are in most events, and no index finds them. */
const MIN_TEXT_LENGTH = 3;

/** Text that an event must have, or must not have; folded. */
export interface TextTerm {
  text: string;
  isNegated: boolean;
}

/** A query: what its qualifiers say as a filter, and its texts. All of it holds. */
export interface EventQuery {
  filter: AuditEventFilter;
  texts: TextTerm[];
}

/** A fault of a query; the message has the place (characters from 1) and what is allowed. */
export class EventQueryError extends RangeError {}

interface Token {
  isNegated: boolean;
  qualifier?: string;
  value: string;
  isQuoted: boolean;
  /** Of its first character, from 0. */
  at: number;
}

const DATES: Record<string, 'startDate' | 'endDate'> = { after: 'startDate', before: 'endDate' };
const METADATA = 'metadata.';

const FILTERS = new Map<string, EventFilter>(
  EVENT_FILTERS.flatMap((filter) =>
    (filter.qualifiers ?? []).map((name): [string, EventFilter] => [name, filter]),
  ),
);

/** The qualifiers of the language, in the order of the registry. */
export const QUALIFIERS: readonly string[] = [
  ...FILTERS.keys(),
  `${METADATA}PATH`,
  ...Object.keys(DATES),
];

/**
 * Parses the query language: words and `"texts"` that an event must have, and qualifiers such as `actor:alice`, `-status:success`,
 * `action:invoice.*`, `ip:10.1.0.0/16`, `metadata.order.id:42`, `after:2026-11-01`. `-` negates, commas separate alternatives, and
 * a value in quotes stands for itself.
 * @throws EventQueryError at the first fault.
 */
export function parseEventQuery(text: string): EventQuery {
  const query = new QueryBuilder();
  for (const token of tokensOf(text)) query.add(token);
  return query.built;
}

class QueryBuilder {
  readonly built: EventQuery = { filter: {}, texts: [] };
  private elements = 0;

  add(token: Token): void {
    const { qualifier } = token;
    if (qualifier === undefined) this.addText(token);
    else if (qualifier.startsWith(METADATA)) this.addMetadata(token, qualifier);
    else if (qualifier in DATES) this.addDate(token, qualifier);
    else this.addValues(token, qualifier);
  }

  private addText({ value, isNegated, at }: Token): void {
    const text = fold(value);
    if ([...text].length < MIN_TEXT_LENGTH) {
      fail(at, `a text to search for must have at least ${MIN_TEXT_LENGTH} characters`);
    }
    // Values are searched one after the other, with this character between them (filter-conditions.ts).
    if (text.includes('\x01')) fail(at, 'a text must not have the character U+0001');
    this.built.texts.push({ text, isNegated });
    if (this.built.texts.length > MAX_TEXTS) fail(at, `at most ${MAX_TEXTS} texts are allowed`);
  }

  private addMetadata(token: Token, qualifier: string): void {
    const path = qualifier.slice(METADATA.length).replaceAll('=', '\\=');
    const sign = token.isNegated ? '!' : '';
    const elements = this.elementsOf(token).map((element) => {
      const value = token.isQuoted ? JSON.stringify(element) : element;
      return checked(token.at, `${sign}${path}=${value}`, parseMetadataTerm);
    });
    this.built.filter.metadata = [...(this.built.filter.metadata ?? []), ...elements];
  }

  private addDate({ value, isNegated, at }: Token, qualifier: string): void {
    const name = DATES[qualifier] ?? 'startDate';
    const instant = parseFineInstantOrDay(value);
    if (!instant) fail(at, `${qualifier} must have an ISO 8601 instant with an offset, or a day`);
    if (isNegated) fail(at, `${qualifier} cannot be negated`);
    if (this.built.filter[name]) fail(at, `${qualifier} must be given once`);
    this.built.filter[name] = instant;
  }

  private addValues(token: Token, qualifier: string): void {
    const filter = FILTERS.get(qualifier);
    if (!filter) {
      fail(
        token.at,
        `unknown qualifier ${JSON.stringify(qualifier)}; allowed: ${QUALIFIERS.join(', ')}. Put text with a colon in quotes`,
      );
    }
    const { list, words, isAddress } = filter;
    const elements = this.elementsOf(token).map((element) => {
      if (words) return wordOf(element, words, token, qualifier);
      const literal = token.isQuoted ? literalTerm(element) : element;
      const term = token.isNegated ? negated(literal) : literal;
      return checked(token.at, term, (one) => parseValueTerm(one, isAddress));
    });
    const lists = this.built.filter as Record<string, string[] | undefined>;
    lists[list] = [...(lists[list] ?? []), ...elements];
  }

  private elementsOf({ value, isQuoted, at }: Token): string[] {
    const elements = isQuoted ? [value] : splitList(value);
    if (elements.includes('')) fail(at, 'a value is missing');
    this.elements += elements.length;
    if (this.elements > MAX_ELEMENTS) fail(at, `at most ${MAX_ELEMENTS} values are allowed`);
    return elements;
  }
}

/** Behind an operator `!`, one at the beginning needs no backslash. */
function negated(term: string): string {
  return `!${term.replace(/^(\\*)!/, (found, backslashes: string) => (backslashes.length % 2 === 1 ? `${'\\'.repeat(backslashes.length >> 1)}!` : found))}`;
}

/** The element for a word of a field with few words, which are compared without regard to case. */
function wordOf(
  element: string,
  words: readonly string[],
  { isNegated, at }: Token,
  qualifier: string,
): string {
  const word = words.find((one) => one.toLowerCase() === element.toLowerCase());
  if (word === undefined) fail(at, `${qualifier} must be one of ${words.join(', ')}`);
  return isNegated ? `!${word}` : word;
}

function checked(at: number, text: string, parse: (text: string) => unknown): string {
  try {
    parse(text);
    return text;
  } catch (error) {
    if (error instanceof RangeError) return fail(at, error.message);
    throw error;
  }
}

function fail(at: number, message: string): never {
  throw new EventQueryError(`at character ${at + 1}: ${message}`);
}

const SPACE = /\s/;

function* tokensOf(text: string): Generator<Token> {
  // By characters, not code units: places are told to people.
  const characters = [...text];
  let at = 0;
  while (at < characters.length) {
    if (SPACE.test(characters[at] ?? '')) {
      at += 1;
      continue;
    }
    const start = at;
    const isNegated = characters[at] === '-' && at + 1 < characters.length;
    if (isNegated) at += 1;
    let word = '';
    let qualifier: string | undefined;
    let quoted: string | undefined;
    while (at < characters.length && !SPACE.test(characters[at] ?? '')) {
      const character = characters[at] ?? '';
      if (character === '"' && word === '') {
        const end = endOfQuoted(characters, at);
        quoted = textOfQuoted(characters.slice(at + 1, end));
        at = end + 1;
        if (at < characters.length && !SPACE.test(characters[at] ?? '')) {
          fail(at, 'a space must follow the closing quote');
        }
        break;
      }
      if (character === ':' && qualifier === undefined) {
        qualifier = word;
        word = '';
      } else if (character === '\\' && characters[at + 1] === ':' && qualifier === undefined) {
        word += ':';
        at += 1;
      } else {
        word += character;
      }
      at += 1;
    }
    const isQuoted = quoted !== undefined;
    const value = quoted ?? word;
    if (value === '' && !isQuoted) {
      fail(start, qualifier === undefined ? 'a text is missing' : `${qualifier} needs a value`);
    }
    yield {
      isNegated,
      ...(qualifier === undefined ? {} : { qualifier }),
      value,
      isQuoted,
      at: start,
    };
  }
}

function endOfQuoted(characters: readonly string[], start: number): number {
  for (let at = start + 1; at < characters.length; at += 1) {
    if (characters[at] === '\\') at += 1;
    else if (characters[at] === '"') return at;
  }
  return fail(start, 'a closing quote is missing');
}

/** `\"` and `\\` are the characters; elsewhere a backslash is itself. */
function textOfQuoted(characters: readonly string[]): string {
  return characters.join('').replace(/\\(["\\])/g, '$1');
}
