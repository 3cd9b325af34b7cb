import { ApiProperty } from '@nestjs/swagger';
import { wallClockMs } from '../../../platform/runtime/clocks';
import { epochHint, formatInstant, parseFineInstant } from '../../../platform/runtime/instant';
import {
  Check,
  CheckObject,
  InsteadOfArray,
  integer,
  jsonObject,
  jsonValue,
  list,
  Nested,
  type Rule,
  text,
  uuid,
  type Violation,
} from '../../../validation/constraints';
import {
  AnyJsonProperty,
  NestedListProperty,
  NestedProperty,
  Property,
  TextProperty,
  WordProperty,
} from '../../../validation/dto-properties';
import {
  DATA_CLASSIFICATIONS,
  type DataClassification,
  EVENT_STATUSES,
  type EventStatus,
  MAX_AHEAD_MS,
  MAX_CHANGES,
  MAX_CHANGES_BYTES,
  MAX_CHANGES_DEPTH,
  MAX_KIND_LENGTH,
  MAX_METADATA_BYTES,
  MAX_METADATA_DEPTH,
  MAX_NAME_LENGTH,
  MAX_PATH_LENGTH,
  MAX_TARGETS,
  MAX_TEXT_LENGTH,
  MAX_VERSION_LENGTH,
} from '../audit-event';

/** From 1970 (an id cannot carry an earlier time) to five minutes ahead of this server's clock. */
const eventTimestamp: Rule = (value) => {
  const micros = typeof value === 'string' ? parseFineInstant(value)?.micros : undefined;
  if (micros === undefined) {
    return `must be an ISO 8601 instant with an offset and at most nine digits of a second, such as 2026-11-23T10:30:00.123456789Z${epochHint(value)}`;
  }
  if (micros < 0) return 'must not be before 1970-01-01T00:00:00Z';
  if (micros > (wallClockMs() + MAX_AHEAD_MS) * 1000) {
    return `must not be more than 5 minutes ahead; it is ${formatInstant(wallClockMs() * 1000)} here`;
  }
  return undefined;
};

const organizationName = text(MAX_NAME_LENGTH, 1);
const organization: Rule = (value) =>
  value === '*' ? 'must not be *, which stands for all organizations' : organizationName(value);

/** The session and the client of an action. */
export class SessionContextDto {
  @TextProperty(MAX_NAME_LENGTH, { description: 'The session or access key.', example: 's-81f3' })
  sessionId?: string | null;

  @TextProperty(MAX_TEXT_LENGTH, {
    description: 'Where from. Free text: real sources send host names and `AWS Internal` too.',
    example: '198.51.100.7',
  })
  ipAddress?: string | null;

  @TextProperty(MAX_TEXT_LENGTH, { description: 'The client program.', example: 'curl/8.5.0' })
  userAgent?: string | null;

  @TextProperty(MAX_TEXT_LENGTH, { description: 'Where on earth.', example: 'Zürich, CH' })
  geolocation?: string | null;
}

/** One thing that an action was done to. */
@CheckObject<EventTargetDto>(({ type, id }) =>
  typeof type === 'string' || typeof id === 'string' ? undefined : 'must have a type or an id',
)
export class EventTargetDto {
  @TextProperty(MAX_NAME_LENGTH, { description: 'What kind of thing.', example: 'Patient' })
  type?: string | null;

  @TextProperty(MAX_NAME_LENGTH, { description: 'Which one.', example: 'pat-1' })
  id?: string | null;

  @TextProperty(MAX_NAME_LENGTH, { description: 'Its name for people.', example: 'Ada Lovelace' })
  name?: string | null;
}

/** One value that an action changed. */
export class EventChangeDto {
  @Property(
    text(MAX_PATH_LENGTH),
    { type: String, minLength: 0, maxLength: MAX_PATH_LENGTH },
    {
      description: 'Where the value is, in whatever notation: a JSON Pointer, or names and dots.',
      example: '/address/city',
      required: true,
    },
  )
  path!: string;

  @AnyJsonProperty({
    description:
      'The value before, any JSON. Null is a value; left out: there was none, or it is not known.',
    example: 'Zürich',
  })
  old?: unknown;

  @AnyJsonProperty({
    description:
      'The value after, any JSON. Null is a value; left out: there is none, or it is not known.',
    example: 'Bern',
  })
  new?: unknown;
}

/** The program that reports an event. */
export class EventSourceDto {
  @TextProperty(MAX_NAME_LENGTH, { description: 'Its name.', example: 'billing' })
  service?: string | null;

  @TextProperty(MAX_NAME_LENGTH, {
    description: 'The machine, pod or region it ran on.',
    example: 'billing-7d9f',
  })
  host?: string | null;

  @TextProperty(MAX_NAME_LENGTH, { description: 'Its version.', example: '4.12.0' })
  version?: string | null;
}

/** `targetResourceType` and `targetResourceId`, where given, are those of the first target. */
function firstTargetViolation(event: CreateAuditEventDto): Violation | undefined {
  const [first] = event.targets ?? [];
  if (!first) return undefined;
  const differs = (given: string | null | undefined, own: string | null | undefined): boolean =>
    typeof given === 'string' && given !== own;
  const message = (member: string) => `must be the ${member} of the first target, or left out`;
  if (differs(event.targetResourceType, first.type)) {
    return { at: '.targetResourceType', message: message('type') };
  }
  if (differs(event.targetResourceId, first.id)) {
    return { at: '.targetResourceId', message: message('id') };
  }
  return undefined;
}

@CheckObject(firstTargetViolation)
@InsteadOfArray(
  'several events are sent to /audit/events/bulk, as { "events": [...] } or as application/x-ndjson, one a line',
)
export class CreateAuditEventDto {
  @Property(
    uuid,
    { type: String, format: 'uuid' },
    {
      description:
        'An id of your own, any UUID. One that exists in the organization with the same content is a duplicate and ' +
        'not stored again; with other content it is a conflict. Left out: the service makes a UUIDv7.',
      example: '0198c1f2-3e4a-7000-8000-1234567890ab',
    },
  )
  id?: string | null;

  @Property(
    eventTimestamp,
    { type: String, format: 'date-time' },
    {
      description:
        'When it happened; ISO 8601 with any offset and up to nine digits of a second, which all come back, from 1970 ' +
        'to 5 minutes ahead. Events of one microsecond are in the order of their ids. ' +
        'Left out: when the service received it.',
      example: '2026-11-23T10:30:00.123456Z',
    },
  )
  timestamp?: string | null;

  @Property(
    organization,
    { type: String, minLength: 1, maxLength: MAX_NAME_LENGTH },
    { description: 'Whose record it is.', example: 'org-1', required: true },
  )
  organizationId!: string;

  @TextProperty(MAX_NAME_LENGTH, { description: 'Who did it.', example: 'user-1' })
  principalId?: string | null;

  @TextProperty(MAX_NAME_LENGTH, {
    description: 'What was done.',
    example: 'fhirPatientRead',
    required: true,
  })
  action!: string;

  @TextProperty(MAX_NAME_LENGTH, { description: 'To what kind of thing.', example: 'Patient' })
  targetResourceType?: string | null;

  @TextProperty(MAX_NAME_LENGTH, { description: 'To which one.', example: 'pat-1' })
  targetResourceId?: string | null;

  @WordProperty(EVENT_STATUSES, {
    description: 'What came of it.',
    example: 'success',
    required: true,
  })
  status!: EventStatus;

  @TextProperty(MAX_TEXT_LENGTH, {
    description: 'What came of it, in words.',
    example: 'Opened the chart',
  })
  outcomeDescription?: string | null;

  @WordProperty(DATA_CLASSIFICATIONS, {
    description: 'How sensitive the record is. Left out: INTERNAL.',
    example: 'PHI',
  })
  dataClassification?: DataClassification | null;

  @TextProperty(MAX_NAME_LENGTH, { description: 'What belongs together.', example: 'req-7f3a' })
  correlationId?: string | null;

  @NestedProperty(() => SessionContextDto)
  sessionContext?: SessionContextDto | null;

  @Property(
    jsonObject(MAX_METADATA_BYTES, MAX_METADATA_DEPTH),
    { type: 'object', additionalProperties: true },
    {
      description:
        'Anything else: any JSON object of up to 256 KiB and 32 levels. Every number keeps its exact decimal value.',
      example: { ward: 'B2', durationMs: 12.5 },
    },
  )
  metadata?: Record<string, unknown> | null;

  @TextProperty(MAX_KIND_LENGTH, {
    description:
      'What kind of principal: `user`, `service` or `system`, or a word of your own. Left out, as each member from here ' +
      'on: the event does not have it, and no response shows it.',
    example: 'user',
  })
  principalType?: string | null;

  @TextProperty(MAX_NAME_LENGTH, {
    description: 'The name of the principal for people.',
    example: 'Ada Lovelace',
  })
  principalName?: string | null;

  @NestedListProperty(() => EventTargetDto, [1, MAX_TARGETS], {
    description:
      'All that it was done to: `[{ type, id, name }]`, each with a type or an id. The first is `targetResourceType` and `targetResourceId`, ' +
      'which are filled from it and need not be given. Filters of resources and targets find an event by each of them.',
  })
  targets?: EventTargetDto[] | null;

  @NestedListProperty(() => EventChangeDto, [0, MAX_CHANGES], {
    description:
      'What it changed: `[{ path, old, new }]`, up to 256 KiB and 32 levels. Every number keeps its exact decimal value.',
    rules: [jsonValue(MAX_CHANGES_BYTES, MAX_CHANGES_DEPTH)],
  })
  changes?: EventChangeDto[] | null;

  @NestedProperty(() => EventSourceDto)
  source?: EventSourceDto | null;

  @TextProperty(MAX_VERSION_LENGTH, {
    description: 'The version of the form that events of this action have, as their sender counts.',
    example: '2',
  })
  schemaVersion?: string | null;
}

/** Several events, stored all or none. */
@InsteadOfArray('send { "events": [...] }')
export class BulkCreateAuditEventsDto {
  @Check(list(1))
  @Nested(() => CreateAuditEventDto, { each: true })
  @ApiProperty({
    type: () => [CreateAuditEventDto],
    minItems: 1,
    description: 'The events, at most BULK_MAX_EVENTS (10 000 unless configured).',
  })
  events!: CreateAuditEventDto[];

  @Property(
    integer(1, 10_000),
    { type: 'integer', minimum: 1, maximum: 10_000 },
    { description: 'Rows per INSERT inside the one transaction. Left out: 1000.', example: 1000 },
  )
  batchSize?: number | null;
}
