import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import * as fc from 'fast-check';
import type { Format } from '../../src/import/record-formats';
import { RecordReader } from '../../src/import/record-reader';
import { instant, objectJson, storableText } from '../support/event-arbitraries';
import { canonicalJson, elementTexts, memberTexts } from '../support/json-text';
import { EVENTS, listText, TestService, tokenOf } from '../support/test-service';

// Published records, too large and too differently licensed to be part of this repository.
const samples = process.env.AUDIT_SAMPLE_DATA ?? resolve(__dirname, '../../../shared/data');

let service: TestService;
let token: string;

beforeAll(async () => {
  service = await TestService.start();
  token = await tokenOf({ organizations: ['*'] });
});

afterAll(() => service.stop());

const name = storableText(255);
const nullable = (text: fc.Arbitrary<string>) => fc.option(text, { freq: 3 });
const required = name.map((text) => (text === '' || text === '*' ? 'x' : text));

const session = fc.record(
  {
    sessionId: nullable(name),
    ipAddress: nullable(storableText(300)),
    userAgent: nullable(storableText(300)),
    geolocation: nullable(name),
  },
  { requiredKeys: [] },
);

const members = fc.record(
  {
    organizationId: required,
    action: required,
    status: fc.constantFrom('attempt', 'success', 'failure'),
    id: nullable(fc.uuid()),
    principalId: nullable(name),
    targetResourceType: nullable(name),
    targetResourceId: nullable(name),
    outcomeDescription: nullable(storableText(2000)),
    dataClassification: fc.option(fc.constantFrom('PUBLIC', 'INTERNAL', 'CONFIDENTIAL', 'PHI')),
    correlationId: nullable(name),
    sessionContext: fc.option(session),
  },
  { requiredKeys: ['organizationId', 'action', 'status'] },
);

/** What the service must say of an event that was sent with these members. */
function expected(sent: Record<string, unknown>, utc: string | undefined): Record<string, unknown> {
  return {
    id: sent.id ?? expect.any(String),
    timestamp: utc ?? expect.any(String),
    recordedAt: expect.any(String),
    sequence: expect.stringMatching(/^[1-9]\d*$/),
    organizationId: sent.organizationId,
    principalId: sent.principalId ?? null,
    action: sent.action,
    targetResourceType: sent.targetResourceType ?? null,
    targetResourceId: sent.targetResourceId ?? null,
    status: sent.status,
    outcomeDescription: sent.outcomeDescription ?? null,
    dataClassification: sent.dataClassification ?? 'INTERNAL',
    correlationId: sent.correlationId ?? null,
    sessionContext: sent.sessionContext ?? null,
  };
}

describe('an accepted event', () => {
  it('comes back as it went in, and the same bytes from every route', async () => {
    // Mostly recent: each month that appears is a partition to make.
    const recent = instant(Date.now() - 1e10, Date.now());
    const when = fc.option(
      fc.oneof({ arbitrary: recent, weight: 5 }, { arbitrary: instant(0, Date.now()), weight: 1 }),
      { nil: undefined },
    );
    await fc.assert(
      fc.asyncProperty(members, fc.option(objectJson), when, async (sent, metadata, at) => {
        const event = { ...sent, ...(at ? { timestamp: at.sent } : {}) };
        const body = `${JSON.stringify(event).slice(0, -1)},"metadata":${metadata ?? 'null'}}`;
        const posted = await service.post(EVENTS, token, body);
        expect({ status: posted.status, text: posted.text }).toMatchObject({ status: 201 });
        expect({ ...posted.json, metadata: undefined }).toEqual(expected(sent, at?.utc));
        const text = memberTexts(posted.text).get('metadata') ?? '';
        expect(canonicalJson(text)).toBe(canonicalJson(metadata ?? 'null'));

        const read = await service.get(
          `${EVENTS}/${posted.json.id}?organization_ids=${encodeURIComponent(listText([sent.organizationId]))}`,
          token,
        );
        expect(read.text).toBe(posted.text);
        const page = await service.get(
          `${EVENTS}?organization_ids=${encodeURIComponent(listText([sent.organizationId]))}&sort_field=sequence&limit=1`,
          token,
        );
        expect(page.text.slice(0, posted.text.length + 9)).toBe(`{"data":[${posted.text}`);
      }),
      { numRuns: 150 },
    );
  }, 120_000);

  it.each([
    '1970-01-01T00:00:00.000000Z',
    '1999-12-31T23:59:59.999999Z',
    '2000-02-29T12:00:00.000001Z',
    '2024-02-29T00:00:00.100000Z',
  ])('of %s has its partition', async (timestamp) => {
    const event = { organizationId: 'org-old', action: 'a', status: 'success', timestamp };
    const posted = await service.post(EVENTS, token, event);
    expect(posted.json.timestamp).toBe(timestamp);
    const path = `${EVENTS}?organization_ids=org-old&start_date=${timestamp}&sort_direction=asc&limit=1`;
    expect((await service.get(path, token)).json.data).toEqual([posted.json]);
  });
});

describe.each<{ format: Format; folder: string }>([
  { format: 'cloudtrail', folder: 'cloudtrail-invictus' },
  { format: 'wikipedia', folder: 'wikipedia-edits' },
])('the real records of $folder', ({ format, folder }) => {
  const file = join(samples, folder, 'records.ndjson.gz');
  if (!existsSync(file)) {
    // eslint-disable-next-line no-console -- that it is skipped must be seen
    console.warn(
      `SKIPPED: there is no ${file}; set AUDIT_SAMPLE_DATA to the folder that holds ${folder}/`,
    );
    it.skip(`needs ${file}`, () => undefined);
    return;
  }

  it('come back, all and exactly, through the pages', async () => {
    const reader = new RecordReader(format, undefined);
    const sent = new Map<string, string>();
    const lines = gunzipSync(readFileSync(file)).toString().trimEnd().split('\n');
    lines.forEach((line, index) => {
      const read = reader.read({ number: index + 1, bytes: Buffer.from(line), isTooLong: false });
      if (!read || !('event' in read)) throw new Error(`Line ${index + 1} is no event`);
      sent.set(JSON.parse(read.event).id, read.event);
    });
    const organizations = await send([...sent.values()]);
    const differing: string[] = [];
    let count = 0;
    for await (const stored of readAll(organizations)) {
      const event = sent.get(JSON.parse(stored).id) ?? '{}';
      if (sentPart(stored) !== storedForm(event)) differing.push(stored);
      count += 1;
    }
    expect(differing).toEqual([]);
    expect(count).toBe(sent.size);
  }, 120_000);
});

/** What of a stored event the client sent, in one spelling. */
function sentPart(stored: string): string {
  const members = memberTexts(stored);
  members.delete('sequence');
  members.delete('recordedAt');
  return canonicalJson(objectOf(members));
}

/** How an event that was sent has to come back, in one spelling: absent members are null, timestamps have six digits of a second. */
function storedForm(event: string): string {
  const absent = [
    'principalId',
    'targetResourceType',
    'targetResourceId',
    'outcomeDescription',
    'correlationId',
    'sessionContext',
  ];
  const members = memberTexts(event);
  const sentAt = JSON.parse(members.get('timestamp') ?? '');
  // These sources have milliseconds at most.
  members.set('timestamp', JSON.stringify(new Date(sentAt).toISOString().replace('Z', '000Z')));
  return canonicalJson(
    objectOf(new Map([...absent.map((name) => [name, 'null'] as const), ...members])),
  );
}

function objectOf(members: Map<string, string>): string {
  return `{${[...members].map(([name, text]) => `${JSON.stringify(name)}:${text}`).join(',')}}`;
}

/** Sends events in bulks; returns their organizations. */
async function send(events: string[]): Promise<string[]> {
  for (let at = 0; at < events.length; at += 1000) {
    const answer = await service.post(
      `${EVENTS}/bulk`,
      token,
      `{"events":[${events.slice(at, at + 1000).join(',')}]}`,
    );
    expect({ status: answer.status, text: answer.text.slice(0, 300) }).toMatchObject({
      status: 201,
    });
  }
  return [...new Set(events.map((event) => JSON.parse(event).organizationId as string))];
}

/** The text of every event of these organizations, page by page. */
async function* readAll(organizations: string[]): AsyncGenerator<string> {
  const ids = encodeURIComponent(listText(organizations));
  for (let cursor: string | undefined = ''; cursor !== undefined;) {
    const after: string = cursor === '' ? '' : `&cursor=${cursor}`;
    const { text, json } = await service.get(
      `${EVENTS}?organization_ids=${ids}&limit=1000${after}`,
      token,
    );
    yield* elementTexts(memberTexts(text).get('data') ?? '[]');
    cursor = json.pagination.nextCursor;
  }
}
