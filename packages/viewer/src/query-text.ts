/*
 * The text of a query as one types it (docs/search.md). The service alone decides what is valid: faults are left as they
 * are here, and reported by its answer.
 */

/** Qualifiers that are offered, in the order of the menu. Synonyms are understood by the service and not offered. */
export const QUALIFIERS = [
  'actor',
  'action',
  'status',
  'target',
  'target_type',
  'actor_type',
  'classification',
  'correlation',
  'session',
  'ip',
  'after',
  'before',
  'metadata.',
] as const;

/** Values of the qualifiers that have few. */
export const WORDS: Readonly<Record<string, readonly string[]>> = {
  status: ['success', 'failure', 'attempt'],
  classification: ['PUBLIC', 'INTERNAL', 'CONFIDENTIAL', 'PHI'],
};

export interface QueryToken {
  /** Of its first character, in code units. */
  start: number;
  end: number;
  isNegated: boolean;
  qualifier?: string;
  /** Without quotes and their escapes. */
  value: string;
  isQuoted: boolean;
}

const SPACE = /\s/;

/** The parts of a query between spaces. */
export function tokensOf(text: string): QueryToken[] {
  const tokens: QueryToken[] = [];
  let at = 0;
  while (at < text.length) {
    if (SPACE.test(text[at] ?? '')) {
      at += 1;
      continue;
    }
    const start = at;
    const isNegated = text[at] === '-' && at + 1 < text.length && !SPACE.test(text[at + 1] ?? ' ');
    if (isNegated) at += 1;
    let qualifier: string | undefined;
    let word = '';
    let isQuoted = false;
    while (at < text.length && !SPACE.test(text[at] ?? '')) {
      const character = text[at] ?? '';
      if (character === '"' && word === '') {
        const end = endOfQuoted(text, at);
        word = text.slice(at + 1, end).replace(/\\(["\\])/g, '$1');
        isQuoted = true;
        at = Math.min(end + 1, text.length);
        break;
      }
      if (character === ':' && qualifier === undefined) {
        qualifier = word;
        word = '';
      } else if (character === '\\' && text[at + 1] === ':' && qualifier === undefined) {
        word += ':';
        at += 1;
      } else {
        word += character;
      }
      at += 1;
    }
    tokens.push({
      start,
      end: at,
      isNegated,
      ...(qualifier === undefined ? {} : { qualifier }),
      value: word,
      isQuoted,
    });
  }
  return tokens;
}

function endOfQuoted(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at += 1) {
    if (text[at] === '\\') at += 1;
    else if (text[at] === '"') return at;
  }
  return text.length;
}

/** Values that need no quotes: none of these characters has a meaning. */
const PLAIN = /^[\p{L}\p{N}_./@:+-]+$/u;

/** A value as it stands in a query, for itself alone. */
export function quoted(value: string): string {
  return PLAIN.test(value) ? value : `"${value.replace(/["\\]/g, '\\$&')}"`;
}

/** The query with one more qualifier. */
export function withQualifier(
  text: string,
  qualifier: string,
  value: string,
  isNegated = false,
): string {
  const added = `${isNegated ? '-' : ''}${qualifier}:${quoted(value)}`;
  const isThere = tokensOf(text).some((token) => text.slice(token.start, token.end) === added);
  if (isThere) return text;
  return text.trim() === '' ? added : `${text.trim()} ${added}`;
}

/** The query without one of its tokens. */
export function withoutToken(text: string, { start, end }: QueryToken): string {
  return `${text.slice(0, start).trimEnd()} ${text.slice(end).trimStart()}`.trim();
}

/** The query without the qualifiers of these names. */
export function withoutQualifiers(text: string, names: readonly string[]): string {
  return tokensOf(text)
    .filter(({ qualifier }) => qualifier === undefined || !names.includes(qualifier))
    .map(({ start, end }) => text.slice(start, end))
    .join(' ');
}

/** The part of a query at the caret that can be completed. */
export interface Completion {
  kind: 'qualifier' | 'value';
  /** Of a value. */
  qualifier?: string;
  /** Its characters so far. */
  prefix: string;
  /** Range that a choice replaces, in code units. */
  start: number;
  end: number;
}

/** The part at `caret`: the name of a qualifier, or one of its values (after the last comma). */
export function completionAt(text: string, caret: number): Completion {
  const token = tokensOf(text).find(({ start, end }) => start <= caret && caret <= end);
  if (!token) return { kind: 'qualifier', prefix: '', start: caret, end: caret };
  const { start, end, isNegated, qualifier } = token;
  const nameStart = start + (isNegated ? 1 : 0);
  const colon = qualifier === undefined ? -1 : text.indexOf(':', nameStart);
  if (qualifier === undefined || caret <= colon) {
    return { kind: 'qualifier', prefix: text.slice(nameStart, caret), start: nameStart, end };
  }
  const typed = text.slice(colon + 1, caret);
  const from = token.isQuoted ? colon + 1 : colon + 1 + (typed.lastIndexOf(',') + 1);
  const next = text.indexOf(',', caret);
  const to = token.isQuoted || next < 0 || next > end ? end : next;
  const prefix = text.slice(from, caret).replace(/^"/, '');
  return { kind: 'value', qualifier, prefix, start: from, end: to };
}

/** Code units before the character that a fault of the service names (`at character 7: …`), counted from 1; undefined without one. */
export function faultPlace(text: string, message: string): number | undefined {
  const place = /\bat character (\d+)\b/.exec(message)?.[1];
  if (place === undefined) return undefined;
  return [...text].slice(0, Number(place) - 1).join('').length;
}
