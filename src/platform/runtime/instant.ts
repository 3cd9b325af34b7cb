/** Microseconds since 1970-01-01T00:00:00Z. Exact as a number up to the year 2255. */
export type Micros = number;

const INSTANT =
  /^(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,30}))?)?([Zz]|[+-]\d{2}(?::?\d{2})?)$/;
/** Years 1 to 9999 in UTC: four digits that PostgreSQL reads back. */
const FIRST_SECOND = Date.parse('0001-01-01T00:00:00Z') / 1000;
const LAST_SECOND = Date.parse('9999-12-31T23:59:59Z') / 1000;
/** The last double before the year 10000. */
const LAST_MICROS = 253_402_300_799_999_968;
const DATE = /^\d{4}-\d{2}-\d{2}$/;

/**
 * Reads an ISO 8601 instant with any offset (`2026-11-23T10:30:00.123456+01:00`). Undefined without an offset, for days
 * that do not exist, years outside 1 to 9999, leap seconds, or digits beyond microseconds, which PostgreSQL drops.
 */
export function parseInstant(text: string): Micros | undefined {
  const match = INSTANT.exec(text);
  if (!match) return undefined;
  const [, year, month, day, hour, minute, second = '0', fraction = '', zone = 'Z'] = match;
  const dayMs = parseDay(year, month, day);
  if (dayMs === undefined) return undefined;
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59) return undefined;
  if (/[1-9]/.test(fraction.slice(6))) return undefined;
  const offsetMinutes = parseOffset(zone);
  if (offsetMinutes === undefined) return undefined;
  const seconds =
    dayMs / 1000 + Number(hour) * 3600 + (Number(minute) - offsetMinutes) * 60 + Number(second);
  if (seconds < FIRST_SECOND || seconds > LAST_SECOND) return undefined;
  return Math.min(seconds * 1_000_000 + Number(fraction.slice(0, 6).padEnd(6, '0')), LAST_MICROS);
}

/** Reads an instant, or a day (`2026-11-23`) as its first moment in UTC. */
export function parseInstantOrDay(text: string): Micros | undefined {
  if (!DATE.test(text)) return parseInstant(text);
  return parseInstant(`${text}T00:00:00Z`);
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
