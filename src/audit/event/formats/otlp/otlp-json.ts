import { elementsOf, type JsonMember, membersOf } from '../../../../platform/runtime/json-members';
import {
  parseJsonWithNumberTexts,
  UnacceptableJsonError,
} from '../../../../platform/runtime/lossless-json';
import {
  Attributes,
  bodyText,
  doubleText,
  emptyOrigin,
  emptyRecord,
  type LogRecord,
  type OriginOrFault,
  type OtlpEncoding,
  orFault,
  RecordFault,
  requireShallow,
  requireShort,
  sentRecord,
  type SentRecord,
} from './log-record';

/** A body in JSON, `application/json`, by the rules of OTLP: ids in hexadecimal, unknown members are ignored. */
export const OTLP_JSON: OtlpEncoding = {
  mediaType: 'application/json',
  records: (body) => recordsOf(UTF8.decode(body)),
  response: (rejected, errorMessage) =>
    jsonOf(
      rejected > 0
        ? { partialSuccess: { rejectedLogRecords: String(rejected), errorMessage } }
        : {},
    ),
  status: (code, message) => jsonOf({ code, message }),
};

const UTF8 = new TextDecoder('utf-8', { fatal: true });

function jsonOf(message: object): Buffer {
  return Buffer.from(JSON.stringify(message));
}

function* recordsOf(text: string): Generator<SentRecord | undefined> {
  let resourceIndex = 0;
  for (const resourceLogs of elementsIn(text, 'resourceLogs')) {
    yield undefined;
    const resource = originOf(resourceLogs, 'resource', 'scopeLogs');
    let scopeIndex = 0;
    for (const scopeLogs of elementsIn(resourceLogs, 'scopeLogs')) {
      yield undefined;
      const scope = originOf(scopeLogs, 'scope', 'logRecords');
      const at = `resourceLogs[${resourceIndex}].scopeLogs[${scopeIndex}]`;
      let index = 0;
      for (const one of elementsIn(scopeLogs, 'logRecords')) {
        const record = orFault(() => recordOf(one));
        yield sentRecord(`${at}.logRecords[${index}]`, resource, scope, record);
        index += 1;
      }
      scopeIndex += 1;
    }
    resourceIndex += 1;
  }
}

/** Limit of the members of a request, a ResourceLogs and a ScopeLogs, of which OTLP knows three. */
const MAX_MEMBERS = 100;

/**
 * The members of a message.
 * @throws SyntaxError as `membersOf`, and for far more members than there are fields.
 */
function* fieldsOf(objectText: string): Generator<JsonMember> {
  let count = 0;
  for (const member of membersOf(objectText)) {
    count += 1;
    if (count > MAX_MEMBERS) throw new SyntaxError(`more than ${MAX_MEMBERS} members`);
    yield member;
  }
}

/** The texts of the elements of a list in an object. */
function* elementsIn(objectText: string, list: string): Generator<string> {
  let isFound = false;
  for (const { name, valueText } of fieldsOf(objectText)) {
    if (name !== list) {
      JSON.parse(valueText); // what is ignored has to be JSON, too
      continue;
    }
    if (isFound) throw new SyntaxError(`${list} is there twice`);
    isFound = true;
    if (valueText !== 'null') yield* elementsOf(valueText);
  }
}

type Json = Record<string, unknown>;

/** The member `name` of an object with a list, and the URL of its schema. */
function originOf(objectText: string, name: string, list: string): OriginOrFault {
  return orFault(() => {
    const origin = emptyOrigin();
    for (const member of fieldsOf(objectText)) {
      if (member.name === list) continue; // read by elementsIn
      const value = parsed(member.valueText);
      if (member.name === 'schemaUrl') origin.schemaUrl = textIn({ schemaUrl: value }, 'schemaUrl');
      if (member.name !== name) continue;
      const found = objectOf(value, name);
      origin.name = textIn(found, 'name');
      origin.version = textIn(found, 'version');
      addPairs(origin.attributes, listIn(found, 'attributes'), 1);
    }
    return origin;
  });
}

function recordOf(text: string): LogRecord {
  const value = objectOf(parsed(text), '');
  const record = emptyRecord();
  record.timeUnixNano = unsignedIn(value, 'timeUnixNano');
  record.observedTimeUnixNano = unsignedIn(value, 'observedTimeUnixNano');
  record.severityNumber = Number(unsignedIn(value, 'severityNumber'));
  record.severityText = textIn(value, 'severityText');
  record.eventName = textIn(value, 'eventName');
  record.body = isThere(value.body) ? bodyText(valueText(value.body, 1)) : undefined;
  addPairs(record.attributes, listIn(value, 'attributes'), 1);
  record.droppedAttributesCount = Number(unsignedIn(value, 'droppedAttributesCount'));
  record.flags = Number(unsignedIn(value, 'flags'));
  record.traceId = textIn(value, 'traceId').toLowerCase();
  record.spanId = textIn(value, 'spanId').toLowerCase();
  return record;
}

/** @throws SyntaxError; RecordFault for JSON that is not accepted. */
function parsed(text: string): unknown {
  try {
    return parseJsonWithNumberTexts(text);
  } catch (error) {
    if (error instanceof UnacceptableJsonError) throw new RecordFault('', error.message);
    throw error;
  }
}

function isThere(value: unknown): boolean {
  return value !== undefined && value !== null;
}

function objectOf(value: unknown, path: string): Json {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json;
  throw new RecordFault(path, 'must be a JSON object');
}

function memberIn(value: Json, name: string): unknown {
  return Object.hasOwn(value, name) ? value[name] : undefined;
}

function textIn(value: Json, name: string): string {
  const text = memberIn(value, name) ?? '';
  if (typeof text !== 'string') throw new RecordFault(name, 'must be text');
  return text;
}

function listIn(value: Json, name: string): unknown[] {
  const list = memberIn(value, name) ?? [];
  if (!Array.isArray(list)) throw new RecordFault(name, 'must be an array');
  return list;
}

/** Numbers may be texts; 64 bits have to be, where a double does not hold them, and are made so by the parser. */
function unsignedIn(value: Json, name: string): bigint {
  const digits = digitsOf(memberIn(value, name) ?? 0);
  if (digits !== undefined && digits === BigInt.asUintN(64, digits)) return digits;
  throw new RecordFault(name, 'must be a whole number of 64 bits, as a number or as text');
}

/** Undefined for what is no whole number. */
function digitsOf(value: unknown): bigint | undefined {
  const text = typeof value === 'number' ? String(value) : value;
  return typeof text === 'string' && /^-?\d{1,20}$/.test(text) ? BigInt(text) : undefined;
}

function addPairs(attributes: Attributes, pairs: readonly unknown[], depth: number): void {
  for (const one of pairs) {
    const pair = objectOf(one, 'attributes');
    const value = memberIn(pair, 'value');
    attributes.add(textIn(pair, 'key'), isThere(value) ? valueText(value, depth) : 'null');
  }
}

/** JSON text of an AnyValue: integers with all their digits, bytes in base64. */
function valueText(value: unknown, depth: number): string {
  requireShallow(depth);
  const any = objectOf(value, '');
  for (const [kind, textOf] of Object.entries(KINDS)) {
    const member = memberIn(any, kind);
    if (isThere(member)) return textOf(member, depth);
  }
  return 'null';
}

const BASE64 = /^[A-Za-z0-9+/_-]*={0,2}$/;

const KINDS: Record<string, (value: unknown, depth: number) => string> = {
  stringValue: (value) => JSON.stringify(stringOf(value, 'stringValue')),
  boolValue: (value) => String(booleanOf(value)),
  intValue: (value) => {
    const digits = digitsOf(value);
    if (digits !== undefined) return String(digits);
    // JavaScript's SDK sends integers beyond 64 bits, too.
    if (Number.isInteger(value)) return String(value);
    throw new RecordFault('', 'has an intValue that is no whole number');
  },
  doubleValue: (value) => {
    const isNumber =
      typeof value === 'number' || (typeof value === 'string' && value.trim() !== '');
    const number = isNumber ? Number(value) : NaN;
    if (!Number.isNaN(number) || value === 'NaN') return doubleText(number);
    throw new RecordFault('', 'has a doubleValue that is no number');
  },
  arrayValue: (value, depth) => {
    const texts: string[] = [];
    let length = 0;
    for (const one of listIn(objectOf(value, ''), 'values')) {
      const text = valueText(one, depth + 1);
      length += text.length + 1;
      requireShort(length);
      texts.push(text);
    }
    return `[${texts.join(',')}]`;
  },
  kvlistValue: (value, depth) => {
    const pairs = new Attributes();
    addPairs(pairs, listIn(objectOf(value, ''), 'values'), depth + 1);
    return pairs.json();
  },
  bytesValue: (value) => {
    const text = stringOf(value, 'bytesValue');
    if (!BASE64.test(text)) throw new RecordFault('', 'has a bytesValue that is no base64');
    return `"${Buffer.from(text, 'base64').toString('base64')}"`;
  },
};

function stringOf(value: unknown, kind: string): string {
  if (typeof value === 'string') return value;
  throw new RecordFault('', `has a ${kind} that is no text`);
}

function booleanOf(value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  throw new RecordFault('', 'has a boolValue that is neither true nor false');
}
