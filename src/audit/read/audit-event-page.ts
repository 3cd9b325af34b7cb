import type { JsonResponse } from '../../http/http-server.adapter';
import { uuid } from '../../validation/constraints';
import type { PageInfo } from '../../pagination/page';
import type { Position } from './page-statement';

/** The events at the two ends of a page, from which the neighbouring pages go on; absent where there is none. */
export interface PageEdges {
  next?: Position;
  previous?: Position;
}

/**
 * A page as it was found: the same for everybody who may see these organizations. Cursors are not in it, as they are
 * good for one reader only. Its events are JSON text, for REST to hand on as they are and for other doors to parse.
 */
export interface FoundPage {
  events: readonly string[];
  info: PageInfo;
  edges: PageEdges;
}

/** One event as JSON text. */
export class AuditEventResponse implements JsonResponse {
  constructor(private readonly text: string) {}

  toJsonText(): string {
    return this.text;
  }
}

/** Where an event stands in any order, and which it is. The projection names these members first, and escapes quotes inside them. */
export function positionOf(eventText: string): Position {
  const head = eventText.slice(0, eventText.indexOf(',"principalId":'));
  const { timestamp, recordedAt, sequence, id, organizationId } = JSON.parse(
    `${head}}`,
  ) as Position;
  return { timestamp, recordedAt, sequence, id, organizationId };
}

/** Whether a value that came from elsewhere is a place that a cursor can be made of. */
export function isPosition(value: unknown): value is Position {
  const { timestamp, recordedAt, sequence, id, organizationId } = (value ??
    {}) as Partial<Position>;
  return (
    // Kept by an earlier version, it has no time of recording.
    (recordedAt === undefined || MICROSECOND_INSTANT.test(recordedAt)) &&
    typeof timestamp === 'string' &&
    MICROSECOND_INSTANT.test(timestamp) &&
    typeof sequence === 'string' &&
    /^\d{1,19}$/.test(sequence) &&
    uuid(id) === undefined &&
    typeof organizationId === 'string'
  );
}

/** How the projection writes timestamps. */
const MICROSECOND_INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;
