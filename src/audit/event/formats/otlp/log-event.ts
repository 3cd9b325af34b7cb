import { validationFailed } from '../../../../platform/errors/app-error';
import { derivedUuid } from '../../../../platform/runtime/derived-uuid';
import { formatFineInstant, formatInstant } from '../../../../platform/runtime/instant';
import {
  MAX_KIND_LENGTH,
  MAX_NAME_LENGTH,
  MAX_TEXT_LENGTH,
  MAX_VERSION_LENGTH,
} from '../../audit-event';
import type { SentEvent } from '../event-format';
import {
  CLASSIFICATIONS,
  meaningOf,
  membersFrom,
  type MemberTable,
  OUTCOMES,
} from '../member-table';
import { jsonObject, type LogRecord, type Origin } from './log-record';

/** Attributes of the record by the member that has their text: semantic conventions, and ours under `audit.`. */
const OF_RECORD: MemberTable = [
  ['organizationId', ['organization.id'], Infinity],
  ['principalId', ['enduser.id', 'user.id'], MAX_NAME_LENGTH],
  ['principalType', ['audit.principal_type'], MAX_KIND_LENGTH],
  ['principalName', ['user.full_name', 'user.name'], MAX_NAME_LENGTH],
  ['targetResourceType', ['audit.target.type'], MAX_NAME_LENGTH],
  ['targetResourceId', ['audit.target.id'], MAX_NAME_LENGTH],
  ['correlationId', ['audit.correlation_id'], MAX_NAME_LENGTH],
  ['sessionContext.sessionId', ['session.id'], MAX_NAME_LENGTH],
  ['sessionContext.ipAddress', ['client.address', 'source.address'], MAX_TEXT_LENGTH],
  ['sessionContext.userAgent', ['user_agent.original'], MAX_TEXT_LENGTH],
  ['sessionContext.geolocation', ['geo.locality.name', 'geo.country.iso_code'], MAX_TEXT_LENGTH],
  ['schemaVersion', ['audit.schema_version'], MAX_VERSION_LENGTH],
];

/** The same of its resource. */
const OF_RESOURCE: MemberTable = [
  ['organizationId', ['organization.id'], Infinity],
  ['source.service', ['service.name'], MAX_NAME_LENGTH],
  ['source.host', ['host.name', 'k8s.pod.name'], MAX_NAME_LENGTH],
  ['source.version', ['service.version'], MAX_NAME_LENGTH],
];

/** SEVERITY_NUMBER_ERROR: from here on a record is of something that failed. */
const ERROR = 17;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Numbers equal records of one request. */
export class Repetitions {
  private readonly counts = new Map<string, number>();

  /** The number of calls with this id before. */
  next(id: string): number {
    const count = this.counts.get(id) ?? 0;
    this.counts.set(id, count + 1);
    return count;
  }
}

/**
 * A record with an event name as an event, with all of the record in `metadata`. The id is `log.record.uid`, else made of
 * the whole record, its times included, and of the number of equal ones before it in the request: a request that is sent
 * again has the same events.
 * @throws AppError VALIDATION_FAILED for a record that is no event, with places within it.
 */
export function logEvent(
  { record, resource, scope }: { record: LogRecord; resource: Origin; scope: Origin },
  repetitions: Repetitions,
): SentEvent {
  const { attributes } = record;
  const text = (name: string) => attributes.textOf(name);
  const action = record.eventName || text('event.name');
  if (action === undefined) {
    const message = 'is required, or the attribute event.name: a record without either is no event';
    throw validationFailed([{ path: 'eventName', message }]);
  }
  const ofResource = membersFrom(OF_RESOURCE, (name) => resource.attributes.textOf(name));
  const own = membersFrom(OF_RECORD, text);
  const metadata = metadataText(record, resource, scope);
  const event = {
    id: idOf(text('log.record.uid'), metadata, repetitions),
    timestamp: timestampOf(record),
    action,
    status: statusOf(record),
    outcomeDescription: descriptionOf(record.body),
    dataClassification: meaningOf(
      placeOfAttribute('audit.data_classification'),
      text('audit.data_classification'),
      CLASSIFICATIONS,
    ),
    correlationId: idText(record.traceId),
    ...ofResource.members,
    ...own.members,
    targets: targetsOf(own.members, text('audit.target.name')),
  };
  return {
    text: `${JSON.stringify(event).slice(0, -1)},"metadata":${metadata}}`,
    namesOrganization: own.places.has('organizationId') || ofResource.places.has('organizationId'),
    placeOf: (path) => {
      const [name, fromResource] = [own.places.get(path), ofResource.places.get(path)];
      if (name !== undefined) return placeOfAttribute(name);
      if (fromResource !== undefined) return `resource.${placeOfAttribute(fromResource)}`;
      return PLACES[path] ?? path.replace(/^metadata\.?/, '');
    },
  };
}

const PLACES: Readonly<Record<string, string>> = {
  action: 'eventName',
  timestamp: 'timeUnixNano',
  organizationId: 'attributes["organization.id"]',
  id: 'attributes["log.record.uid"]',
};

function placeOfAttribute(name: string): string {
  return `attributes[${JSON.stringify(name)}]`;
}

function idOf(uid: string | undefined, metadata: string, repetitions: Repetitions): string {
  if (uid !== undefined) return UUID.test(uid) ? uid : derivedUuid(['otlp uid', uid]);
  const id = derivedUuid(['otlp', metadata]);
  const count = repetitions.next(id);
  return count === 0 ? id : derivedUuid(['otlp', metadata, String(count)]);
}

/** When it happened, else when it was noticed; undefined leaves it to the service. */
function timestampOf({ timeUnixNano, observedTimeUnixNano }: LogRecord): string | undefined {
  const nanos = timeUnixNano || observedTimeUnixNano;
  if (nanos === 0n) return undefined;
  const micros = Number(nanos / 1000n);
  const submicros = String(nanos % 1000n)
    .padStart(3, '0')
    .replace(/0+$/, '');
  return submicros === '' ? formatInstant(micros) : formatFineInstant({ micros, submicros });
}

/** A named outcome; else failure for a severity from ERROR on and for an `error.type`, and success. */
function statusOf({ attributes, severityNumber }: LogRecord): string {
  for (const name of ['audit.status', 'event.outcome']) {
    const named = meaningOf(placeOfAttribute(name), attributes.textOf(name), OUTCOMES);
    if (named !== undefined) return named;
  }
  const hasFailed = severityNumber >= ERROR || attributes.textOf('error.type') !== undefined;
  return hasFailed ? 'failure' : 'success';
}

/** A body that is text. */
function descriptionOf(body: string | undefined): string | undefined {
  if (!body?.startsWith('"') || body === '""') return undefined;
  const text = JSON.parse(body) as string;
  return text.length <= MAX_TEXT_LENGTH ? text : undefined;
}

function targetsOf(
  members: Record<string, unknown>,
  name: string | undefined,
): object[] | undefined {
  const { targetResourceType: type, targetResourceId: id } = members;
  const isTarget = type !== undefined || id !== undefined;
  return isTarget && name !== undefined && name.length <= MAX_NAME_LENGTH
    ? [{ type, id, name }]
    : undefined;
}

/** Ids of zeros stand for none. */
function idText(hex: string): string | undefined {
  return /[^0]/.test(hex) && hex.length <= MAX_NAME_LENGTH ? hex : undefined;
}

/** The record in JSON: attributes as objects, 64-bit times as text, and no member for what was not sent. */
function metadataText(record: LogRecord, resource: Origin, scope: Origin): string {
  const { attributes, body } = record;
  const members: [string, string | undefined][] = [
    ['eventName', quoted(record.eventName)],
    ['timeUnixNano', digits(record.timeUnixNano)],
    ['observedTimeUnixNano', digits(record.observedTimeUnixNano)],
    ['severityNumber', number(record.severityNumber)],
    ['severityText', quoted(record.severityText)],
    ['body', body],
    ['attributes', attributes.isEmpty ? undefined : attributes.json()],
    ['droppedAttributesCount', number(record.droppedAttributesCount)],
    ['flags', number(record.flags)],
    ['traceId', quoted(idText(record.traceId))],
    ['spanId', quoted(idText(record.spanId))],
    ['resource', originText(resource)],
    ['scope', originText(scope)],
  ];
  return present(members) ?? '{}';
}

function originText({ attributes, name, version, schemaUrl }: Origin): string | undefined {
  return present([
    ['name', quoted(name)],
    ['version', quoted(version)],
    ['attributes', attributes.isEmpty ? undefined : attributes.json()],
    ['schemaUrl', quoted(schemaUrl)],
  ]);
}

function present(members: readonly [string, string | undefined][]): string | undefined {
  const found = members.filter((one): one is [string, string] => one[1] !== undefined);
  return found.length === 0 ? undefined : jsonObject(found);
}

function quoted(text: string | undefined): string | undefined {
  return text ? JSON.stringify(text) : undefined;
}

function digits(value: bigint): string | undefined {
  return value === 0n ? undefined : `"${value}"`;
}

function number(value: number): string | undefined {
  return value === 0 ? undefined : String(value);
}
