import type { NewEvent } from '../event/audit-event';
import { GIVEN_COLUMNS } from '../event/audit.statements';

export interface NumberedEvent {
  event: NewEvent;
  sequence: string;
  recordedAt: string;
}

const JSON_SEPARATOR = '\u0001';

/** Parameters of INSERT_EVENTS. */
export function insertEventsValues(rows: NumberedEvent[]): string[] {
  return [
    ...arraysOf([givenElements(rows.map(({ event }) => event))]),
    arrayLiteral(rows.map(({ sequence }) => sequence)),
    arrayLiteral(rows.map(({ recordedAt }) => recordedAt)),
  ];
}

/** Parameters of RECORD_EVENT. */
export function recordEventValues(event: NewEvent): (string | null)[] {
  return GIVEN_COLUMNS.map(([, , value]) => value(event));
}

/** Events per portion: a millisecond or two. */
const PORTION_EVENTS = 250;

/** Parameters of RECORD_EVENTS, in portions with `pause` between; `counts` is by organization in lock order. */
export async function recordEventsValues(
  events: NewEvent[],
  counts: Map<string, number>,
  pause?: () => Promise<void>,
): Promise<string[]> {
  const left = new Map(counts);
  const later = events.map(({ organizationId }) => {
    const rest = (left.get(organizationId) ?? 0) - 1;
    left.set(organizationId, rest);
    return String(rest);
  });
  const portions: string[][] = [];
  const portionEvents = pause ? PORTION_EVENTS : events.length;
  for (let from = 0; from < events.length; from += portionEvents) {
    if (from > 0) await pause?.();
    portions.push(givenElements(events.slice(from, from + portionEvents)));
  }
  return [
    ...arraysOf(portions),
    arrayLiteral(later),
    arrayLiteral([...counts.keys()]),
    arrayLiteral([...counts.values()].map(String)),
  ];
}

function givenElements(events: NewEvent[]): string[] {
  return GIVEN_COLUMNS.map(([, type, value]) =>
    type === 'json'
      ? events.map((event) => value(event) ?? '').join(JSON_SEPARATOR)
      : arrayElements(events.map(value)),
  );
}

function arraysOf(portions: string[][]): string[] {
  return GIVEN_COLUMNS.map(([, type], column) => {
    const parts = portions.map((elements) => elements[column] ?? '');
    return type === 'json' ? parts.join(JSON_SEPARATOR) : `{${parts.join(',')}}`;
  });
}

const NEEDS_ESCAPE = /["\\]/;

/**
 * PostgreSQL array literal, in a third of the driver's time: most values need no escapes.
 * https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
 */
export function arrayLiteral(values: (string | null)[]): string {
  return `{${arrayElements(values)}}`;
}

function arrayElements(values: (string | null)[]): string {
  const elements = values.map((value) => {
    if (value === null) return 'NULL';
    return NEEDS_ESCAPE.test(value) ? `"${value.replace(/["\\]/g, '\\$&')}"` : `"${value}"`;
  });
  return elements.join(',');
}
