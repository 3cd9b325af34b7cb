import type { FieldError } from '../../../../platform/errors/app-error';

/** The fault of a record in a request that can still be read: the record alone is rejected. */
export class RecordFault extends Error {
  constructor(
    /** Within the record. */
    readonly path: string,
    message: string,
  ) {
    super(message);
  }
}

/** Limits of the JSON text of values: those of `metadata`, in which a record has to fit. */
const MAX_TEXT = 256 * 1024;
const MAX_DEPTH = 32;

/** Key-value pairs of OTLP: JSON texts by key, in the order in which they were sent. */
export class Attributes {
  private readonly texts = new Map<string, string>();
  private length = 0;

  /** @throws RecordFault for a second value of a key, and for more text than an event may have. */
  add(key: string, text: string): void {
    if (this.texts.has(key)) throw new RecordFault('', `has ${JSON.stringify(key)} twice`);
    this.length += key.length + text.length;
    requireShort(this.length);
    this.texts.set(key, text);
  }

  get isEmpty(): boolean {
    return this.texts.size === 0;
  }

  /** Characters of all keys and values. */
  get characters(): number {
    return this.length;
  }

  /** The text of a string, a number or a truth value; undefined where it is absent, empty or of another type. */
  textOf(key: string): string | undefined {
    const text = this.texts.get(key);
    if (text === undefined || text === '""' || /^(?:[[{]|null$)/.test(text)) return undefined;
    return text.startsWith('"') ? (JSON.parse(text) as string) : text;
  }

  /** A JSON object. */
  json(): string {
    return jsonObject(this.texts);
  }
}

/** @throws RecordFault for more text than an event may have. */
export function requireShort(length: number): void {
  if (length > MAX_TEXT) throw new RecordFault('', `has more than ${MAX_TEXT} bytes as JSON`);
}

/** @throws RecordFault for a value that is nested deeper than one of an event may be. */
export function requireShallow(depth: number): void {
  if (depth > MAX_DEPTH) throw new RecordFault('', `nests deeper than ${MAX_DEPTH} levels`);
}

export function jsonObject(texts: Iterable<readonly [name: string, text: string]>): string {
  return `{${[...texts].map(([name, text]) => `${JSON.stringify(name)}:${text}`).join(',')}}`;
}

/** An empty value is sent by some encoders, and left out by others. */
export function bodyText(text: string): string | undefined {
  return text === 'null' ? undefined : text;
}

/** JSON text of a double: its shortest digits; what JSON has no number for is a string, as in protobuf's JSON. */
export function doubleText(value: number): string {
  if (!Number.isFinite(value)) return `"${value}"`;
  return Object.is(value, -0) ? '-0' : String(value);
}

/** A resource or a scope: common to the records in it. */
export interface Origin {
  attributes: Attributes;
  /** Of a scope. */
  name: string;
  version: string;
  schemaUrl: string;
}

/** A LogRecord of OTLP 1; what was not sent is 0 or empty. */
export interface LogRecord {
  timeUnixNano: bigint;
  observedTimeUnixNano: bigint;
  severityNumber: number;
  severityText: string;
  eventName: string;
  /** JSON text. */
  body: string | undefined;
  attributes: Attributes;
  droppedAttributesCount: number;
  flags: number;
  /** Hexadecimal, in lower case. */
  traceId: string;
  spanId: string;
}

export function emptyOrigin(): Origin {
  return { attributes: new Attributes(), name: '', version: '', schemaUrl: '' };
}

export function emptyRecord(): LogRecord {
  return {
    timeUnixNano: 0n,
    observedTimeUnixNano: 0n,
    severityNumber: 0,
    severityText: '',
    eventName: '',
    body: undefined,
    attributes: new Attributes(),
    droppedAttributesCount: 0,
    flags: 0,
    traceId: '',
    spanId: '',
  };
}

/** A record of a request with its place; or why it, its scope or its resource cannot be used. */
export type SentRecord =
  { path: string; record: LogRecord; resource: Origin; scope: Origin } | { fault: FieldError };

/** An origin, or the fault of all its records. */
export type OriginOrFault = Origin | RecordFault;

/** `read`, with a RecordFault as its value. */
export function orFault<T>(read: () => T): T | RecordFault {
  try {
    return read();
  } catch (error) {
    if (error instanceof RecordFault) return error;
    throw error;
  }
}

/** The parts of a record, or the first fault of them. */
export function sentRecord(
  path: string,
  resource: OriginOrFault,
  scope: OriginOrFault,
  record: LogRecord | RecordFault,
): SentRecord {
  for (const [part, one] of [
    ['its resource', resource],
    ['its scope', scope],
  ] as const) {
    if (one instanceof RecordFault) return { fault: { path, message: `${part} ${one.message}` } };
  }
  if (record instanceof RecordFault) {
    const at = record.path === '' ? path : `${path}.${record.path}`;
    return { fault: { path: at, message: record.message } };
  }
  return { path, record, resource: resource as Origin, scope: scope as Origin };
}

/** One of the encodings of OTLP/HTTP, with the messages of its responses. */
export interface OtlpEncoding {
  mediaType: string;
  /**
   * The records of an ExportLogsServiceRequest in order; `undefined` for each resource and scope before them, so that a
   * reader can count and pause where these are empty. Memory is that of one record.
   * @throws SyntaxError, RangeError or TypeError for bytes that are no such message.
   */
  records: (body: Buffer) => Iterable<SentRecord | undefined>;
  /** An ExportLogsServiceResponse. */
  response: (rejected: number, errorMessage: string) => Buffer;
  /** A google.rpc.Status. */
  status: (code: number, message: string) => Buffer;
}
