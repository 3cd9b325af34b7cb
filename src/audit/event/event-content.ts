import {
  exactJsonText,
  mapJsonNumbers,
  parseExactJson,
} from '../../platform/runtime/lossless-json';
import { EVENT_FIELDS, type EventField, type NewEvent, timestampText } from './audit-event';

/**
 * Compares a repeated event with the stored JSON text, whatever the order of keys and spelling of numbers. A timestamp
 * made by the service is not compared: a retry without one still matches.
 */
export function hasSameContent(event: NewEvent, storedText: string): boolean {
  const stored = parseExactJson(storedText) as Record<string, unknown>;
  if (event.hasClientTimestamp && stored.timestamp !== timestampText(event)) return false;
  for (const name of COMPARED) if ((stored[name] ?? null) !== event[name]) return false;
  return JSON_COMPARED.every((name) => isSameJson(textOf(stored[name]), event[name]));
}

type ComparedField = Extract<(typeof EVENT_FIELDS)[number], { comparison: string }>;

const namesOf = (comparison: EventField['comparison']): ComparedField['name'][] =>
  EVENT_FIELDS.filter((field): field is ComparedField => 'comparison' in field)
    .filter((field) => field.comparison === comparison)
    .map(({ name }) => name);

/** Names of the fields that are equal only as they are; text has no sparse one that is null. */
const COMPARED = namesOf('exact');
const JSON_COMPARED = namesOf('json');

function textOf(value: unknown): string | null {
  return typeof value === 'object' && value !== null ? exactJsonText(value) : null;
}

/** A retry sends the same text: spellings are compared only when the texts differ. */
function isSameJson(left: string | null, right: string | null): boolean {
  if (left === right) return true;
  return left !== null && right !== null && canonical(left) === canonical(right);
}

/** Numbers with one spelling only: short integers without an exponent. */
const PLAIN_INTEGER = /^(?:0|-?[1-9]\d{0,14})$/;

/** Canonical text of a JSON object or list: sorted keys, numbers as digits and exponent. */
function canonical(text: string): string {
  // No stored string begins with NUL: a number is never confused with one.
  const normal = mapJsonNumbers(text, (number) => {
    const plain = normalNumber(number);
    return PLAIN_INTEGER.test(plain) ? plain : `"\\u0000${plain}"`;
  });
  return JSON.stringify(sortKeys(JSON.parse(normal)));
}

/** Limit of exponent digits; a longer one is compared as spelled, as arithmetic on it costs too much. */
const MAX_EXPONENT_DIGITS = 100;
const MAX_PLAIN_DIGITS = 15n;

/**
 * One spelling per value: a short integer as it is, else digits without zeros at either end and their power of ten
 * (`-12.5` -> `-125e-1`). Linear time.
 */
export function normalNumber(text: string): string {
  if (PLAIN_INTEGER.test(text)) return text;
  const [, sign = '', whole = '', fraction = '', exponent = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text) ?? [];
  const digits = `${whole}${fraction}`;
  let start = 0;
  let end = digits.length;
  while (start < end && digits[start] === '0') start += 1;
  if (start === end) return '0';
  while (digits[end - 1] === '0') end -= 1;
  const shift = digits.length - end - fraction.length;
  const significant = digits.slice(start, end);
  if (exponent.length > MAX_EXPONENT_DIGITS) return `${sign}${significant}e${exponent}/${shift}`;
  const power = BigInt(exponent.replace('+', '')) + BigInt(shift);
  if (power >= 0n && power + BigInt(significant.length) <= MAX_PLAIN_DIGITS) {
    return `${sign}${significant}${'0'.repeat(Number(power))}`;
  }
  return `${sign}${significant}e${power}`;
}

/** Recursion is safe: metadata nests 32 levels at most. */
function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, member]) => [key, sortKeys(member)]));
}
