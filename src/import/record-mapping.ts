/** A parsed JSON object. Its numbers may have lost digits: read strings from it, take everything else as text. */
export type JsonObject = Record<string, unknown>;

/** One record of the file. */
export interface SourceRecord {
  /** The record's own JSON text on one line. */
  text: string;
  /** The same, parsed. */
  value: JsonObject;
  /** `--organization`: replaces the organization that the record names. */
  organizationId: string | undefined;
  /** The id of an event whose record brings none: the same on every run (see deterministic-uuid.ts). */
  derivedId: () => string;
}

/** The JSON text of the audit event that a record becomes. Throws UnmappableRecord when it cannot be one. */
export type RecordMapping = (record: SourceRecord) => string;

/** A record that cannot become an audit event; the message is the reason, for the refused file. */
export class UnmappableRecord extends Error {}

/** What a mapping finds in a record; `metadata` is not in it, as that is always the record's own text. */
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
  sessionContext?: { sessionId?: string; ipAddress?: string; userAgent?: string };
}

/** The longest id, type or action the API takes, in UTF-16 units (never fewer than characters). */
const MAX_NAME_LENGTH = 255;

/** The longest `outcomeDescription` the API takes. */
export const MAX_DESCRIPTION_LENGTH = 10_000;

/** Any UUID in its usual spelling, whatever its version. */
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/**
 * Makes a mapping that keeps the whole record, byte for byte, as the event's `metadata`: parsing and serialising it
 * again would re-spell numbers such as 1.688560107857E9 and round those beyond 2^53.
 */
export function keepingRecord(map: (record: SourceRecord) => MappedEvent): RecordMapping {
  return (record) => {
    const { id, ...rest } = map(record);
    const head = JSON.stringify({ id: id ?? record.derivedId(), ...rest });
    return `${head.slice(0, -1)},"metadata":${record.text}}`;
  };
}

/** The value when it is a string; undefined for an empty one too, which counts as absent. */
export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** The first candidate that is a non-empty string and short enough for an id. A longer one is skipped, never truncated. */
export function firstName(...candidates: unknown[]): string | undefined {
  return candidates
    .map(textOf)
    .find((candidate) => candidate !== undefined && candidate.length <= MAX_NAME_LENGTH);
}

/** The string at `name`. @throws UnmappableRecord */
export function requiredText(value: JsonObject, name: string, hint = ''): string {
  const text = textOf(value[name]);
  if (text === undefined) throw new UnmappableRecord(`${name} is missing or not a string${hint}`);
  return text;
}

/** The value as a UUID in lower case, or undefined when it is none. */
export function uuidOf(value: unknown): string | undefined {
  return typeof value === 'string' && UUID.test(value) ? value.toLowerCase() : undefined;
}

/** The value when it is a JSON object (not null, not an array). */
export function objectOf(value: unknown): JsonObject | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as JsonObject)
    : undefined;
}
