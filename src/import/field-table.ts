import {
  firstKind,
  firstName,
  type JsonObject,
  MAX_DESCRIPTION_LENGTH,
  type MappedEvent,
  type MappedTarget,
  objectOf,
  type SourceRecord,
  targetsOf,
  textOf,
  UnmappableRecord,
} from './record-mapping';

/** A path such as `actor.id` or `target.0.type`, or a function where a path does not do. */
type Source = string | ((value: JsonObject) => unknown);

/** Sources of each field of an event, of which the first that is a text and fits is taken. Absent fields stay empty. */
export interface FieldTable {
  /** Undefined for a record without an id of its own: one is derived from its place and its text. */
  id: (record: SourceRecord) => string | undefined;
  /** Required. */
  timestamp: readonly Source[];
  /** Without `--organization`, which is required where this is empty. */
  organizationId: readonly Source[];
  principalId: readonly Source[];
  /** Required. */
  action: readonly Source[];
  targetResourceType: readonly Source[];
  targetResourceId: readonly Source[];
  status: (value: JsonObject) => MappedEvent['status'];
  outcomeDescription: readonly Source[];
  dataClassification: (value: JsonObject) => MappedEvent['dataClassification'];
  correlationId: readonly Source[];
  sessionId: readonly Source[];
  ipAddress: readonly Source[];
  userAgent: readonly Source[];
  geolocation?: readonly Source[];
  principalType?: readonly Source[];
  principalName?: readonly Source[];
  /** All targets, the target resource first; where a record may have several, or names for them. */
  targets?: (value: JsonObject) => MappedTarget[];
  /** The service and the machine that report. */
  service?: readonly Source[];
  host?: readonly Source[];
}

/** The mapping of a table. Names that are too long for an id are left to `metadata`, which has the whole record. */
export function tableMapping(table: FieldTable): (record: SourceRecord) => MappedEvent {
  return (record) => {
    const { value } = record;
    const all = (sources: readonly Source[] = []) => sources.map((one) => read(value, one));
    const name = (sources?: readonly Source[]) => firstName(...all(sources));
    const text = (sources?: readonly Source[]) => all(sources).map(textOf).find(isShort);
    const session = {
      sessionId: name(table.sessionId),
      ipAddress: name(table.ipAddress),
      userAgent: text(table.userAgent),
      geolocation: text(table.geolocation),
    };
    const first = {
      targetResourceType: name(table.targetResourceType),
      targetResourceId: name(table.targetResourceId),
    };
    const source = { service: name(table.service), host: name(table.host) };
    const hasAny = (members: object) => Object.values(members).some((one) => one !== undefined);
    return {
      id: table.id(record),
      timestamp: required(value, table.timestamp),
      organizationId:
        record.organizationId ??
        name(table.organizationId) ??
        required(value, table.organizationId, ': give --organization'),
      principalId: name(table.principalId),
      action: required(value, table.action),
      ...first,
      status: table.status(value),
      outcomeDescription: text(table.outcomeDescription),
      dataClassification: table.dataClassification(value),
      correlationId: name(table.correlationId),
      sessionContext: hasAny(session) ? session : undefined,
      principalType: firstKind(...all(table.principalType)),
      principalName: name(table.principalName),
      targets: targetsOf(first, table.targets?.(value) ?? []),
      source: hasAny(source) ? source : undefined,
    };
  };
}

const isShort = (text: string | undefined) =>
  text !== undefined && text.length <= MAX_DESCRIPTION_LENGTH;

function required(value: JsonObject, sources: readonly Source[], hint = ''): string {
  const found = sources.map((source) => textOf(read(value, source))).find((one) => one);
  if (found !== undefined) return found;
  const paths = sources.filter((source) => typeof source === 'string').join(' or ');
  throw new UnmappableRecord(`${paths || 'the organization'} is missing or not a string${hint}`);
}

function read(value: JsonObject, source: Source): unknown {
  return typeof source === 'string' ? valueAt(value, source) : source(value);
}

/** The value at a path; undefined where it leads nowhere. Numbers in it are indexes of lists. */
export function valueAt(value: JsonObject, path: string): unknown {
  let at: unknown = value;
  for (const step of path.split('.')) {
    at = Array.isArray(at) ? (at as unknown[])[Number(step)] : ownMember(at, step);
  }
  return at;
}

function ownMember(value: unknown, name: string): unknown {
  const object = objectOf(value);
  return object && Object.hasOwn(object, name) ? object[name] : undefined;
}
