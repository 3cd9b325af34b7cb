import { exactJsonText, mapJsonNumbers, parseExactJson } from '../front/exact-json';
import type { NewEvent } from './audit-event';

/**
 * Whether an event that a client sends again has the content of the stored one (its JSON text). Object keys may come
 * in another order, numbers in another spelling of the same value. A timestamp that the service had to make up is not
 * part of what the client sent, so a retry without one still matches.
 */
export function hasSameContent(event: NewEvent, storedText: string): boolean {
  const stored = parseExactJson(storedText) as Record<string, unknown>;
  if (event.hasClientTimestamp && stored.timestamp !== event.timestamp) return false;
  for (const name of COMPARED) if (stored[name] !== event[name]) return false;
  return (
    canonical(stored.sessionContext) === canonicalText(event.sessionContext) &&
    canonical(stored.metadata) === canonicalText(event.metadata)
  );
}

const COMPARED = [
  'organizationId',
  'principalId',
  'action',
  'targetResourceType',
  'targetResourceId',
  'status',
  'outcomeDescription',
  'dataClassification',
  'correlationId',
] as const;

function canonicalText(text: string | null): string {
  return canonical(text === null ? null : parseExactJson(text));
}

/** One text for all spellings of a JSON object: sorted keys, numbers as digits and exponent. */
function canonical(value: unknown): string {
  if (typeof value !== 'object' || value === null) return 'null';
  // No stored event has a member named NUL, so a number cannot be taken for an object.
  const text = mapJsonNumbers(exactJsonText(value), (n) => `{"\\u0000":"${normalNumber(n)}"}`);
  return JSON.stringify(sortKeys(JSON.parse(text)));
}

/** An exponent of more digits is compared as it is spelled: arithmetic on it would cost more than any event is worth. */
const MAX_EXPONENT_DIGITS = 100;

/** `-12.50E3` -> `-125e2`: digits without zeros at either end, and the power of ten they stand at. Linear time. */
export function normalNumber(text: string): string {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text) ?? [];
  const digits = `${whole}${fraction}`;
  let start = 0;
  let end = digits.length;
  while (start < end && digits[start] === '0') start += 1;
  if (start === end) return '0';
  while (digits[end - 1] === '0') end -= 1;
  const shift = digits.length - end - fraction.length;
  const power =
    exponent.length > MAX_EXPONENT_DIGITS
      ? `${exponent}/${shift}`
      : BigInt(exponent.replace('+', '')) + BigInt(shift);
  return `${sign}${digits.slice(start, end)}e${power}`;
}

/** Keys sorted at every level; metadata nests 32 levels at most. */
function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, member]) => [key, sortKeys(member)]));
}
