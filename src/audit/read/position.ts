import { parseInstant } from '../../platform/runtime/instant';
import { uuid } from '../../validation/constraints';
import type { LogPosition } from './log-position';

/** The position of an event in an order: its timestamp or sequence, then what breaks ties. */
export interface Position {
  timestamp: string;
  sequence: string;
  id: string;
  organizationId: string;
  /** When it was recorded, in positions by sequence: tells whether it is still the same event. */
  recordedAt?: string;
}

export function logPositionOf({ sequence, recordedAt, id }: Position): LogPosition {
  const recordedMicros = recordedAt === undefined ? undefined : parseInstant(recordedAt);
  return { sequence: BigInt(sequence), recordedMicros, ...(id === '' ? {} : { id }) };
}

/** The position of an event. EVENT_JSON names these members first, and escapes quotes inside them. */
export function positionOf(eventText: string): Position {
  const head = eventText.slice(0, eventText.indexOf(',"principalId":'));
  const { timestamp, recordedAt, sequence, id, organizationId } = JSON.parse(
    `${head}}`,
  ) as Position;
  return { timestamp, recordedAt, sequence, id, organizationId };
}

/** Whether a value from the shared cache is a position. */
export function isPosition(value: unknown): value is Position {
  const { timestamp, recordedAt, sequence, id, organizationId } = (value ??
    {}) as Partial<Position>;
  return (
    // Cached by an earlier version, it has no time of recording.
    (recordedAt === undefined || MICROSECOND_INSTANT.test(recordedAt)) &&
    typeof timestamp === 'string' &&
    MICROSECOND_INSTANT.test(timestamp) &&
    typeof sequence === 'string' &&
    /^\d{1,19}$/.test(sequence) &&
    uuid(id) === undefined &&
    typeof organizationId === 'string'
  );
}

/** The form of timestamps in EVENT_JSON. */
const MICROSECOND_INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;
