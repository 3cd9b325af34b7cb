import { parseInstant } from '../../platform/runtime/instant';
import type { AuditEventFilter } from '../event/audit-event-filter';

/** A recorded event on its way to subscribers; one object for all of them. */
export interface RecordedEvent {
  organizationId: string;
  sequence: bigint;
  /** When it was recorded: microseconds since 1970. */
  recordedMicros: number;
  /** The event as JSON text, as pages give it. */
  text: string;
  /** Its members, as far as filters look at them. */
  members: FilteredMembers;
}

/** What filters look at. */
interface FilteredMembers {
  timestamp: string;
  sequence: string;
  organizationId: string;
  principalId: string | null;
  action: string;
  status: string;
  dataClassification: string;
  targetResourceType: string | null;
  targetResourceId: string | null;
  correlationId: string | null;
}

/** Reads an event once for all subscribers. */
export function recordedEventOf(text: string): RecordedEvent {
  const event = JSON.parse(text) as FilteredMembers & { recordedAt: string };
  const { organizationId, sequence } = event;
  // Not the whole event: its metadata as objects takes many times the text, which is what buffers count.
  const members: FilteredMembers = {
    timestamp: event.timestamp,
    sequence,
    organizationId,
    principalId: event.principalId,
    action: event.action,
    status: event.status,
    dataClassification: event.dataClassification,
    targetResourceType: event.targetResourceType,
    targetResourceId: event.targetResourceId,
    correlationId: event.correlationId,
  };
  const recordedMicros = parseInstant(event.recordedAt) ?? 0;
  return { organizationId, sequence: BigInt(sequence), recordedMicros, text, members };
}

/** The member that each list of a filter picks from; the same choice as FILTER_COLUMNS makes in PostgreSQL. */
const MEMBER_OF = {
  principalIds: 'principalId',
  actions: 'action',
  statuses: 'status',
  dataClassifications: 'dataClassification',
  resourceTypes: 'targetResourceType',
  resourceIds: 'targetResourceId',
  correlationIds: 'correlationId',
} as const satisfies Partial<Record<keyof AuditEventFilter, keyof FilteredMembers>>;

/** Whether an event is one that a subscriber asked for; its organization is not looked at. */
export type EventTest = (event: RecordedEvent) => boolean;

/** What `filter` means, made ready to be asked of many events. */
export function eventTest(filter: AuditEventFilter): EventTest {
  const tests: EventTest[] = [];
  for (const [list, member] of Object.entries(MEMBER_OF) as [keyof typeof MEMBER_OF, string][]) {
    const values = filter[list];
    if (values === undefined) continue;
    const wanted = new Set<string | null>(values);
    tests.push(({ members }) => wanted.has(members[member as keyof FilteredMembers]));
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
