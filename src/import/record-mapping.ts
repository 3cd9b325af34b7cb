/** Its numbers may have lost digits: read strings from it, take everything else as text. */
export type JsonObject = Record<string, unknown>;

export interface SourceRecord {
  /** JSON on one line. */
  text: string;
  value: JsonObject;
  /** `--organization`, instead of the one that the record names. */
  organizationId: string | undefined;
  /** The same id on every run, for a record without one. */
  derivedId: () => string;
  /** The same id on every run and in every file, made of the names that identify a record in its source. */
  namedId: (...parts: string[]) => string;
  /** `--basic`: without the members that earlier versions did not fill. */
  isBasic: boolean;
}

/** The JSON text of the audit event of a record. @throws UnmappableRecord */
export type RecordMapping = (record: SourceRecord) => string;

/** The message is the reason in the refused file. */
export class UnmappableRecord extends Error {}

/** An event without `metadata`, which is always the text of the record. */
export interface MappedEvent {
  id?: string;
  timestamp: string;
  organizationId: string;
  principalId?: string;
  action: string;
  targetResourceType?: string;
  targetResourceId?: string;
  status: 'attempt' | 'success' | 'failure';
  outcomeDescription?: string;
  dataClassification: 'PUBLIC' | 'INTERNAL' | 'CONFIDENTIAL' | 'PHI';
  correlationId?: string;
  sessionContext?: {
    sessionId?: string;
    ipAddress?: string;
    userAgent?: string;
    geolocation?: string;
  };
  principalType?: string;
  principalName?: string;
  targets?: MappedTarget[];
  source?: { service?: string; host?: string };
}

export interface MappedTarget {
  type?: string;
  id?: string;
  name?: string;
}

/** Of ids, types and actions in the API, in UTF-16 units (never fewer than characters). */
const MAX_NAME_LENGTH = 255;

/** Of `principalType` in the API. */
const MAX_KIND_LENGTH = 64;

/** Of `targets` in the API. */
const MAX_TARGETS = 100;

/** Of `outcomeDescription` in the API. */
export const MAX_DESCRIPTION_LENGTH = 10_000;

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/**
 * Keeps the record, byte for byte, as the event's `metadata`: serialising it again would re-spell numbers such as
 * 1.688560107857E9 and round those beyond 2^53.
 */
export function keepingRecord(map: (record: SourceRecord) => MappedEvent): RecordMapping {
  return (record) => {
    const { id, ...mapped } = map(record);
    const rest = record.isBasic ? basicOf(mapped) : mapped;
    const head = JSON.stringify({ id: id ?? record.derivedId(), ...rest });
    return `${head.slice(0, -1)},"metadata":${record.text}}`;
  };
}

function basicOf(event: MappedEvent): MappedEvent {
  return {
    ...event,
    principalType: undefined,
    principalName: undefined,
    targets: undefined,
    source: undefined,
  };
}

/**
 * The targets of a record, of which the first is `first`; undefined where they say no more than it. Those without a type
 * and an id that fit, and those beyond the limit of the API, are left to `metadata`.
 */
export function targetsOf(
  first: Pick<MappedEvent, 'targetResourceType' | 'targetResourceId'>,
  candidates: readonly MappedTarget[],
): MappedTarget[] | undefined {
  const found = candidates.filter(({ type, id }) => type !== undefined || id !== undefined);
  const [head, ...others] = found;
  if (!head || (others.length === 0 && head.name === undefined)) return undefined;
  const { targetResourceType: type = head.type, targetResourceId: id = head.id } = first;
  return [{ ...head, type, id }, ...others].slice(0, MAX_TARGETS);
}

/** The first that is a non-empty string and short enough for a kind of principal. */
export function firstKind(...candidates: unknown[]): string | undefined {
  return candidates
    .map(textOf)
    .find((candidate) => candidate !== undefined && candidate.length <= MAX_KIND_LENGTH);
}

/** A non-empty string. */
export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** The first that is a non-empty string and short enough for an id. A longer one is skipped, never truncated. */
export function firstName(...candidates: unknown[]): string | undefined {
  return candidates
    .map(textOf)
    .find((candidate) => candidate !== undefined && candidate.length <= MAX_NAME_LENGTH);
}

/** @throws UnmappableRecord */
export function requiredText(value: JsonObject, name: string, hint = ''): string {
  const text = textOf(value[name]);
  if (text === undefined) throw new UnmappableRecord(`${name} is missing or not a string${hint}`);
  return text;
}

/** In lower case. */
export function uuidOf(value: unknown): string | undefined {
  return typeof value === 'string' && UUID.test(value) ? value.toLowerCase() : undefined;
}

export function objectOf(value: unknown): JsonObject | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as JsonObject)
    : undefined;
}
