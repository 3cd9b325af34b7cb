import { normalNumber } from '../event/event-content';
import {
  type InexactNumbers,
  inexactNumbersOf,
  parseExactJson,
} from '../../platform/runtime/lossless-json';

/** A place in a JSON value: an object or list, and a key in it. */
export interface Place {
  holder: object;
  key: string | number;
}

/** The text of the number at a place. `value` is what `JSON.parse` made of it. */
export function numberTextAt(
  value: number,
  { holder, key }: Place,
  inexact: InexactNumbers | undefined,
): string {
  return inexact?.textAt(holder, key) ?? String(value);
}

/**
 * One text for equal JSON values: sorted keys, numbers by their decimal value, `1`, `1.0` and `1e0` alike. Recursion is
 * safe: bodies nest 64 levels at most.
 */
export function canonicalText(
  value: unknown,
  place: Place,
  inexact: InexactNumbers | undefined,
): string {
  if (typeof value === 'number') return normalNumber(numberTextAt(value, place, inexact));
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) {
    const texts = value.map((one, key) => canonicalText(one, { holder: value, key }, inexact));
    return `[${texts.join(',')}]`;
  }
  const members = Object.entries(value)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, one]) => {
      return `${JSON.stringify(key)}:${canonicalText(one, { holder: value, key }, inexact)}`;
    });
  return `{${members.join(',')}}`;
}

/** The canonical text of a JSON text. */
export function canonicalJsonText(text: string): string {
  const list = parseExactJson(`[${text}]`) as unknown[];
  return canonicalText(list, { holder: list, key: '' }, inexactNumbersOf(list));
}
