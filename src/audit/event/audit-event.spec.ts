import { eventText, instantOfDatabase, type NewEvent } from './audit-event';

const event: NewEvent = {
  id: '0198c1f2-3e4a-7000-8000-1234567890ab',
  hasClientId: false,
  timestamp: '2026-11-23T10:30:00.000000Z',
  timestampSubmicros: null,
  hasClientTimestamp: true,
  organizationId: 'org-1',
  principalId: null,
  action: 'say "hi"\n',
  targetResourceType: null,
  targetResourceId: null,
  status: 'success',
  outcomeDescription: '</script>\u2028\u007f',
  dataClassification: 'INTERNAL',
  correlationId: null,
  sessionContext: null,
  metadata: '{"n":-9218868437227405312,"d":1.00}',
  principalType: null,
  principalName: null,
  targets: null,
  changes: null,
  source: null,
  schemaVersion: null,
};
const recording = { sequence: '9007199254740993', recordedAt: '2026-11-23T10:30:00.123456Z' };

describe('the text of an event', () => {
  it('is JSON with every member, in the fixed order, and numbers as the client wrote them', () => {
    const text = eventText(event, recording);
    expect(text).toContain('"metadata":{"n":-9218868437227405312,"d":1.00}}');
    expect(Object.keys(JSON.parse(text) as object)).toEqual([
      'id',
      'timestamp',
      'recordedAt',
      'sequence',
      'organizationId',
      'principalId',
      'action',
      'targetResourceType',
      'targetResourceId',
      'status',
      'outcomeDescription',
      'dataClassification',
      'correlationId',
      'sessionContext',
      'metadata',
    ]);
    expect(JSON.parse(text)).toMatchObject({
      sequence: '9007199254740993',
      action: event.action,
      outcomeDescription: event.outcomeDescription,
      sessionContext: null,
    });
  });

  it('ends with the sparse members that the event has, each unchanged', () => {
    const plain = eventText(event, recording);
    const sparse = {
      principalType: 'service',
      principalName: 'a "b"',
      targets: '[{"type":"a","id":null}]',
      changes: '[{"path":"/n","old":1.00}]',
      source: '{}',
      schemaVersion: '',
    };
    expect(eventText({ ...event, ...sparse }, recording)).toBe(
      `${plain.slice(0, -1)},"principalType":"service","principalName":"a \\"b\\"","targets":[{"type":"a","id":null}],` +
        `"changes":[{"path":"/n","old":1.00}],"source":{},"schemaVersion":""}`,
    );
    for (const [name, value] of Object.entries(sparse)) {
      const members = JSON.parse(eventText({ ...event, [name]: value }, recording)) as object;
      expect(Object.keys(members)).toEqual([...Object.keys(JSON.parse(plain) as object), name]);
    }
  });

  it('has every digit of its timestamp', () => {
    const text = eventText({ ...event, timestampSubmicros: '007' }, recording);
    expect(text).toContain('"timestamp":"2026-11-23T10:30:00.000000007Z","recordedAt"');
  });

  it('is one line', () => {
    expect(eventText(event, recording)).not.toMatch(/[\r\n]/);
  });
});

describe("PostgreSQL's text of a timestamp", () => {
  it.each([
    ['2026-11-23 10:30:00+00', '2026-11-23T10:30:00.000000Z'],
    ['2026-11-23 10:30:00.1+00', '2026-11-23T10:30:00.100000Z'],
    ['2026-11-23 10:30:00.123456+00', '2026-11-23T10:30:00.123456Z'],
    ['1970-01-01 00:00:00+00', '1970-01-01T00:00:00.000000Z'],
  ])('%s becomes %s', (text, instant) => {
    expect(instantOfDatabase(text)).toBe(instant);
  });

  it('is refused when it is not in ISO', () => {
    expect(() => instantOfDatabase('Mon Nov 23 10:30:00 2026 UTC')).toThrow(RangeError);
  });
});
