import { parseInstant } from '../../platform/runtime/instant';
import { uuid } from '../../validation/constraints';
import type { LogPosition } from './log-position';

/** Position of an event in an order: timestamp or sequence, then the tie-breakers. */
export interface Position {
  timestamp: string;
  sequence: string;
  id: string;
  organizationId: string;
  /** Recording time in positions by sequence; identifies the event. */
  recordedAt?: string;
}

export function logPositionOf({ sequence, recordedAt, id }: Position): LogPosition {
  const recordedMicros = recordedAt === undefined ? undefined : parseInstant(recordedAt);
  return { sequence: BigInt(sequence), recordedMicros, ...(id === '' ? {} : { id }) };
}

/** Position of an event. EVENT_JSON has these members first, and escapes quotes inside them. */
export function positionOf(eventText: string): Position {
  const head = eventText.slice(0, eventText.indexOf(',"principalId":'));
  const { timestamp, recordedAt, sequence, id, organizationId } = JSON.parse(
    `${head}}`,
  ) as Position;
  return { timestamp, recordedAt, sequence, id, organizationId };
}

/** Type guard for values from the shared cache. */
export function isPosition(value: unknown): value is Position {
  const { timestamp, recordedAt, sequence, id, organizationId } = (value ??
    {}) as Partial<Position>;
  return (
    // Positions cached by an earlier version have no recording time.
    (recordedAt === undefined || MICROSECOND_INSTANT.test(recordedAt)) &&
    typeof timestamp === 'string' &&
    MICROSECOND_INSTANT.test(timestamp) &&
    typeof sequence === 'string' &&
    /^\d{1,19}$/.test(sequence) &&
    uuid(id) === undefined &&
    typeof organizationId === 'string'
  );
}

const MICROSECOND_INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;
