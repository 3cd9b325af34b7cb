import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import {
  Attributes,
  bodyText,
  doubleText,
  emptyOrigin,
  emptyRecord,
  type LogRecord,
  type Origin,
  type OriginOrFault,
  type OtlpEncoding,
  orFault,
  requireShallow,
  requireShort,
  sentRecord,
  type SentRecord,
} from './log-record';

/*
 * Messages of opentelemetry-proto 1.x by their field numbers. They are read in place, one record at a time: message
 * objects would take many times the two bytes of an empty record.
 */

const { Varint, Bit64, Bit32, LengthDelimited, StartGroup, EndGroup } = WireType;

/** A protobuf body, `application/x-protobuf`. */
export const OTLP_PROTOBUF: OtlpEncoding = {
  mediaType: 'application/x-protobuf',
  records: (body) => recordsOf(body),
  response: (rejected, errorMessage) => {
    const response = new BinaryWriter();
    if (rejected > 0) {
      response.tag(1, LengthDelimited).fork();
      response.tag(1, Varint).int64(rejected);
      response.tag(2, LengthDelimited).string(errorMessage);
      response.join();
    }
    return Buffer.from(response.finish());
  },
  status: (code, message) => {
    const status = new BinaryWriter().tag(1, Varint).int32(code);
    return Buffer.from(status.tag(2, LengthDelimited).string(message).finish());
  },
};

/** The tag before a field. */
function tagOf(field: number, type: WireType): number {
  return (field << 3) | type;
}

/**
 * Reads the fields of a message by their tags; what `read` does not take is skipped, as fields of another type are.
 * @throws RangeError for a message that is cut, or has a group, which no message of OTLP has.
 */
function readFields(
  message: Uint8Array,
  read: (reader: BinaryReader, tag: number) => boolean,
): void {
  const reader = new BinaryReader(message);
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (!read(reader, tag)) skip(reader, tag);
  }
}

function skip(reader: BinaryReader, tag: number): void {
  const type: WireType = tag & 7;
  if (tag >>> 3 === 0 || type === StartGroup || type === EndGroup) {
    throw new RangeError('a group, or a field without a number, in a message that has none');
  }
  if (type !== LengthDelimited) return void reader.skip(type);
  // `skip` also makes a view of what it skips: 180 instead of 27 ms for 9 MiB of empty messages.
  const length = reader.uint32();
  reader.pos += length;
  if (reader.pos > reader.len) throw new RangeError('a length beyond the end');
}

/** The messages of a repeated field, one after the other. */
function* messagesIn(message: Uint8Array, field: number): Generator<Uint8Array> {
  const wanted = tagOf(field, LengthDelimited);
  const reader = new BinaryReader(message);
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag === wanted) yield reader.bytes();
    else skip(reader, tag);
  }
}

function* recordsOf(body: Buffer): Generator<SentRecord | undefined> {
  let resourceIndex = 0;
  for (const resourceLogs of messagesIn(body, 1)) {
    yield undefined;
    // A field may follow the lists that it is about.
    const resource = originOf(resourceLogs, readResource);
    let scopeIndex = 0;
    for (const scopeLogs of messagesIn(resourceLogs, 2)) {
      yield undefined;
      const scope = originOf(scopeLogs, readScope);
      const at = `resourceLogs[${resourceIndex}].scopeLogs[${scopeIndex}]`;
      let index = 0;
      for (const message of messagesIn(scopeLogs, 2)) {
        const record = orFault(() => recordOf(message));
        yield sentRecord(`${at}.logRecords[${index}]`, resource, scope, record);
        index += 1;
      }
      scopeIndex += 1;
    }
    resourceIndex += 1;
  }
}

const ORIGIN = tagOf(1, LengthDelimited);
const SCHEMA_URL = tagOf(3, LengthDelimited);

/** The origin of what ResourceLogs and ScopeLogs hold, and the URL of its schema. */
function originOf(
  message: Uint8Array,
  readOrigin: (origin: Origin, message: Uint8Array) => void,
): OriginOrFault {
  return orFault(() => {
    const origin = emptyOrigin();
    readFields(message, (reader, tag) => {
      if (tag === ORIGIN) readOrigin(origin, reader.bytes());
      else if (tag === SCHEMA_URL) origin.schemaUrl = reader.string(true);
      else return false;
      return true;
    });
    return origin;
  });
}

const RESOURCE_ATTRIBUTES = tagOf(1, LengthDelimited);

function readResource({ attributes }: Origin, message: Uint8Array): void {
  readFields(message, (reader, tag) => {
    if (tag !== RESOURCE_ATTRIBUTES) return false;
    addPair(attributes, reader.bytes(), 1);
    return true;
  });
}

const SCOPE = {
  name: tagOf(1, LengthDelimited),
  version: tagOf(2, LengthDelimited),
  attributes: tagOf(3, LengthDelimited),
};

function readScope(scope: Origin, message: Uint8Array): void {
  readFields(message, (reader, tag) => {
    if (tag === SCOPE.name) scope.name = reader.string(true);
    else if (tag === SCOPE.version) scope.version = reader.string(true);
    else if (tag === SCOPE.attributes) addPair(scope.attributes, reader.bytes(), 1);
    else return false;
    return true;
  });
}

/** Fields of LogRecord, by tag. */
const RECORD = new Map<number, (record: LogRecord, reader: BinaryReader) => void>([
  [tagOf(1, Bit64), (record, reader) => (record.timeUnixNano = BigInt(reader.fixed64()))],
  [tagOf(2, Varint), (record, reader) => (record.severityNumber = reader.int32())],
  [tagOf(3, LengthDelimited), (record, reader) => (record.severityText = reader.string(true))],
  [tagOf(5, LengthDelimited), (record, reader) => (record.body = bodyOf(reader.bytes()))],
  [tagOf(6, LengthDelimited), ({ attributes }, reader) => addPair(attributes, reader.bytes(), 1)],
  [tagOf(7, Varint), (record, reader) => (record.droppedAttributesCount = reader.uint32())],
  [tagOf(8, Bit32), (record, reader) => (record.flags = reader.fixed32())],
  [tagOf(9, LengthDelimited), (record, reader) => (record.traceId = hex(reader.bytes()))],
  [tagOf(10, LengthDelimited), (record, reader) => (record.spanId = hex(reader.bytes()))],
  [tagOf(11, Bit64), (record, reader) => (record.observedTimeUnixNano = BigInt(reader.fixed64()))],
  [tagOf(12, LengthDelimited), (record, reader) => (record.eventName = reader.string(true))],
]);

function recordOf(message: Uint8Array): LogRecord {
  const record = emptyRecord();
  readFields(message, (reader, tag) => {
    const read = RECORD.get(tag);
    read?.(record, reader);
    return read !== undefined;
  });
  return record;
}

function bodyOf(message: Uint8Array): string | undefined {
  return bodyText(valueText(message, 1));
}

const PAIR = { key: tagOf(1, LengthDelimited), value: tagOf(2, LengthDelimited) };

function addPair(attributes: Attributes, message: Uint8Array, depth: number): void {
  let key = '';
  let value: Uint8Array | undefined;
  readFields(message, (reader, tag) => {
    if (tag === PAIR.key) key = reader.string(true);
    else if (tag === PAIR.value) value = reader.bytes();
    else return false;
    return true;
  });
  attributes.add(key, value ? valueText(value, depth) : 'null');
}

/** Fields of AnyValue, by tag: the JSON text of each kind. */
const KINDS = new Map<number, (reader: BinaryReader, depth: number) => string>([
  [tagOf(1, LengthDelimited), (reader) => JSON.stringify(reader.string(true))],
  [tagOf(2, Varint), (reader) => String(reader.bool())],
  [tagOf(3, Varint), (reader) => String(reader.int64())],
  [tagOf(4, Bit64), (reader) => doubleText(reader.double())],
  [tagOf(5, LengthDelimited), (reader, depth) => listText(reader.bytes(), depth)],
  [tagOf(6, LengthDelimited), (reader, depth) => pairsText(reader.bytes(), depth)],
  [tagOf(7, LengthDelimited), (reader) => `"${base64(reader.bytes())}"`],
]);

/** JSON text of an AnyValue: integers with all their digits, bytes in base64. Of several kinds the last counts. */
function valueText(message: Uint8Array, depth: number): string {
  requireShallow(depth);
  let text = 'null';
  if (message.length === 0) return text;
  readFields(message, (reader, tag) => {
    const read = KINDS.get(tag);
    if (read) text = read(reader, depth);
    return read !== undefined;
  });
  return text;
}

function listText(message: Uint8Array, depth: number): string {
  const texts: string[] = [];
  let length = 0;
  for (const value of messagesIn(message, 1)) {
    const text = valueText(value, depth + 1);
    length += text.length + 1;
    requireShort(length);
    texts.push(text);
  }
  return `[${texts.join(',')}]`;
}

function pairsText(message: Uint8Array, depth: number): string {
  const pairs = new Attributes();
  for (const pair of messagesIn(message, 1)) addPair(pairs, pair, depth + 1);
  return pairs.json();
}

function hex(bytes: Uint8Array): string {
  return bufferOf(bytes).toString('hex');
}

function base64(bytes: Uint8Array): string {
  requireShort(bytes.length);
  return bufferOf(bytes).toString('base64');
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
