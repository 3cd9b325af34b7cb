import { AppError } from '../../../../platform/errors/app-error';
import { derivedUuid } from '../../../../platform/runtime/derived-uuid';
import { logEvent, Repetitions } from './log-event';
import { emptyOrigin, emptyRecord, type LogRecord } from './log-record';

type Values = Record<string, unknown>;

/** A record with attributes of JSON values. */
function sent(members: Partial<LogRecord>, attributes: Values = {}, ofResource: Values = {}) {
  const [record, resource, scope] = [emptyRecord(), emptyOrigin(), emptyOrigin()];
  Object.assign(record, { eventName: 'invoice.approve', ...members });
  for (const [key, value] of Object.entries(attributes)) {
    record.attributes.add(key, JSON.stringify(value));
  }
  for (const [key, value] of Object.entries(ofResource)) {
    resource.attributes.add(key, JSON.stringify(value));
  }
  return { record, resource, scope };
}

function eventOf(...parts: Parameters<typeof sent>): Record<string, unknown> {
  return JSON.parse(logEvent(sent(...parts), new Repetitions()).text) as Record<string, unknown>;
}

const SEEN = 1_795_429_800_123_456_789n;

describe('a log record as an event', () => {
  it('has its attributes in the members for them, and all of it in metadata', () => {
    const attributes = {
      'enduser.id': 'user-1',
      'user.full_name': 'Ada Lovelace',
      'user.name': 'ada',
      'audit.principal_type': 'user',
      'audit.target.type': 'Invoice',
      'audit.target.id': 7,
      'audit.target.name': 'November',
      'audit.data_classification': 'phi',
      'audit.schema_version': '2',
      'session.id': 's-1',
      'client.address': '198.51.100.7',
      'user_agent.original': 'curl/8',
      'geo.country.iso_code': 'CH',
    };
    const ofResource = {
      'organization.id': 'org-1',
      'service.name': 'billing',
      'service.version': '4.12.0',
      'k8s.pod.name': 'billing-7d9f',
    };
    const record = {
      timeUnixNano: SEEN,
      observedTimeUnixNano: SEEN + 1n,
      severityNumber: 9,
      severityText: 'INFO',
      body: '"approved"',
      traceId: '0af7651916cd43dd8448eb211c80319c',
      spanId: 'b7ad6b7169203331',
      flags: 1,
    };
    const { id, metadata, ...members } = eventOf(record, attributes, ofResource);
    expect(id).toMatch(/^[0-9a-f-]{36}$/);
    expect(members).toEqual({
      timestamp: '2026-11-23T10:30:00.123456789Z',
      organizationId: 'org-1',
      action: 'invoice.approve',
      status: 'success',
      outcomeDescription: 'approved',
      dataClassification: 'PHI',
      correlationId: record.traceId,
      source: { service: 'billing', host: 'billing-7d9f', version: '4.12.0' },
      principalId: 'user-1',
      principalType: 'user',
      principalName: 'Ada Lovelace',
      targetResourceType: 'Invoice',
      targetResourceId: '7',
      targets: [{ type: 'Invoice', id: '7', name: 'November' }],
      sessionContext: {
        sessionId: 's-1',
        ipAddress: '198.51.100.7',
        userAgent: 'curl/8',
        geolocation: 'CH',
      },
      schemaVersion: '2',
    });
    expect(metadata).toEqual({
      eventName: 'invoice.approve',
      timeUnixNano: String(SEEN),
      observedTimeUnixNano: String(SEEN + 1n),
      severityNumber: 9,
      severityText: 'INFO',
      body: 'approved',
      attributes,
      flags: 1,
      traceId: record.traceId,
      spanId: record.spanId,
      resource: { attributes: ofResource },
    });
  });

  it('has the organization of the record rather than that of its resource, and none without either', () => {
    const organization = { 'organization.id': 'org-1' };
    expect(eventOf({}, { 'organization.id': 'org-2' }, organization).organizationId).toBe('org-2');
    expect(logEvent(sent({}, {}, organization), new Repetitions()).namesOrganization).toBe(true);
    expect(logEvent(sent({}), new Repetitions()).namesOrganization).toBe(false);
  });

  it.each<[string, Partial<LogRecord>, Values, string]>([
    ['no sign of one', {}, {}, 'success'],
    ['a warning', { severityNumber: 16 }, {}, 'success'],
    ['an error', { severityNumber: 17 }, {}, 'failure'],
    ['a type of error', {}, { 'error.type': 'timeout' }, 'failure'],
    ['a named outcome', { severityNumber: 17 }, { 'event.outcome': 'Success' }, 'success'],
    ['an unknown outcome', {}, { 'event.outcome': 'unknown' }, 'attempt'],
    ['its own status', {}, { 'audit.status': 'attempt', 'event.outcome': 'success' }, 'attempt'],
  ])('has the outcome of %s', (_, record, attributes, status) => {
    expect(eventOf(record, attributes).status).toBe(status);
  });

  it.each<[bigint, bigint, string | undefined]>([
    [SEEN, SEEN + 5n, '2026-11-23T10:30:00.123456789Z'],
    [0n, 1_000n, '1970-01-01T00:00:00.000001Z'],
    [1n, 0n, '1970-01-01T00:00:00.000000001Z'],
    [1_795_429_800_000_000_100n, 0n, '2026-11-23T10:30:00.0000001Z'],
    [0n, 0n, undefined],
  ])('is dated %s, observed %s', (timeUnixNano, observedTimeUnixNano, timestamp) => {
    expect(eventOf({ timeUnixNano, observedTimeUnixNano }).timestamp).toBe(timestamp);
  });

  it('has the name of an attribute where it has none itself', () => {
    expect(eventOf({ eventName: '' }, { 'event.name': 'a.b' }).action).toBe('a.b');
  });

  it.each<[string, Partial<LogRecord>, Values, string]>([
    ['without a name', { eventName: '' }, {}, 'eventName is required'],
    ['with an unknown status', {}, { 'audit.status': 'ok' }, 'attributes["audit.status"] must be'],
    [
      'with an unknown classification',
      {},
      { 'audit.data_classification': 'secret' },
      'attributes["audit.data_classification"] must be',
    ],
  ])('is none %s', (_, record, attributes, message) => {
    const read = () => logEvent(sent(record, attributes), new Repetitions());
    expect(read).toThrow(AppError);
    expect(read).toThrow(message);
  });

  it('has faults at its attributes', () => {
    const { placeOf } = logEvent(
      sent({}, { 'user.id': 'x' }, { 'service.name': 's' }),
      new Repetitions(),
    );
    expect(
      ['action', 'timestamp', 'principalId', 'source.service', 'metadata.body', 'status'].map(
        placeOf,
      ),
    ).toEqual([
      'eventName',
      'timeUnixNano',
      'attributes["user.id"]',
      'resource.attributes["service.name"]',
      'body',
      'status',
    ]);
  });
});

describe('the id of a record', () => {
  const idOf = (repetitions: Repetitions, ...parts: Parameters<typeof sent>) =>
    (JSON.parse(logEvent(sent(...parts), repetitions).text) as { id: string }).id;

  it('is its uid, or made of it', () => {
    const uuid = '0198C1F2-3E4A-7000-8000-1234567890AB';
    const ulid = '01ARZ3NDEKTSV4RRFFQ69G5FAV';
    const repetitions = new Repetitions();
    expect(idOf(repetitions, {}, { 'log.record.uid': uuid })).toBe(uuid);
    const made = derivedUuid(['otlp uid', ulid]);
    for (const body of ['"a"', '"b"', '"a"']) {
      expect(idOf(repetitions, { body }, { 'log.record.uid': ulid })).toBe(made);
    }
  });

  it('is the same in each request with the record, and tells equal records of one request apart', () => {
    const once = [{}, {}, { timeUnixNano: 1n }, {}].map(
      (
        (repetitions) => (record) =>
          idOf(repetitions, record)
      )(new Repetitions()),
    );
    const again = new Repetitions();
    expect([{}, {}, { timeUnixNano: 1n }, {}].map((record) => idOf(again, record))).toEqual(once);
    expect(new Set(once).size).toBe(4);
  });

  it('depends on every part', () => {
    const ids = [
      idOf(new Repetitions(), {}),
      idOf(new Repetitions(), { timeUnixNano: 1n }),
      idOf(new Repetitions(), { observedTimeUnixNano: 1n }),
      idOf(new Repetitions(), { body: '"x"' }),
      idOf(new Repetitions(), { severityNumber: 1 }),
      idOf(new Repetitions(), { spanId: '01' }),
      idOf(new Repetitions(), {}, { a: 1 }),
      idOf(new Repetitions(), {}, {}, { a: 1 }),
    ];
    expect(new Set(ids).size).toBe(ids.length);
  });
});
