import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { JsonLogsSerializer, ProtobufLogsSerializer } from '@opentelemetry/otlp-transformer';
import { resourceFromAttributes } from '@opentelemetry/resources';
import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import * as fc from 'fast-check';
import { storableText } from '../../../../../test/support/event-arbitraries';
import type { OtlpEncoding, SentRecord } from './log-record';
import { OTLP_JSON } from './otlp-json';
import { OTLP_PROTOBUF } from './otlp-protobuf';

type Read = Exclude<SentRecord, { fault: unknown }>;

function allOf(encoding: OtlpEncoding, body: Uint8Array | string): SentRecord[] {
  return [...encoding.records(Buffer.from(body))].filter((one) => one !== undefined);
}

/** The records of a body without faults. */
function recordsOf(encoding: OtlpEncoding, body: Uint8Array | string): Read[] {
  return allOf(encoding, body).map((one) => {
    if ('fault' in one) throw new Error(`${one.fault.path} ${one.fault.message}`);
    return one;
  });
}

function faultsOf(encoding: OtlpEncoding, body: Uint8Array | string): string[] {
  return allOf(encoding, body).flatMap((one) =>
    'fault' in one ? [`${one.fault.path} ${one.fault.message}`] : [],
  );
}

/** Attributes as JSON values, everything else as it is. */
function shown({ path, record, resource, scope }: Read): object {
  const { attributes, body, ...others } = record;
  return {
    path,
    record: {
      ...others,
      attributes: JSON.parse(attributes.json()) as object,
      body: body === undefined ? undefined : (JSON.parse(body) as unknown),
    },
    resource: { ...resource, attributes: JSON.parse(resource.attributes.json()) as object },
    scope: { ...scope, attributes: JSON.parse(scope.attributes.json()) as object },
  };
}

const scalar = fc.oneof(
  storableText(20),
  fc.boolean(),
  fc.maxSafeInteger(),
  fc.double({ noNaN: true, noDefaultInfinity: true, noInteger: true }),
);
const value = fc.oneof(
  scalar,
  fc.array(scalar, { maxLength: 3 }),
  fc.dictionary(storableText(8), fc.oneof(scalar, fc.array(scalar, { maxLength: 2 })), {
    maxKeys: 3,
  }),
);
const attributes = fc.dictionary(storableText(12), value, { maxKeys: 4 });
const hrTime = fc.tuple(
  fc.integer({ min: 0, max: 2 ** 33 }),
  fc.integer({ min: 0, max: 999_999_999 }),
);
const hexId = (length: number) =>
  fc
    .string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: length, maxLength: length })
    .filter((id) => /[^0]/.test(id));

/** A resource and a scope are one object for all records that have them. */
const origins = fc.array(fc.tuple(attributes, storableText(10), storableText(5)), {
  minLength: 1,
  maxLength: 2,
});

const logs: fc.Arbitrary<ReadableLogRecord[]> = origins.chain((all) => {
  const shared = all.map(([ofResource, name, version]) => ({
    resource: resourceFromAttributes(ofResource as Record<string, string>),
    instrumentationScope: { name, version, schemaUrl: version },
  }));
  const record = fc.record({
    origin: fc.constantFrom(...shared),
    hrTime,
    hrTimeObserved: hrTime,
    severityNumber: fc.integer({ min: 0, max: 24 }),
    severityText: storableText(8),
    eventName: storableText(20),
    body: fc.option(value, { nil: undefined }),
    attributes,
    droppedAttributesCount: fc.nat(5),
    spanContext: fc.option(
      fc.record({ traceId: hexId(32), spanId: hexId(16), traceFlags: fc.constantFrom(0, 1) }),
      { nil: undefined },
    ),
  });
  return fc
    .array(record, { maxLength: 5 })
    .map((found) => found.map(({ origin, ...one }) => ({ ...one, ...origin })));
});

describe('both encodings of the stock serializers', () => {
  it('are the same records, with what was given', () => {
    fc.assert(
      fc.property(logs, (records) => {
        const json = JsonLogsSerializer.serializeRequest(records) ?? new Uint8Array();
        const protobuf = ProtobufLogsSerializer.serializeRequest(records) ?? new Uint8Array();
        const fromJson = recordsOf(OTLP_JSON, json).map(shown);
        expect(recordsOf(OTLP_PROTOBUF, protobuf).map(shown)).toEqual(fromJson);
        expect(fromJson).toHaveLength(records.length);
        const names = recordsOf(OTLP_JSON, json).map(({ record }) => record.eventName);
        expect(names.sort()).toEqual(records.map(({ eventName }) => eventName ?? '').sort());
      }),
      { numRuns: 500, seed: 57 },
    );
  });

  it('keep attributes, times and ids', () => {
    const record = {
      resource: resourceFromAttributes({ 'service.name': 'billing' }),
      instrumentationScope: { name: 'audit', version: '1' },
      hrTime: [1_795_429_800, 123_456_789],
      hrTimeObserved: [1_795_429_801, 0],
      severityNumber: 9,
      severityText: 'INFO',
      eventName: 'invoice.approve',
      body: 'approved',
      attributes: {
        'user.id': 'user-1',
        list: [1, 'a', true],
        map: { a: { b: 1.5 } },
        '': 'empty',
      },
      droppedAttributesCount: 2,
      spanContext: { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331' },
    } as unknown as ReadableLogRecord;
    const expected = {
      path: 'resourceLogs[0].scopeLogs[0].logRecords[0]',
      record: {
        timeUnixNano: 1_795_429_800_123_456_789n,
        observedTimeUnixNano: 1_795_429_801_000_000_000n,
        severityNumber: 9,
        severityText: 'INFO',
        eventName: 'invoice.approve',
        body: 'approved',
        attributes: record.attributes,
        droppedAttributesCount: 2,
        flags: 0,
        traceId: '0af7651916cd43dd8448eb211c80319c',
        spanId: 'b7ad6b7169203331',
      },
      resource: { attributes: { 'service.name': 'billing' }, name: '', version: '', schemaUrl: '' },
      scope: { attributes: {}, name: 'audit', version: '1', schemaUrl: '' },
    };
    for (const [encoding, serializer] of [
      [OTLP_JSON, JsonLogsSerializer],
      [OTLP_PROTOBUF, ProtobufLogsSerializer],
    ] as const) {
      const body = serializer.serializeRequest([record]) ?? new Uint8Array();
      expect(recordsOf(encoding, body).map(shown)).toEqual([expected]);
    }
  });
});

/** A message of these fields: number, then text, bytes, a message or a number. */
type FieldOf = [number, string | Uint8Array | bigint];

function messageOf(...fields: FieldOf[]): Uint8Array {
  const writer = new BinaryWriter();
  for (const [number, content] of fields) {
    if (typeof content === 'bigint') writer.tag(number, WireType.Varint).int64(content);
    else if (typeof content === 'string')
      writer.tag(number, WireType.LengthDelimited).string(content);
    else writer.tag(number, WireType.LengthDelimited).bytes(content);
  }
  return writer.finish();
}

const requestOf = (...records: Uint8Array[]) =>
  messageOf([1, messageOf([2, messageOf(...records.map((one): FieldOf => [2, one]))])]);
const recordWith = (any: Uint8Array) => requestOf(messageOf([6, messageOf([1, 'a'], [2, any])]));
const jsonWith = (any: string) =>
  `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"attributes":[{"key":"a","value":${any}}]}]}]}]}`;

function attributeOf(encoding: OtlpEncoding, body: Uint8Array | string): string {
  const [read] = recordsOf(encoding, body);
  return read?.record.attributes.json().slice('{"a":'.length, -1) ?? '';
}

const double = (number: number) => {
  const writer = new BinaryWriter().tag(4, WireType.Bit64);
  return writer.double(number).finish();
};

describe('a value', () => {
  it.each<[string, Uint8Array, string, string]>([
    [
      'of the largest integer',
      messageOf([3, 2n ** 63n - 1n]),
      '{"intValue":"9223372036854775807"}',
      '9223372036854775807',
    ],
    [
      'of the smallest integer',
      messageOf([3, -(2n ** 63n)]),
      '{"intValue":"-9223372036854775808"}',
      '-9223372036854775808',
    ],
    [
      'of an integer as a number',
      messageOf([3, 9007199254740993n]),
      '{"intValue":9007199254740993}',
      '9007199254740993',
    ],
    ['of a fraction', double(0.1), '{"doubleValue":0.1}', '0.1'],
    ['of a spelling', double(1000), '{"doubleValue":1.0E3}', '1000'],
    ['of negative zero', double(-0), '{"doubleValue":-0.0}', '-0'],
    ['of no number', double(NaN), '{"doubleValue":"NaN"}', '"NaN"'],
    ['of infinity', double(-Infinity), '{"doubleValue":"-Infinity"}', '"-Infinity"'],
    ['of bytes', messageOf([7, Uint8Array.of(0, 255, 254)]), '{"bytesValue":"AP_-"}', '"AP/+"'],
    ['of an empty list', messageOf([5, messageOf()]), '{"arrayValue":{}}', '[]'],
    ['of an empty map', messageOf([6, messageOf()]), '{"kvlistValue":{"values":null}}', '{}'],
    ['of nothing', messageOf(), '{}', 'null'],
    [
      'of nothing in a list',
      messageOf([5, messageOf([1, messageOf()])]),
      '{"arrayValue":{"values":[{}]}}',
      '[null]',
    ],
    [
      'with a name of JavaScript',
      messageOf([6, messageOf([1, messageOf([1, '__proto__'])])]),
      '{"kvlistValue":{"values":[{"key":"__proto__"}]}}',
      '{"__proto__":null}',
    ],
    [
      'beside what is unknown',
      messageOf([99, 'x'], [1, 's']),
      '{"unknown":[1],"stringValue":"s"}',
      '"s"',
    ],
  ])('%s is exact', (_, protobuf, json, text) => {
    expect(attributeOf(OTLP_PROTOBUF, recordWith(protobuf))).toBe(text);
    expect(attributeOf(OTLP_JSON, jsonWith(json))).toBe(text);
  });

  it.each([
    ['{"intValue":9223372036854775808}', '9223372036854775808'],
    ['{"intValue":1e+300}', '1e+300'],
  ])('of %s, which has more than 64 bits, is kept', (json, text) => {
    expect(attributeOf(OTLP_JSON, jsonWith(json))).toBe(text);
  });

  it.each([
    ['{"intValue":"1x"}', 'no whole number'],
    ['{"intValue":1.5}', 'no whole number'],
    ['{"intValue":true}', 'no whole number'],
    ['{"doubleValue":"x"}', 'no number'],
    ['{"doubleValue":""}', 'no number'],
    ['{"boolValue":"true"}', 'neither true nor false'],
    ['{"stringValue":1}', 'no text'],
    ['{"bytesValue":"*"}', 'no base64'],
    ['{"arrayValue":[]}', 'must be a JSON object'],
    ['{"arrayValue":{"values":{}}}', 'values must be an array'],
    ['"text"', 'must be a JSON object'],
    ['{"stringValue":"a","stringValue":"b"}', 'must not name a member of an object twice'],
  ])('%s is the fault of its record', (json, message) => {
    const faults = faultsOf(OTLP_JSON, jsonWith(json));
    expect(faults).toEqual([expect.stringContaining(message)]);
    expect(faults[0]).toMatch(/^resourceLogs\[0\]\.scopeLogs\[0\]\.logRecords\[0\]/);
  });

  it('that nests too deeply is the fault of its record', () => {
    let any = messageOf([1, 'x']);
    for (let level = 0; level < 20_000; level += 1) any = messageOf([5, messageOf([1, any])]);
    expect(
      faultsOf(OTLP_PROTOBUF, requestOf(messageOf([5, any]), messageOf([12, 'good']))),
    ).toEqual(['resourceLogs[0].scopeLogs[0].logRecords[0] nests deeper than 32 levels']);
    const deep = `${'{"arrayValue":{"values":['.repeat(40)}{}${']}}'.repeat(40)}`;
    expect(faultsOf(OTLP_JSON, jsonWith(deep))).toEqual([
      expect.stringContaining('must not nest deeper than 64 levels'),
    ]);
  });

  it.each([
    ['maps', '{"kvlistValue":{"values":[{"value":', '}]}}', 15],
    ['lists', '{"arrayValue":{"values":[', ']}}', 20],
  ])('of as many levels of %s as JSON has room for is read', (_, open, close, levels) => {
    const nested = (count: number) => `${open.repeat(count)}{}${close.repeat(count)}`;
    expect(faultsOf(OTLP_JSON, jsonWith(nested(levels)))).toEqual([]);
    expect(faultsOf(OTLP_JSON, jsonWith(nested(levels + 1)))).toHaveLength(1);
  });

  it('that is too large is the fault of its record, whatever it becomes', () => {
    const nulls = Buffer.from('0a00'.repeat(200_000), 'hex');
    for (const any of [
      messageOf([5, nulls]),
      messageOf([1, 'x'.repeat(300_000)]),
      messageOf([7, new Uint8Array(300_000)]),
    ]) {
      expect(faultsOf(OTLP_PROTOBUF, recordWith(any))).toEqual([
        expect.stringContaining('has more than 262144 bytes as JSON'),
      ]);
    }
  });

  it('of one key twice is the fault of its record', () => {
    const pair = messageOf([1, 'a']);
    expect(faultsOf(OTLP_PROTOBUF, requestOf(messageOf([6, pair], [6, pair])))).toEqual([
      'resourceLogs[0].scopeLogs[0].logRecords[0] has "a" twice',
    ]);
  });
});

describe('a request', () => {
  const pair = messageOf([1, 'a']);

  it('may have what records share behind them', () => {
    const scopeLogs = messageOf([2, messageOf([12, 'e'])], [1, messageOf([1, 'scope'])]);
    const body = messageOf([1, messageOf([2, scopeLogs], [1, messageOf([1, pair])])]);
    const json =
      '{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"eventName":"e"}],"scope":{"name":"scope"}}],' +
      '"resource":{"attributes":[{"key":"a"}]}}]}';
    expect(recordsOf(OTLP_PROTOBUF, body).map(shown)).toEqual(
      recordsOf(OTLP_JSON, json).map(shown),
    );
    expect(recordsOf(OTLP_JSON, json)[0]?.scope.name).toBe('scope');
  });

  it('has a faulty resource or scope as the fault of each record in it alone', () => {
    const resource: FieldOf = [1, messageOf([1, pair], [1, pair])];
    const logs: FieldOf = [2, messageOf([2, messageOf()], [2, messageOf()])];
    const body = messageOf([1, messageOf(resource, logs)], [1, messageOf(logs)]);
    expect(faultsOf(OTLP_PROTOBUF, body)).toEqual([
      'resourceLogs[0].scopeLogs[0].logRecords[0] its resource has "a" twice',
      'resourceLogs[0].scopeLogs[0].logRecords[1] its resource has "a" twice',
    ]);
    expect(allOf(OTLP_PROTOBUF, body)).toHaveLength(4);
    const json =
      '{"resourceLogs":[{"scopeLogs":[{"scope":{"name":1},"logRecords":[{}]},{"logRecords":[{}]}]}]}';
    expect(faultsOf(OTLP_JSON, json)).toEqual([
      'resourceLogs[0].scopeLogs[0].logRecords[0] its scope must be text',
    ]);
    expect(allOf(OTLP_JSON, json)).toHaveLength(2);
  });

  it('of nothing has no records', () => {
    expect(allOf(OTLP_PROTOBUF, new Uint8Array())).toEqual([]);
    for (const json of ['{}', '{"resourceLogs":[]}', '{"resourceLogs":null}', '{"x":1}']) {
      expect(allOf(OTLP_JSON, json)).toEqual([]);
    }
  });

  it('of millions of empty records is read as far as it is asked for', () => {
    const body = messageOf([1, messageOf([2, Buffer.from('1200'.repeat(4_000_000), 'hex')])]);
    let count = 0;
    for (const one of OTLP_PROTOBUF.records(Buffer.from(body))) {
      if (one) count += 1;
      if (count === 10) break;
    }
    expect(count).toBe(10);
  });

  it.each<[string, Uint8Array]>([
    ['is cut', requestOf(messageOf([12, 'name'])).subarray(0, -1)],
    ['names a length beyond its end', Uint8Array.of(0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f)],
    ['names an endless length', Uint8Array.of(0x0a, ...Array<number>(20).fill(0xff))],
    ['has a group', Uint8Array.of(0x0b, 0x0c)],
    ['has nested groups', Buffer.alloc(100_000, 0x0b)],
    ['ends a group', Uint8Array.of(0x0c)],
    ['has a text in place of a field 0', Uint8Array.of(0x02, 0x00)],
    ['has a number in place of a field 0', Uint8Array.of(0x00, 0x00)],
    ['has an unknown type', Uint8Array.of(0x0f)],
    ['has a string that is no UTF-8', requestOf(messageOf([12, Uint8Array.of(0xff)]))],
    ['has a short time', requestOf(Uint8Array.of(0x09, 0x01))],
    ['is JSON', Buffer.from('{"resourceLogs":[]}')],
  ])('that %s cannot be read', (_, body) => {
    expect(() => allOf(OTLP_PROTOBUF, body)).toThrow();
  });

  it.each([
    '',
    '[]',
    'null',
    '{"resourceLogs":{}}',
    '{"resourceLogs":[1]}',
    '{"a":x}',
    '{"a":1',
    '\xff',
  ])('of %j cannot be read', (body) => {
    expect(() => allOf(OTLP_JSON, Buffer.from(body, 'latin1'))).toThrow();
  });

  it('of more members than there are fields cannot be read', () => {
    const request = (members: number) => `{${'"a":1,'.repeat(members)}"resourceLogs":[]}`;
    expect(allOf(OTLP_JSON, request(99))).toEqual([]);
    expect(() => allOf(OTLP_JSON, request(100))).toThrow(SyntaxError);
  });

  it('of any bytes is read or refused, without end nowhere', () => {
    const good = requestOf(messageOf([6, messageOf([1, 'a'], [2, messageOf([3, 7n])])], [12, 'e']));
    const changed = fc
      .array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 4 })
      .map((changes) => {
        const bytes = Buffer.from(good);
        for (const [at, byte] of changes) bytes[at] = byte;
        return bytes;
      });
    const cut = fc.nat(good.length).map((length) => Buffer.from(good.subarray(0, length)));
    const any = fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes));
    fc.assert(
      fc.property(fc.oneof(changed, cut, any), (body) => {
        try {
          expect(allOf(OTLP_PROTOBUF, body).length).toBeLessThanOrEqual(body.length);
        } catch (error) {
          expect(String(error)).toMatch(/Error/); // of this realm, or of that of DataView
        }
      }),
      { numRuns: 20_000 },
    );
  });
});

describe('a response', () => {
  it.each([
    [OTLP_JSON, JsonLogsSerializer],
    [OTLP_PROTOBUF, ProtobufLogsSerializer],
  ])('is what the stock serializer reads', (encoding, serializer) => {
    expect(serializer.deserializeResponse(encoding.response(0, ''))).toEqual({});
    const partly = serializer.deserializeResponse(encoding.response(3, 'é: why'));
    const { rejectedLogRecords, errorMessage } = partly.partialSuccess ?? {};
    expect([Number(rejectedLogRecords), errorMessage]).toEqual([3, 'é: why']);
  });

  it('of an error is a google.rpc.Status', () => {
    expect(JSON.parse(OTLP_JSON.status(3, 'why').toString())).toEqual({ code: 3, message: 'why' });
    const reader = new BinaryReader(OTLP_PROTOBUF.status(3, 'why'));
    expect([reader.tag(), reader.int32(), reader.tag(), reader.string()]).toEqual([
      [1, WireType.Varint],
      3,
      [2, WireType.LengthDelimited],
      'why',
    ]);
    expect(reader.pos).toBe(reader.len);
  });
});
