/** Microseconds since 1970-01-01T00:00:00Z. Exact as a number up to the year 2255. */
export type Micros = number;

/** An instant to the nanosecond. */
export interface FineInstant {
  /** Rounded down. */
  micros: Micros;
  /** Digits of the second after the sixth, without zeros at the end: `''` to `'999'`. They sort as text. */
  submicros: string;
}

const INSTANT =
  /^(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,30}))?)?([Zz]|[+-]\d{2}(?::?\d{2})?)$/;
/** Years 1 to 9999 in UTC: four digits that PostgreSQL reads back. */
const FIRST_SECOND = Date.parse('0001-01-01T00:00:00Z') / 1000;
const LAST_SECOND = Date.parse('9999-12-31T23:59:59Z') / 1000;
/** The last double before the year 10000. */
const LAST_MICROS = 253_402_300_799_999_968;
const DATE = /^\d{4}-\d{2}-\d{2}$/;
/** Characters of an instant in the form of the API up to the microsecond. */
const MICROS_LENGTH = '2026-11-23T10:30:00.123456'.length;

/**
 * Reads an ISO 8601 instant with any offset (`2026-11-23T10:30:00.123456789+01:00`). Undefined without an offset, for
 * days that do not exist, years outside 1 to 9999, leap seconds, or digits beyond nanoseconds.
 */
export function parseFineInstant(text: string): FineInstant | undefined {
  const match = INSTANT.exec(text);
  if (!match) return undefined;
  const [, year, month, day, hour, minute, second = '0', fraction = '', zone = 'Z'] = match;
  const dayMs = parseDay(year, month, day);
  if (dayMs === undefined) return undefined;
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59) return undefined;
  const submicros = fraction.length > 6 ? fraction.slice(6).replace(/0+$/, '') : '';
  if (submicros.length > 3) return undefined;
  const offsetMinutes = parseOffset(zone);
  if (offsetMinutes === undefined) return undefined;
  const seconds =
    dayMs / 1000 + Number(hour) * 3600 + (Number(minute) - offsetMinutes) * 60 + Number(second);
  if (seconds < FIRST_SECOND || seconds > LAST_SECOND) return undefined;
  const micros = seconds * 1_000_000 + Number(fraction.slice(0, 6).padEnd(6, '0'));
  return { micros: Math.min(micros, LAST_MICROS), submicros };
}

/** Reads an instant of whole microseconds, as PostgreSQL keeps them; undefined also for digits beyond. */
export function parseInstant(text: string): Micros | undefined {
  const instant = parseFineInstant(text);
  return instant?.submicros === '' ? instant.micros : undefined;
}

/** Reads an instant, or a day (`2026-11-23`) as its first moment in UTC. */
export function parseFineInstantOrDay(text: string): FineInstant | undefined {
  return parseFineInstant(DATE.test(text) ? `${text}T00:00:00Z` : text);
}

/** Formats for every API: UTC, microseconds and the digits beyond that are not zero, `Z`. */
export function formatFineInstant({ micros, submicros }: FineInstant): string {
  return withSubmicros(formatInstant(micros), submicros);
}

/** Appends digits to an instant in the form of the API with microseconds. */
export function withSubmicros(instant: string, submicros: string | null): string {
  return submicros ? `${instant.slice(0, MICROS_LENGTH)}${submicros}Z` : instant;
}

/** Removes the digits beyond microseconds from an instant in the form of the API. */
export function withoutSubmicros(instant: string): string {
  return instant.length > MICROS_LENGTH + 1 ? `${instant.slice(0, MICROS_LENGTH)}Z` : instant;
}

/** Compares exactly. */
export function isEarlier(one: FineInstant, other: FineInstant): boolean {
  return (
    one.micros < other.micros || (one.micros === other.micros && one.submicros < other.submicros)
  );
}

const COUNT = /^-?\d{1,14}$/;
/** Counts of seconds reach this in the year 5138, counts of milliseconds in 1973. */
const FIRST_MILLISECONDS = 1e11;

/** Advice in place of a count since 1970, as the end of an error message; empty for any other value. */
export function epochHint(value: unknown): string {
  const text = typeof value === 'number' ? String(value) : value;
  if (typeof text !== 'string' || !COUNT.test(text)) return '';
  const count = Number(text);
  const isSeconds = Math.abs(count) < FIRST_MILLISECONDS;
  const instant = new Date(isSeconds ? count * 1000 : count).toISOString();
  return `; for ${text} ${isSeconds ? 'seconds' : 'milliseconds'} since 1970 send ${instant}`;
}

/** Formats for every API: UTC, microseconds, `Z`. */
export function formatInstant(micros: Micros): string {
  const ms = Math.floor(micros / 1000);
  const rest = String(micros - ms * 1000).padStart(3, '0');
  return `${new Date(ms).toISOString().slice(0, -1)}${rest}Z`;
}

function parseDay(year = '', month = '', day = ''): number | undefined {
  const date = new Date(0);
  date.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  const exists = date.getUTCMonth() === Number(month) - 1 && date.getUTCDate() === Number(day);
  return exists ? date.getTime() : undefined;
}

function parseOffset(zone: string): number | undefined {
  if (zone === 'Z' || zone === 'z') return 0;
  const hours = Number(zone.slice(1, 3));
  const minutes = Number(zone.slice(3).replace(':', '') || '0');
  if (hours > 23 || minutes > 59) return undefined;
  return (zone.startsWith('-') ? -1 : 1) * (hours * 60 + minutes);
}
