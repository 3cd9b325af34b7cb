import { parseInstant } from '../../platform/runtime/instant';
import type { AuditEventFilter } from '../event/audit-event-filter';
import { EVENT_FILTERS, type EventFilter } from '../event/audit-event-filter';

/** A recorded event that all subscribers share. */
export interface RecordedEvent {
  organizationId: string;
  sequence: bigint;
  recordedMicros: number;
  text: string;
  members: FilteredMembers;
}

/** Members that filters compare. A whole parsed event takes many times its text in memory. */
type FilteredMembers = { timestamp: string } & Partial<Record<EventFilter['field'], string | null>>;

type EventMembers = FilteredMembers &
  Pick<RecordedEvent, 'organizationId'> & { sequence: string; recordedAt: string };

export function recordedEventOf(text: string): RecordedEvent {
  const event = JSON.parse(text) as EventMembers;
  const members: FilteredMembers = { timestamp: event.timestamp };
  for (const { field } of EVENT_FILTERS) members[field] = event[field];
  return {
    organizationId: event.organizationId,
    sequence: BigInt(event.sequence),
    recordedMicros: parseInstant(event.recordedAt) ?? 0,
    text,
    members,
  };
}

/** Tests an event against a filter, organizations aside. */
export type EventTest = (event: RecordedEvent) => boolean;

export function eventTest(filter: AuditEventFilter): EventTest {
  const tests: EventTest[] = [];
  for (const { list, field } of EVENT_FILTERS) {
    const values = filter[list];
    if (values === undefined) continue;
    const wanted = new Set<string | null | undefined>(values);
    tests.push(({ members }) => wanted.has(members[field]));
  }
  const { startDate = -Infinity, endDate = Infinity } = filter;
  if (startDate !== -Infinity || endDate !== Infinity) {
    tests.push(({ members: { timestamp } }) => {
      const micros = parseInstant(timestamp) ?? NaN;
      return micros >= startDate && micros < endDate;
    });
  }
  return (event) => tests.every((test) => test(event));
}
