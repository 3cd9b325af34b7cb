import { normalNumber } from './event-content';
import { endOf } from './value-terms';

/**
 * A condition on metadata: `path=value`, or `path` alone for any value there. `!` at the beginning negates. A path has names between
 * dots; `\.`, `\=` and `\\` in it are the characters. A list on the way, or at its end, stands for each of its elements. `42` is the
 * number (however it is spelled) and the text, `true` and `null` are the words and the texts, `"42"` is the text alone; a text may
 * end in `*` for any further characters, and `*` alone is any value.
 */
export interface MetadataTerm {
  isNegated: boolean;
  path: readonly string[];
  /** Absent for any value. */
  values?: MetadataValues;
}

/** Alternatives by type. */
export interface MetadataValues {
  texts: string[];
  prefixes: string[];
  /** As normalNumber spells them. */
  numbers: string[];
  /** `true`, `false`, `null`. */
  words: string[];
}

const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
const WORD = /^(?:true|false|null)$/;
const MAX_PATH_NAMES = 32;

/** Parses a condition. @throws RangeError whose message follows the path of the element. */
export function parseMetadataTerm(text: string): MetadataTerm {
  const isNegated = text.startsWith('!');
  const { names, rest } = pathIn(isNegated ? text.slice(1) : text.replace(/^\\!/, '!'));
  if (names.some((name) => name === '') || names.length > MAX_PATH_NAMES) {
    throw new RangeError(
      `must begin with 1 to ${MAX_PATH_NAMES} names between dots, such as order.id=42; write \\. for a dot in a name`,
    );
  }
  if (rest === undefined || rest === '*') return { isNegated, path: names };
  return { isNegated, path: names, values: valuesOf(rest) };
}

function pathIn(text: string): { names: string[]; rest?: string } {
  const names = [''];
  const append = (character: string): void => {
    names.push(`${names.pop()}${character}`);
  };
  for (let at = 0; at < text.length; at += 1) {
    const character = text.charAt(at);
    const next = text.charAt(at + 1);
    if (character === '\\' && ['.', '=', '\\'].includes(next)) {
      append(next);
      at += 1;
    } else if (character === '=') return { names, rest: text.slice(at + 1) };
    else if (character === '.') names.push('');
    else append(character);
  }
  return { names };
}

function valuesOf(text: string): MetadataValues {
  const none: MetadataValues = { texts: [], prefixes: [], numbers: [], words: [] };
  if (text.startsWith('"')) {
    let quoted: unknown;
    try {
      quoted = JSON.parse(text);
    } catch {
      quoted = undefined;
    }
    if (typeof quoted !== 'string' || quoted.includes('\0') || !quoted.isWellFormed()) {
      throw new RangeError(
        'must have a JSON string without NUL after a quote, such as path="text"',
      );
    }
    return { ...none, texts: [quoted] };
  }
  const { kind, value } = endOf(text);
  if (kind === 'prefix') return { ...none, prefixes: [value] };
  return {
    ...none,
    texts: [value],
    numbers: NUMBER.test(text) ? [normalNumber(text)] : [],
    words: WORD.test(text) ? [text] : [],
  };
}

/** Conditions that must all hold: those on one path that are not negated are alternatives. */
export function parseMetadataTerms(texts: readonly string[]): MetadataTerm[] {
  const wanted = new Map<string, MetadataTerm>();
  const others: MetadataTerm[] = [];
  for (const term of texts.map(parseMetadataTerm)) {
    const key = JSON.stringify(term.path);
    const first = wanted.get(key);
    if (term.isNegated) others.push(term);
    else wanted.set(key, first ? eitherOf(first, term) : term);
  }
  return [...wanted.values(), ...others];
}

function eitherOf(one: MetadataTerm, other: MetadataTerm): MetadataTerm {
  const { isNegated, path } = one;
  if (!one.values || !other.values) return { isNegated, path };
  const [a, b] = [one.values, other.values];
  return {
    isNegated,
    path,
    values: {
      texts: [...a.texts, ...b.texts],
      prefixes: [...a.prefixes, ...b.prefixes],
      numbers: [...a.numbers, ...b.numbers],
      words: [...a.words, ...b.words],
    },
  };
}
