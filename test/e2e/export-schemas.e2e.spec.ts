import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import * as fc from 'fast-check';
import { runImportCommand } from '../../src/import/import-command';
import { SYSTEM_CLOCK } from '../../src/import/chunk-sender';
import { until } from '../integration/until.fixture';
import { fetchExport, linesOf } from '../support/export-client';
import { elementTexts, memberTexts } from '../support/json-text';
import { judge } from '../support/ocsf/ocsf-schema';
import { readPublishedSchema } from '../support/ocsf/published-schema';
import { USED_SCHEMA } from '../support/ocsf/used-schema';
import { type Document, operationsOf } from '../support/openapi-requests';
import { DescribedResponses } from '../support/openapi-responses';
import { sampleEvent } from '../support/page-model';
import { EVENTS, eventsIn, eventWith, TestService, tokenOf } from '../support/test-service';

// Published records, too large and too differently licensed to be part of this repository.
const samples = process.env.AUDIT_SAMPLE_DATA ?? resolve(__dirname, '../../../shared/data');
const ocsf = process.env.OCSF_SCHEMA ?? '';
const SCHEMAS = [
  USED_SCHEMA,
  ...(existsSync(join(ocsf, 'dictionary.json')) ? [readPublishedSchema(ocsf)] : []),
];

const BATCH_EVENTS = 2000;

let service: TestService;
let operator: string;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'export-schemas-'));
  service = await TestService.start({ STREAMING_SELF_AUDIT: 'true' });
  operator = await tokenOf({
    organizations: ['*'],
    scope: 'audit:read audit:write audit:export',
  });
  const sampled = fc
    .sample(sampleEvent, { numRuns: 200, seed: 11 })
    .map((event) => ({ ...event, id: null }));
  const exact = '{"n":9223372036854775807,"d":1.50,"e":-1E3,"text":"a|b=c\\n"}';
  const events = sampled.map((event) => JSON.stringify(event));
  events.push(
    JSON.stringify(eventWith({ action: 'exact' })).replace(/\}$/, `,"metadata":${exact}}`),
  );
  const stored = await service.post(`${EVENTS}/bulk`, operator, `{"events":[${events.join(',')}]}`);
  expect(stored.status).toBe(201);
});

afterAll(async () => {
  await service?.stop();
  await rm(folder, { recursive: true });
});

/** Before the events that record exports. */
const LIST = { end_date: '2026-11-01', sort_field: 'timestamp' };
const exported = (query: Record<string, string>, headers?: Record<string, string>) =>
  fetchExport(service, operator, { ...LIST, ...query }, headers);

describe('an export in another schema', () => {
  it.each([
    ['cloudevents', 'data'],
    ['ocsf', 'unmapped'],
  ])('has as %s every event to the letter, in `%s`', async (schema, member) => {
    const native = linesOf((await exported({ format: 'ndjson' })).text);
    expect(native.length).toBeGreaterThan(100);
    const lines = linesOf((await exported({ format: 'ndjson', schema })).text);
    expect(lines.map((line) => memberTexts(line).get(member))).toEqual(native);
    const { text, trailers } = await exported({ format: 'json', schema });
    expect(elementTexts(text)).toEqual(lines);
    expect(trailers['x-export-rows']).toBe(String(native.length));
  });

  it('has as ecs the text of every event, in `event.original`', async () => {
    const native = linesOf((await exported({ format: 'ndjson' })).text);
    const lines = linesOf((await exported({ format: 'ndjson', schema: 'ecs' })).text);
    expect(lines.map((line) => JSON.parse(line).event.original as string)).toEqual(native);
  });

  const forms = ['native', 'cloudevents', 'ocsf', 'ecs'];
  it.each(forms.flatMap((schema) => ['json', 'ndjson'].map((format) => [schema, format])))(
    'is as %s in %s what the OpenAPI document describes',
    async (schema = '', format = '') => {
      const file = join(__dirname, '..', '..', 'docs', 'openapi.json');
      const document = JSON.parse(readFileSync(file, 'utf8')) as Document;
      const path = `${EVENTS}/stream`;
      const route = operationsOf(document).find((one) => one.path === path);
      const answer = await exported({ format, schema });
      expect(answer.text.length).toBeGreaterThan(10_000);
      const described = new DescribedResponses(document);
      const whole = { ...answer, body: answer.text, isWhole: true };
      expect(route && described.violationsOf('GET', path, route.operation, whole)).toEqual([]);
    },
  );

  it('keeps the digits of numbers', async () => {
    const query = { format: 'ndjson', actions: 'exact', schema: 'ocsf' };
    const { text } = await fetchExport(service, operator, query);
    expect(text).toContain('"n":9223372036854775807,"d":1.50,"e":-1E3');
  });

  it('is with format=cef a line per event', async () => {
    const native = linesOf((await exported({ format: 'ndjson' })).text);
    const { text, headers, trailers } = await exported({ format: 'cef' });
    const lines = linesOf(text);
    expect(lines.every((line) => line.startsWith('CEF:0|audit-server|'))).toBe(true);
    expect(lines.map((line) => / externalId=(\S+)/.exec(line)?.[1])).toEqual(
      native.map((line) => JSON.parse(line).id as string),
    );
    expect(headers['content-disposition']).toMatch(/\.cef"$/);
    expect(trailers['x-export-complete']).toBe('true');
  });

  it('is native with schema=native, also as CSV', async () => {
    for (const format of ['json', 'ndjson', 'csv']) {
      const { text } = await exported({ format, schema: 'native' });
      expect(text).toBe((await exported({ format })).text);
    }
  });

  it.each([
    [
      'json',
      'cloudevents',
      'application/cloudevents-batch+json; charset=utf-8',
      '.cloudevents.json',
    ],
    ['ndjson', 'cloudevents', 'application/x-ndjson; charset=utf-8', '.cloudevents.ndjson'],
    ['json', 'ocsf', 'application/json; charset=utf-8', '.ocsf.json'],
    ['ndjson', 'ecs', 'application/x-ndjson; charset=utf-8', '.ecs.ndjson'],
  ])('as %s of %s is %s', async (format, schema, type, ending) => {
    const { headers } = await exported({ format, schema });
    expect(headers['content-type']).toBe(type);
    expect(headers['content-disposition']).toContain(`${ending}"`);
  });

  it('is selected by Accept where no parameter does', async () => {
    const typeOf = async (accept: string, query: Record<string, string> = {}) =>
      (await exported(query, { accept })).headers['content-type'];
    const batch = 'application/cloudevents-batch+json';
    expect(await typeOf(batch)).toContain(batch);
    expect(await typeOf('text/plain')).toContain('text/plain');
    expect(await typeOf('text/plain', { format: 'cef' })).toContain('text/plain');
    // What clients send without a thought stays JSON.
    expect(await typeOf('text/plain, application/json')).toContain('application/json');
    expect(await typeOf('text/html, text/plain, */*;q=0.1')).toContain('application/json');
    expect(await typeOf('application/x-ndjson', { schema: 'ocsf' })).toContain('x-ndjson');
    expect(await typeOf(batch, { schema: 'ocsf' })).toContain('application/json');
  });

  it.each([
    [{ schema: 'leef' }, 'schema', /must be one of.*native.*cloudevents.*ocsf.*ecs/],
    [{ schema: 'cef' }, 'schema', /must be one of/],
    [{ format: 'xml' }, 'format', /must be one of.*json.*ndjson.*csv.*cef/],
    [{ format: 'csv', schema: 'ocsf' }, 'schema', /must be native with format=csv.*nested/],
    [{ format: 'cef', schema: 'ecs' }, 'schema', /only for format=json and format=ndjson/],
    [{ format: 'cef', bom: 'true' }, 'bom', /only for format=csv/],
  ])('is refused for %j', async (query, path, message) => {
    const answer = await exported(query);
    expect(answer.status).toBe(400);
    expect(JSON.parse(answer.text).errors).toEqual([
      { path, message: expect.stringMatching(message) },
    ]);
  });

  it.each([
    [
      { format: 'ndjson', schema: 'ocsf' },
      { format: 'ndjson', schema: 'ocsf' },
    ],
    [{ format: 'cef' }, { format: 'cef', schema: undefined }],
  ])('as %j is recorded with its schema', async (query, recorded) => {
    await service.post(EVENTS, operator, eventWith({ action: 'seen' }));
    const { headers } = await fetchExport(service, operator, { ...query, actions: 'seen' });
    const requestId = headers['x-request-id'] as string;
    const path = `${EVENTS}?actions=audit.export&correlation_ids=${requestId}`;
    const read = async () =>
      eventsIn(await service.get(path, operator, { 'cache-control': 'no-cache' }));
    await until(async () => (await read()).length > 0);
    const [event] = await read();
    const { format, schema } = event?.metadata as Record<string, unknown>;
    expect({ format, schema }).toEqual(recorded);
  });
});

describe.each([
  ['cloudtrail', 'cloudtrail-invictus', [3002, 6003]],
  ['wikipedia', 'wikipedia-edits', [3004]],
])('the real records of %s', (format, name, classes) => {
  const file = join(samples, name, 'records.ndjson.gz');
  if (!existsSync(file)) {
    it.skip(`needs ${file}; set AUDIT_SAMPLE_DATA to the folder that holds ${name}/`, () =>
      undefined);
    return;
  }

  it('pass OCSF without errors and warnings, and come back from it exactly', async () => {
    const organization = `real-${format}`;
    const argv = ['--format', format, '--url', service.url, '--organization', organization, file];
    const exitCode = await runImportCommand(argv, {
      environment: { AUDIT_TOKEN: operator },
      output: { write: () => undefined },
      terminal: { write: () => undefined },
      clock: SYSTEM_CLOCK,
    });
    expect(exitCode).toBe(0);
    const query = { format: 'ndjson', organization_ids: organization, end_date: '2026-01-01' };
    const native = linesOf((await fetchExport(service, operator, query)).text);
    const found = linesOf(
      (await fetchExport(service, operator, { ...query, schema: 'ocsf' })).text,
    );
    expect(native.length).toBeGreaterThan(2000);
    expect(found.length).toBe(native.length);
    const seen = new Set<number>();
    const faults = found.flatMap((line, at) => {
      const event = JSON.parse(line) as { class_uid: number };
      seen.add(event.class_uid);
      const judged = SCHEMAS.map((schema) => judge({ ...event }, schema));
      const wrong = judged.flatMap(({ errors, warnings }) => [...errors, ...warnings]);
      const isExact = line.endsWith(`,"unmapped":${native[at] ?? ''}}`);
      return isExact ? wrong : [...wrong, `${at} is not exact`];
    });
    expect(faults).toEqual([]);
    expect([...seen].sort((a, b) => a - b)).toEqual(classes);
  });

  it.each(['ocsf', 'cloudevents'])('are the same events when imported from %s', async (schema) => {
    const query = { format: 'json', schema, organization_ids: `real-${format}` };
    const { text } = await fetchExport(service, operator, { ...query, end_date: '2026-01-01' });
    const exportFile = join(folder, `${name}.${schema}.json`);
    await writeFile(exportFile, text);
    const out: string[] = [];
    const argv = ['--format', schema, '--url', service.url, exportFile];
    await runImportCommand(argv, {
      environment: { AUDIT_TOKEN: operator },
      output: { write: (line) => out.push(line) },
      terminal: { write: () => undefined },
      clock: SYSTEM_CLOCK,
    });
    const count = elementTexts(text).length;
    expect(out.join('')).toMatch(new RegExp(`created +0\nduplicates +${count}\nrefused +0`));
  });

  it('are the same events when they are sent back as CloudEvents', async () => {
    const query = { format: 'json', schema: 'cloudevents', organization_ids: `real-${format}` };
    const { text } = await fetchExport(service, operator, { ...query, end_date: '2026-01-01' });
    const events = elementTexts(text);
    const type = { 'content-type': 'application/cloudevents-batch+json' };
    for (let from = 0; from < events.length; from += BATCH_EVENTS) {
      const batch = events.slice(from, from + BATCH_EVENTS);
      const answer = await service.post(`${EVENTS}/bulk`, operator, `[${batch.join(',')}]`, type);
      const { created, duplicates } = answer.json as Record<string, number>;
      expect({ from, created, duplicates }).toEqual({ from, created: 0, duplicates: batch.length });
    }
  });
});
