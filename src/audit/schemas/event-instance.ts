import {
  type InexactNumbers,
  inexactNumbersOf,
  parseExactJson,
} from '../../platform/runtime/lossless-json';
import type { NewEvent } from '../event/audit-event';
import type { CreateAuditEventDto } from '../event/dto/create-audit-event.dto';

const TEXTS = [
  'principalId',
  'principalType',
  'principalName',
  'targetResourceType',
  'targetResourceId',
  'status',
  'outcomeDescription',
  'dataClassification',
  'correlationId',
] as const;
const OBJECTS = ['sessionContext', 'targets', 'source', 'metadata', 'changes'] as const;

export interface Content {
  value: Record<string, unknown>;
  /** Its numbers that a double changes. */
  inexact?: InexactNumbers;
}

/**
 * The object that a schema describes: the members of the event as they are recorded, without those that are null. Ids, times,
 * organization, action and schemaVersion are not part of it, as they have rules of their own or choose the schema.
 */
export function contentOf(event: NewEvent): Content {
  return contentWith(event, (name) => {
    const text = event[name];
    return text === null ? undefined : (parseExactJson(text) as object);
  });
}

/** The same, of what the event was made from: parsing its texts again takes several times as long as the check. */
export function contentOfDto(event: NewEvent, dto: CreateAuditEventDto): Content {
  return contentWith(event, (name) => dto[name] ?? undefined);
}

function contentWith(
  event: NewEvent,
  objectOf: (name: (typeof OBJECTS)[number]) => object | undefined,
): Content {
  const content: Content = { value: {} };
  const { value } = content;
  for (const name of TEXTS) if (event[name] !== null) value[name] = event[name];
  for (const name of OBJECTS) {
    const member = objectOf(name);
    if (member === undefined) continue;
    value[name] = member;
    const inexact = inexactNumbersOf(member);
    if (inexact) content.inexact = bothOf(content.inexact, inexact);
  }
  return content;
}

function bothOf(one: InexactNumbers | undefined, other: InexactNumbers): InexactNumbers {
  if (!one) return other;
  return { textAt: (holder, key) => one.textAt(holder, key) ?? other.textAt(holder, key) };
}
