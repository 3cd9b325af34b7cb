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
 * Messages of opentelemetry-proto 1.x by their field numbers. They are read in place, one record at a time: a message
 * object for each two bytes of a body would take a hundred times its memory.
 */

/** A protobuf body, `application/x-protobuf`. */
export const OTLP_PROTOBUF: OtlpEncoding = {
  mediaType: 'application/x-protobuf',
  records: (body) => recordsOf(body),
  response: (rejected, errorMessage) => {
    const response = new BinaryWriter();
    if (rejected > 0) {
      response.tag(1, WireType.LengthDelimited).fork();
      response.tag(1, WireType.Varint).int64(rejected);
      response.tag(2, WireType.LengthDelimited).string(errorMessage);
      response.join();
    }
    return Buffer.from(response.finish());
  },
  status: (code, message) => {
    const status = new BinaryWriter().tag(1, WireType.Varint).int32(code);
    return Buffer.from(status.tag(2, WireType.LengthDelimited).string(message).finish());
  },
};

type Field = (reader: BinaryReader) => void;

/**
 * Reads the fields of a message; others are skipped, as those of another type. The key of `fields` is number and type.
 * @throws RangeError for a message that is cut, or has a group, which no message of OTLP has.
 */
function readFields(message: Uint8Array, fields: Readonly<Record<string, Field>>): void {
  const reader = new BinaryReader(message);
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    const read = fields[`${number}:${type}`];
    if (read) read(reader);
    else skip(reader, type);
  }
}

function skip(reader: BinaryReader, type: WireType): void {
  if (type === WireType.StartGroup || type === WireType.EndGroup) {
    throw new RangeError('a group in a message that has none');
  }
  reader.skip(type);
}

/** The messages of a repeated field, one after the other. */
function* messagesIn(message: Uint8Array, field: number): Generator<Uint8Array> {
  const reader = new BinaryReader(message);
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    if (number === field && type === WireType.LengthDelimited) yield reader.bytes();
    else skip(reader, type);
  }
}

function* recordsOf(body: Buffer): Generator<SentRecord | undefined> {
  let resourceIndex = 0;
  for (const resourceLogs of messagesIn(body, 1)) {
    yield undefined;
    // A field may follow the lists that it is about.
    const resource = originOf(resourceLogs, resourceFields);
    let scopeIndex = 0;
    for (const scopeLogs of messagesIn(resourceLogs, 2)) {
      yield undefined;
      const scope = originOf(scopeLogs, scopeFields);
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

/** Field 1 of ResourceLogs and ScopeLogs is the origin of what they hold, field 3 the URL of its schema. */
function originOf(
  message: Uint8Array,
  fieldsOf: (origin: Origin) => Record<string, Field>,
): OriginOrFault {
  return orFault(() => {
    const origin = emptyOrigin();
    readFields(message, {
      '1:2': (reader) => readFields(reader.bytes(), fieldsOf(origin)),
      '3:2': (reader) => (origin.schemaUrl = reader.string(true)),
    });
    return origin;
  });
}

function resourceFields({ attributes }: Origin): Record<string, Field> {
  return { '1:2': (reader) => addPair(attributes, reader.bytes(), 1) };
}

function scopeFields(scope: Origin): Record<string, Field> {
  return {
    '1:2': (reader) => (scope.name = reader.string(true)),
    '2:2': (reader) => (scope.version = reader.string(true)),
    '3:2': (reader) => addPair(scope.attributes, reader.bytes(), 1),
  };
}

function recordOf(message: Uint8Array): LogRecord {
  const record = emptyRecord();
  readFields(message, {
    '1:1': (reader) => (record.timeUnixNano = BigInt(reader.fixed64())),
    '2:0': (reader) => (record.severityNumber = reader.int32()),
    '3:2': (reader) => (record.severityText = reader.string(true)),
    '5:2': (reader) => (record.body = bodyText(valueText(reader.bytes(), 1))),
    '6:2': (reader) => addPair(record.attributes, reader.bytes(), 1),
    '7:0': (reader) => (record.droppedAttributesCount = reader.uint32()),
    '8:5': (reader) => (record.flags = reader.fixed32()),
    '9:2': (reader) => (record.traceId = hex(reader.bytes())),
    '10:2': (reader) => (record.spanId = hex(reader.bytes())),
    '11:1': (reader) => (record.observedTimeUnixNano = BigInt(reader.fixed64())),
    '12:2': (reader) => (record.eventName = reader.string(true)),
  });
  return record;
}

function addPair(attributes: Attributes, message: Uint8Array, depth: number): void {
  let key = '';
  let value: Uint8Array | undefined;
  readFields(message, {
    '1:2': (reader) => (key = reader.string(true)),
    '2:2': (reader) => (value = reader.bytes()),
  });
  attributes.add(key, value ? valueText(value, depth) : 'null');
}

/** JSON text of an AnyValue: integers with all their digits, bytes in base64. Of several kinds the last counts. */
function valueText(message: Uint8Array, depth: number): string {
  requireShallow(depth);
  let text = 'null';
  readFields(message, {
    '1:2': (reader) => (text = JSON.stringify(reader.string(true))),
    '2:0': (reader) => (text = String(reader.bool())),
    '3:0': (reader) => (text = String(reader.int64())),
    '4:1': (reader) => (text = doubleText(reader.double())),
    '5:2': (reader) => (text = listText(reader.bytes(), depth)),
    '6:2': (reader) => (text = pairsText(reader.bytes(), depth)),
    '7:2': (reader) => (text = `"${base64(reader.bytes())}"`),
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
