import fc from 'fast-check';
import { parseExactJson, exactJsonText } from '../../platform/runtime/lossless-json';
import { EVENT_FIELDS, eventText, type EventField, type NewEvent } from './audit-event';
import { hasSameContent, normalNumber } from './event-content';

const event: NewEvent = {
  id: '0198c1f2-3e4a-4000-8000-1234567890ab',
  hasClientId: true,
  timestamp: '2026-11-23T10:30:00.123456Z',
  timestampSubmicros: null,
  hasClientTimestamp: true,
  organizationId: 'org-1',
  principalId: 'user-1',
  action: 'read',
  targetResourceType: 'Patient',
  targetResourceId: 'pat-1',
  status: 'success',
  outcomeDescription: 'fine',
  dataClassification: 'PHI',
  correlationId: 'c-1',
  sessionContext: '{"sessionId":"s","ipAddress":null}',
  metadata: '{"a":1,"b":{"c":[1,2,{"d":"x"}]}}',
  principalType: 'user',
  principalName: null,
  targets: '[{"type":"Patient","id":"pat-1"},{"type":"Ward","id":"w-1","name":null}]',
  changes: '[{"path":"/n","old":1.50,"new":null}]',
  source: '{"service":"s","host":"h"}',
  schemaVersion: null,
};

const storedText = (changes: Partial<NewEvent> = {}) =>
  eventText({ ...event, ...changes }, { sequence: '7', recordedAt: '2026-11-23T10:31:00.000000Z' });
const isSame = (metadata: string | null, stored: string | null) =>
  hasSameContent({ ...event, metadata }, storedText({ metadata: stored }));

describe('the content of an event', () => {
  it('is the same as that of the event itself', () => {
    expect(hasSameContent(event, storedText())).toBe(true);
  });

  it.each([
    ['timestamp', '2026-11-23T10:30:00.123457Z'],
    ['timestampSubmicros', '001'],
    ['organizationId', 'org-2'],
    ['principalId', null],
    ['action', 'Read'],
    ['targetResourceType', ''],
    ['targetResourceId', 'pat-2'],
    ['status', 'failure'],
    ['outcomeDescription', 'fine '],
    ['dataClassification', 'PUBLIC'],
    ['correlationId', null],
    ['sessionContext', '{"sessionId":"s"}'],
    ['sessionContext', null],
    ['metadata', null],
    ['metadata', '{"a":1,"b":{"c":[2,1,{"d":"x"}]}}'],
    ['principalType', null],
    ['principalType', 'User'],
    ['principalName', ''],
    ['targets', null],
    ['targets', '[{"type":"Patient","id":"pat-1"},{"type":"Ward","id":"w-1"}]'],
    ['targets', '[{"type":"Ward","id":"w-1","name":null},{"type":"Patient","id":"pat-1"}]'],
    ['changes', '[]'],
    ['changes', '[{"path":"/n","old":1.50}]'],
    ['changes', '[{"path":"/n","old":1.51,"new":null}]'],
    ['source', '{"service":"s"}'],
    ['schemaVersion', '1'],
  ])('is another when %s is %j', (name, value) => {
    expect(hasSameContent({ ...event, [name]: value }, storedText())).toBe(false);
  });

  it.each(EVENT_FIELDS.map(({ name, ...field }: EventField) => [name, field.comparison]))(
    'depends on %s when it is compared (%s)',
    (name, comparison) => {
      const other = comparison === 'json' ? { other: true } : 'other';
      const stored = { ...(JSON.parse(storedText()) as object), [name]: other };
      const retry = { ...event, hasClientTimestamp: false };
      expect(hasSameContent(retry, JSON.stringify(stored))).toBe(comparison === undefined);
    },
  );

  it('does not hold a timestamp that the service made up', () => {
    const retry = { ...event, hasClientTimestamp: false, timestamp: '2026-11-23T10:32:00.000000Z' };
    expect(hasSameContent(retry, storedText())).toBe(true);
  });

  it('does not depend on the order of keys or the spelling of numbers', () => {
    expect(isSame('{"b":10,"a":[1e2,-0.50]}', '{"a":[100.0,-5e-1],"b":1E1}')).toBe(true);
    expect(isSame('{"__proto__":1,"10":2,"9":3}', '{"9":3,"10":2.0,"__proto__":1}')).toBe(true);
  });

  it.each([
    ['targets', '[{"id":"pat-1","type":"Patient"},{"name":null,"type":"Ward","id":"w-1"}]'],
    ['changes', '[{"new":null,"old":15e-1,"path":"/n"}]'],
    ['source', '{"host":"h","service":"s"}'],
  ])('is the same with other spellings in %s', (name, value) => {
    expect(hasSameContent({ ...event, [name]: value }, storedText())).toBe(true);
    expect(hasSameContent(event, storedText({ [name]: value }))).toBe(true);
  });

  it.each([
    ['{"a":9007199254740993}', '{"a":9007199254740992}'],
    ['{"a":1}', '{"a":"1"}'],
    ['{"a":1}', '{"a":-1}'],
    ['{"a":1e400}', '{"a":1e401}'],
    ['{"a":0.1}', '{"a":0.10000000000000001}'],
    ['{"a":null}', '{}'],
    ['{"a":[]}', '{"a":{}}'],
    ['{"a":true}', '{"a":1}'],
    ['{"__proto__":{"a":1}}', '{}'],
  ])('is another for %s and %s', (a, b) => {
    expect(isSame(a, b)).toBe(false);
  });

  it('is the same for any object with its keys shuffled, and another when a value changes', () => {
    const value = fc.dictionary(fc.string(), fc.jsonValue(), { minKeys: 1, maxKeys: 6 });
    fc.assert(
      fc.property(value, fc.nat(), (object, turn) => {
        const keys = Object.keys(object);
        const at = turn % keys.length;
        const shuffled = [...keys.slice(at), ...keys.slice(0, at)].reverse();
        const text = JSON.stringify(object);
        const other = JSON.stringify(Object.fromEntries(shuffled.map((key) => [key, object[key]])));
        expect(isSame(text, other)).toBe(true);
        const [first = ''] = keys;
        const changed = JSON.stringify({ ...object, [first]: [object[first]] });
        expect(isSame(text, changed)).toBe(false);
      }),
    );
  });

  it('is compared without end, however large an exponent is', () => {
    expect(isSame('{"a":1e999999999999999999999}', '{"a":10e999999999999999999998}')).toBe(true);
    const parsed = parseExactJson('{"a":1e999999999999999999999}') as object;
    expect(exactJsonText(parsed)).toBe('{"a":1e999999999999999999999}');
  });
});

describe('the normal form of a number', () => {
  it.each([
    ['-12.50E3', '-12500'],
    ['0', '0'],
    ['-0.000', '0'],
    ['0e99', '0'],
    ['100', '100'],
    ['0.00100', '1e-3'],
    ['1E+2', '100'],
    ['9007199254740993', '9007199254740993e0'],
  ])('of %s is %s', (text, normal) => {
    expect(normalNumber(text)).toBe(normal);
  });

  it('is one for all spellings of a value and different for different values', () => {
    const value = fc.tuple(
      fc.bigInt({ min: -(10n ** 25n), max: 10n ** 25n }),
      fc.integer({ min: -50, max: 50 }),
    );
    fc.assert(
      fc.property(value, fc.nat({ max: 20 }), ([digits, exponent], zeros) => {
        const plain = normalNumber(`${digits}e${exponent}`);
        expect(normalNumber(`${digits}${'0'.repeat(zeros)}e${exponent - zeros}`)).toBe(plain);
        expect(normalNumber(`${digits}.${'0'.repeat(zeros + 1)}E${exponent}`)).toBe(plain);
        expect(normalNumber(`${digits + 1n}e${exponent}`)).not.toBe(plain);
        if (digits !== 0n) expect(normalNumber(`${digits}e${exponent + 1}`)).not.toBe(plain);
      }),
    );
  });
});
