import { randomUUID } from 'node:crypto';
import * as fc from 'fast-check';
import { until } from '../integration/until.fixture';
import { instant } from '../support/event-arbitraries';
import { fetchExport, linesOf } from '../support/export-client';
import { protocolsOf } from '../support/protocols';
import { TailClient } from '../support/tail-client';
import { EVENTS, eventsIn, eventWith, TestService, tokenOf } from '../support/test-service';

let service: TestService;
const NAMES = ['REST', 'GraphQL', 'tRPC'] as const;
const scope = 'audit:read audit:write audit:export';

beforeAll(async () => {
  service = await TestService.start();
});

afterAll(() => service.stop());

const newOrganization = () => `org-${randomUUID()}`;
const tokenFor = (...organizations: string[]) => tokenOf({ organizations, scope });

/** Timestamps as Vault, Kubernetes, Azure, Go and .NET write them, and as they come back. */
const SENT = [
  ['2026-05-04T10:11:12.123456789Z', '2026-05-04T10:11:12.123456789Z'],
  ['2026-05-04T10:11:12.1234567Z', '2026-05-04T10:11:12.1234567Z'],
  ['2026-05-04T10:11:12.123456000Z', '2026-05-04T10:11:12.123456Z'],
  ['2026-05-04T10:11:12.000000001Z', '2026-05-04T10:11:12.000000001Z'],
  ['2026-05-04T12:11:12.999999999+02:00', '2026-05-04T10:11:12.999999999Z'],
  ['2026-05-04T10:11:12.100Z', '2026-05-04T10:11:12.100000Z'],
] as const;
const STORED = SENT.map(([, stored]) => stored);

const timestampOf = (text: string) => (JSON.parse(text) as { timestamp: string }).timestamp;

describe('a timestamp with up to nine digits of a second', () => {
  it.each(NAMES)('is stored through %s and comes back through every protocol', async (name) => {
    const organizationId = newOrganization();
    const token = await tokenFor(organizationId);
    const protocols = protocolsOf(service);
    const events = SENT.map(([timestamp]) => eventWith({ organizationId, timestamp }));
    const written = await protocols[name].write(JSON.stringify(events), token);
    expect(written).toMatchObject({ created: SENT.length });
    const search = { pagination: { sort: { field: 'sequence', direction: 'asc' } } };
    for (const reader of NAMES) {
      const { events: found = [] } = await protocols[reader].find(search, token);
      expect(found.map(timestampOf)).toEqual(STORED);
    }
  });

  it('does not refuse the transaction of its line', async () => {
    const organizationId = newOrganization();
    const token = await tokenFor(organizationId);
    const lines = SENT.map(([timestamp]) =>
      JSON.stringify(eventWith({ organizationId, timestamp })),
    );
    const { text } = await service.post(`${EVENTS}/bulk`, token, lines.join('\n'), {
      'content-type': 'application/x-ndjson',
    });
    expect(text).toContain(`"created":${SENT.length},"duplicates":0,"rejected":0`);
  });

  it('is in the acknowledgement, at its Location, in exports of every format and in a feed', async () => {
    const organizationId = newOrganization();
    const token = await tokenFor(organizationId);
    const client = await TailClient.open(`${service.url}${EVENTS}/tail`, {
      authorization: `Bearer ${token}`,
    });
    try {
      for (const [timestamp, stored] of SENT) {
        const posted = await service.post(EVENTS, token, eventWith({ organizationId, timestamp }));
        expect(posted.json.timestamp).toBe(stored);
        const read = await service.get(posted.headers.get('location') ?? '', token);
        expect(read.text).toBe(posted.text);
      }
      await until(() => client.events.length === SENT.length);
      expect(client.events.map((event) => event['timestamp'])).toEqual(STORED);
    } finally {
      await client.close();
    }
    const order = 'sort_field=sequence&sort_direction=asc';
    const csv = await fetchExport(service, token, `format=csv&${order}`);
    const rows = csv.text.trimEnd().split('\r\n').slice(1);
    expect(rows.map((row) => row.split(',')[1])).toEqual(STORED);
    const ndjson = await fetchExport(service, token, `format=ndjson&${order}`);
    expect(linesOf(ndjson.text).map(timestampOf)).toEqual(STORED);
    const json = await fetchExport(service, token, `format=json&${order}`);
    const list = JSON.parse(json.text) as { timestamp: string }[];
    expect(list.map(({ timestamp }) => timestamp)).toEqual(STORED);
  });

  it('makes a repeated event a duplicate, and one with other digits a conflict', async () => {
    const organizationId = newOrganization();
    const token = await tokenFor(organizationId);
    const event = eventWith({
      organizationId,
      id: randomUUID(),
      timestamp: '2026-05-04T10:11:12.123456789Z',
    });
    const first = await service.post(EVENTS, token, event);
    const again = await service.post(EVENTS, token, {
      ...event,
      timestamp: '2026-05-04T12:11:12.123456789000+02:00',
    });
    expect([first.status, again.status, again.text]).toEqual([201, 200, first.text]);
    for (const timestamp of ['2026-05-04T10:11:12.123456788Z', '2026-05-04T10:11:12.123456Z']) {
      expect((await service.post(EVENTS, token, { ...event, timestamp })).status).toBe(409);
    }
    const sentBack = await service.post(EVENTS, token, {
      ...event,
      id: undefined,
    });
    const own = { ...sentBack.json, recordedAt: undefined, sequence: undefined };
    expect((await service.post(EVENTS, token, own)).text).toBe(sentBack.text);
  });

  it('comes back the same through any page, whatever digits and offset it has', async () => {
    const organizationId = newOrganization();
    const token = await tokenFor(organizationId);
    const moments = fc.sample(instant(Date.now() - 1e9, Date.now()), 200);
    const events = moments.map(({ sent }) => eventWith({ organizationId, timestamp: sent }));
    expect((await service.post(`${EVENTS}/bulk`, token, { events })).status).toBe(201);
    const page = await service.get(
      `${EVENTS}?sort_field=sequence&sort_direction=asc&limit=200`,
      token,
    );
    expect(eventsIn(page).map((event) => event.timestamp)).toEqual(moments.map(({ utc }) => utc));
  });
});

describe('dates of a filter', () => {
  /** Fractions around one microsecond, in nanoseconds; several events may have one. */
  const FRACTIONS = [0, 1, 999, 1000, 1001, 1700, 1999, 2000, 2001];
  const instantOf = (nanos: number, offset = 'Z') =>
    `2026-05-04T10:11:12.${String(nanos).padStart(9, '0')}${offset}`;
  let organizationId: string;
  let token: string;

  beforeAll(async () => {
    organizationId = newOrganization();
    token = await tokenFor(organizationId);
    const events = FRACTIONS.map((nanos) =>
      eventWith({ organizationId, action: String(nanos), timestamp: instantOf(nanos) }),
    );
    expect((await service.post(`${EVENTS}/bulk`, token, { events })).status).toBe(201);
  });

  const ascending = (actions: unknown[]) => actions.map(Number).sort((a, b) => a - b);

  it('are exact in pages of every protocol, totals and exports', async () => {
    const bounds = fc.option(fc.integer({ min: 0, max: 2002 }), { nil: undefined });
    await fc.assert(
      fc.asyncProperty(bounds, bounds, async (start, end) => {
        fc.pre(start === undefined || end === undefined || start < end);
        const wanted = FRACTIONS.filter(
          (nanos) => nanos >= (start ?? -1) && nanos < (end ?? Infinity),
        );
        const dateRange = {
          ...(start === undefined ? {} : { startDate: instantOf(start) }),
          ...(end === undefined ? {} : { endDate: instantOf(end, '+00:00') }),
        };
        for (const protocol of Object.values(protocolsOf(service))) {
          const { events = [], total } = await protocol.find({ filter: { dateRange } }, token);
          const actions = events.map((text) => (JSON.parse(text) as { action: string }).action);
          expect(ascending(actions)).toEqual(wanted);
          expect(total).toBe(wanted.length);
        }
        const query = new URLSearchParams({
          format: 'ndjson',
          ...(dateRange.startDate ? { start_date: dateRange.startDate } : {}),
          ...(dateRange.endDate ? { end_date: dateRange.endDate } : {}),
        });
        const { text } = await fetchExport(service, token, query.toString());
        const exported = linesOf(text).map(
          (line) => (JSON.parse(line) as { action: string }).action,
        );
        expect(ascending(exported)).toEqual(wanted);
      }),
      { numRuns: 40 },
    );
  });

  it('are exact in a feed', async () => {
    const own = newOrganization();
    const reader = await tokenFor(own);
    const record = async (...fractions: number[]) => {
      const events = fractions.map((nanos) =>
        eventWith({ organizationId: own, timestamp: instantOf(nanos) }),
      );
      expect((await service.post(`${EVENTS}/bulk`, reader, { events })).status).toBe(201);
    };
    await record(...FRACTIONS);
    const query = new URLSearchParams({
      start_date: instantOf(1001),
      end_date: instantOf(1999),
      after_sequence: '0',
    });
    const client = await TailClient.open(`${service.url}${EVENTS}/tail?${query.toString()}`, {
      authorization: `Bearer ${reader}`,
    });
    try {
      await until(() => client.events.length === 2);
      await record(1000, 1999, 1001, 1998);
      await until(() => client.events.length === 4);
      expect(client.events.map((event) => event['timestamp'])).toEqual(
        [1001, 1700, 1001, 1998].map((nanos) => instantOf(nanos).replace(/0+Z$/, 'Z')),
      );
    } finally {
      await client.close();
    }
  });

  it('and after_timestamp with every digit go on where an export ended', async () => {
    const all = await fetchExport(service, token, 'format=ndjson&sort_direction=asc');
    const lines = linesOf(all.text);
    const at = JSON.parse(lines[3] ?? '') as { id: string; timestamp: string };
    const rest = await fetchExport(
      service,
      token,
      `format=ndjson&sort_direction=asc&after_timestamp=${at.timestamp}&after_id=${at.id}`,
    );
    expect(linesOf(rest.text)).toEqual(lines.slice(4));
  });

  it.each([
    [
      'start_date',
      '1764000000000',
      'for 1764000000000 milliseconds since 1970 send 2025-11-24T16:00:00.000Z',
    ],
    ['end_date', '1764000000', 'for 1764000000 seconds since 1970 send 2025-11-24T16:00:00.000Z'],
    ['end_date', '2026-05-04T10:11:12.1234567891Z', 'at most nine digits of a second'],
  ])('say what to send: %s=%s', async (name, value, message) => {
    const { status, json } = await service.get(`${EVENTS}?${name}=${value}`, token);
    expect(status).toBe(400);
    expect(json.errors).toEqual([{ path: name, message: expect.stringContaining(message) }]);
  });

  it('do not take a recording time beyond the microsecond', async () => {
    const query = `after_timestamp=${instantOf(1)}&after_id=${randomUUID()}&after_recorded_at=${instantOf(1)}`;
    const { status, json } = await service.get(`${EVENTS}/stream?${query}`, token);
    expect(status).toBe(400);
    expect(json.errors).toMatchObject([{ path: 'after_recorded_at' }]);
  });
});

describe('a timestamp that is refused', () => {
  it.each([
    [1764000000000, 'for 1764000000000 milliseconds since 1970 send 2025-11-24T16:00:00.000Z'],
    ['1764000000000', 'for 1764000000000 milliseconds since 1970 send 2025-11-24T16:00:00.000Z'],
    ['2026-05-04T10:11:12.1234567891Z', 'at most nine digits of a second'],
    ['1969-12-31T23:59:59.999999999Z', 'must not be before 1970-01-01T00:00:00Z'],
  ])('says what to send: %p', async (timestamp, message) => {
    const organizationId = newOrganization();
    const token = await tokenFor(organizationId);
    const event = eventWith({ organizationId, timestamp });
    const { status, json } = await service.post(EVENTS, token, event);
    expect(status).toBe(400);
    expect(json.errors).toEqual([{ path: 'timestamp', message: expect.stringContaining(message) }]);
    const query = `mutation ($event: CreateAuditEventInput!) { createAuditEvent(event: $event) { id } }`;
    const answer = await service.post('/graphql', token, {
      query,
      variables: { event: { ...event, status: 'SUCCESS' } },
    });
    expect(answer.text).toContain(message);
  });
});
