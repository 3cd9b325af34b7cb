import * as fc from 'fast-check';
import Papa from 'papaparse';
import { instant, objectJson, sparseJson, storableText } from '../support/event-arbitraries';
import { fetchExport, linesOf, readPages } from '../support/export-client';
import { elementTexts, memberTexts } from '../support/json-text';
import { ask, queryOf, sampleEvent } from '../support/page-model';
import { EVENTS, listText, TestService, tokenOf } from '../support/test-service';
import { pythonCsv } from '../support/python-csv';

const EXPORT = 'audit:read audit:write audit:export';
/** What a spreadsheet would compute, and what stands near it. */
const CELLS = [
  '=1+1',
  '+1',
  '-1',
  '@SUM(A1)',
  '＝1+1',
  '＋1',
  '－1',
  '＠SUM(A1)',
  '\t=1',
  '\r=1',
  '\n=1',
  "'=1",
  "''-1",
  ";'=1",
  ' =1',
  'a=1',
  '""',
  '\\.',
];

let service: TestService;
let operator: string;

beforeAll(async () => {
  service = await TestService.start();
  operator = await tokenOf({ organizations: ['*'], scope: EXPORT });
  await store(fc.sample(sampleEvent, { numRuns: 300, seed: 5 }).map((one) => JSON.stringify(one)));
  await store(hostileEvents(120));
});

afterAll(() => service.stop());

/** The JSON text of events of organization `hostile`, with anything in any text. */
function hostileEvents(count: number): string[] {
  const cell = fc.oneof(storableText(200), fc.constantFrom(...CELLS));
  const event = fc.record({
    principalId: fc.option(cell),
    action: cell.map((text) => text || 'x'),
    targetResourceType: fc.option(cell),
    targetResourceId: fc.option(cell),
    outcomeDescription: fc.option(cell),
    correlationId: fc.option(cell),
    sessionContext: fc.option(fc.record({ userAgent: fc.option(cell) })),
  });
  const whole = fc.tuple(event, fc.option(objectJson), instant(1.76e12, 1.79e12), sparseJson);
  return fc.sample(whole, { numRuns: count, seed: 55 }).map(([members, metadata, at, sparse]) => {
    const fixed = { organizationId: 'hostile', status: 'success', timestamp: at.sent };
    const { targetResourceType, targetResourceId, ...others } = members;
    const target = sparse.targets === undefined ? { targetResourceType, targetResourceId } : {};
    const text = JSON.stringify({ ...fixed, ...others, ...target }).slice(0, -1);
    const more = Object.entries(sparse).map(([name, json]) => `,"${name}":${json}`);
    return `${text},"metadata":${metadata ?? 'null'}${more.join('')}}`;
  });
}

async function store(events: string[]): Promise<void> {
  const seen = new Set<string>();
  const distinct = events.filter((text) => {
    const { id, organizationId } = JSON.parse(text) as { id?: string; organizationId: string };
    return (
      id == null || (!seen.has(`${id} ${organizationId}`) && seen.add(`${id} ${organizationId}`))
    );
  });
  const answer = await service.post(
    `${EVENTS}/bulk`,
    operator,
    `{"events":[${distinct.join(',')}]}`,
  );
  expect({ status: answer.status, text: answer.text.slice(0, 300) }).toMatchObject({ status: 201 });
}

const JSON_COLUMNS = ['sessionContext', 'metadata', 'targets', 'changes', 'source'];
/** Columns of the members that an event need not have. */
const SPARSE = {
  ...{ principalType: '', principalName: '', targets: '' },
  ...{ changes: '', source: '', schemaVersion: '' },
};

/** What the cells of a CSV row must be for an event; null and empty text look alike to most readers. */
function cellsOf(event: string): Record<string, string> {
  const members = [...memberTexts(event)].map(([name, text]) => [
    name,
    text === 'null' ? '' : text.startsWith('"') ? (JSON.parse(text) as string) : text,
  ]);
  const cells = Object.fromEntries(members) as Record<string, string>;
  const always = Object.entries(cells).filter(([name]) => !Object.hasOwn(SPARSE, name));
  return { ...Object.fromEntries(always), ...SPARSE, ...cells };
}

const neutralised = (cells: Record<string, string>) =>
  Object.fromEntries(
    Object.entries(cells).map(([name, text]) => [name, neutralisedCell(name, text)]),
  );

function neutralisedCell(name: string, text: string): string {
  if (JSON_COLUMNS.includes(name)) return text.replace(/;(?=[=+@＝＋－＠-])/g, '\\u003b');
  const inside = text.replace(/([;\t\r\n]"*'*)(?=[=+@＝＋－＠-])/g, "$1'");
  return /^'*[=+\-@\t\r\n＝＋－＠]/.test(text) ? `'${inside}` : inside;
}

const papa = (text: string) => {
  const { data, errors } = Papa.parse<Record<string, string>>(text, {
    header: true,
    skipEmptyLines: true,
    newline: '\r\n',
  });
  expect(errors).toEqual([]);
  return data;
};

describe('an export', () => {
  it('holds what the pages hold, in their order, byte for byte, for any principal and filter', async () => {
    await fc.assert(
      fc.asyncProperty(ask, async (asked) => {
        const token = await tokenOf({ organizations: asked.mine, scope: EXPORT });
        const query = queryOf(asked);
        const pages = await readPages(service, token, query);
        const ndjson = await fetchExport(service, token, { ...query, format: 'ndjson' });
        expect(linesOf(ndjson.text)).toEqual(pages);
        expect(ndjson.trailers).toMatchObject({
          'x-export-rows': String(pages.length),
          'x-export-complete': 'true',
        });
        const json = await fetchExport(service, token, { ...query, format: 'json' });
        expect(elementTexts(json.text)).toEqual(pages);
        const csv = await fetchExport(service, token, { ...query, format: 'csv' });
        expect(papa(csv.text).map(({ id }) => id)).toEqual(pages.map((one) => JSON.parse(one).id));
      }),
      { numRuns: 60 },
    );
  }, 120_000);

  it('keeps every character of every text, in all formats', async () => {
    const query = { organization_ids: 'hostile' };
    const pages = await readPages(service, operator, query);
    expect(pages).toHaveLength(120);
    const ndjson = await fetchExport(service, operator, { ...query, format: 'ndjson' });
    expect(linesOf(ndjson.text)).toEqual(pages);
    const json = await fetchExport(service, operator, query);
    expect(elementTexts(json.text)).toEqual(pages);
    const raw = await fetchExport(service, operator, { ...query, format: 'csv', csv_raw: 'true' });
    expect(papa(raw.text)).toEqual(pages.map(cellsOf));
    const neutral = await fetchExport(service, operator, { ...query, format: 'csv' });
    expect(papa(neutral.text)).toEqual(pages.map((one) => neutralised(cellsOf(one))));
    expect(pythonCsv(raw.body)?.map((row) => row)).toEqual(
      pythonCsv.isThere ? pages.map((one) => Object.values(cellsOf(one))) : undefined,
    );
  });

  it('has no cell that begins with a formula for a reader with another separator', async () => {
    const organizationId = 'separators';
    const texts = [
      ';=1+1',
      'a;-1',
      'a\t@b',
      'a\n+1',
      'a,=1',
      'a;"=1',
      '=1;=2',
      '"=1',
      'a;\t=1',
      'plain; -1',
    ];
    const metadata = { a: ';=1', b: [1, -2, '=1,=2', '-1'], c: 'x,-1+cmd', d: ';' };
    const events = texts.map((action) =>
      JSON.stringify({
        ...{ organizationId, action, status: 'success', metadata },
        ...{
          principalName: action,
          targets: [
            { type: action, id: '=1' },
            { id: '-1', name: '@a' },
          ],
        },
        changes: [{ path: action, old: [1, -2, '=1', ',-x'], new: ';+1' }],
      }),
    );
    await store(events);
    const query = { organization_ids: organizationId, format: 'csv', sort_field: 'sequence' };
    for (const [delimiter, own] of [
      ['comma', ','],
      ['semicolon', ';'],
      ['tab', '\t'],
    ] as const) {
      const { text } = await fetchExport(service, operator, { ...query, delimiter });
      const { data } = Papa.parse<Record<string, string>>(text, {
        header: true,
        skipEmptyLines: true,
        newline: '\r\n',
        delimiter: own,
      });
      expect(data.map(({ action }) => action?.replaceAll("'", ''))).toEqual(texts.toReversed());
      for (const row of data) expect(JSON.parse(row['metadata'] ?? '')).toEqual(metadata);
      for (const separator of [',', ';', '\t']) {
        // As a reader that takes every quote for a part of the cell, or for nothing.
        const cells = text.split(/\r?\n|\r/).flatMap((line) => line.split(separator));
        const starts = cells.map((cell) => cell.replace(/^"+/, ''));
        const found =
          separator === own ? [] : starts.filter((cell) => /^[=+@-](?![\d.]+\]?$)/.test(cell));
        expect({ separator, delimiter, found }).toEqual({ separator, delimiter, found: [] });
      }
    }
  });

  it('has the columns that are asked for, in their order, between any of the separators', async () => {
    const organizationId = 'columns';
    await store([JSON.stringify({ organizationId, action: 'a;b', status: 'success' })]);
    const get = (more: Record<string, string>) =>
      fetchExport(service, operator, { organization_ids: organizationId, format: 'csv', ...more });
    const columns = 'status,action,principalId';
    expect((await get({ columns })).text).toBe('status,action,principalId\r\nsuccess,a;b,\r\n');
    expect((await get({ columns, delimiter: 'semicolon' })).text).toBe(
      'status;action;principalId\r\nsuccess;"a;b";\r\n',
    );
    expect((await get({ columns, delimiter: 'tab' })).text).toBe(
      'status\taction\tprincipalId\r\nsuccess\ta;b\t\r\n',
    );
    for (const [wrong, path, message] of [
      [{ columns: 'status,colour' }, 'columns[1]', 'organizationId'],
      [{ columns: 'status,action,status' }, 'columns', 'status twice'],
      [{ columns: 'status', format: 'json' }, 'columns', 'only for format=csv'],
      [{ delimiter: ';' }, 'delimiter', 'comma, semicolon, tab'],
      [{ delimiter: 'tab', format: 'ndjson' }, 'delimiter', 'only for format=csv'],
    ] as const) {
      const { status, text } = await get(wrong);
      expect(status).toBe(400);
      const [error] = JSON.parse(text).errors;
      expect(error).toEqual({ path, message: expect.stringContaining(message) });
    }
  });

  it('counts the cells that are too long for a spreadsheet', async () => {
    const organizationId = 'long';
    const of = (length: number) => ({ text: '"'.repeat(length / 2) });
    const sizes = [10, 32_750, 32_768, 60_000];
    await store(
      sizes.map((size) =>
        JSON.stringify({ organizationId, action: 'a', status: 'success', metadata: of(size) }),
      ),
    );
    const query = { organization_ids: organizationId, format: 'csv' };
    const all = await fetchExport(service, operator, query);
    expect(all.trailers['x-export-long-cells']).toBe('2');
    expect(all.headers.trailer).toContain('X-Export-Long-Cells');
    const few = await fetchExport(service, operator, { ...query, columns: 'id,action' });
    expect(few.trailers['x-export-long-cells']).toBe('0');
    const json = await fetchExport(service, operator, { organization_ids: organizationId });
    expect(json.trailers['x-export-long-cells']).toBeUndefined();
  });

  it('finds any text that a filter can hold, and nothing else', async () => {
    const hostile = [
      `'; DROP TABLE audit_event; --`,
      `\\`,
      `\\'`,
      `E'\\x41'`,
      `$1`,
      `$$`,
      `{"a",b}`,
      'NULL',
      '%',
      '🦊é',
      '\u202e"',
    ];
    const events = hostile.map((action) =>
      JSON.stringify({ organizationId: 'filters', action, status: 'success' }),
    );
    await store(events);
    for (const action of hostile) {
      const query = { organization_ids: 'filters', actions: listText([action]), format: 'ndjson' };
      const { text } = await fetchExport(service, operator, query);
      expect(linesOf(text).map((line) => JSON.parse(line).action)).toEqual([action]);
    }
    const nul = await fetchExport(service, operator, 'actions=a%00b');
    expect(nul.status).toBe(400);
  });

  it('of nothing is an empty array, no line, or a header row', async () => {
    const query = { organization_ids: 'nobody' };
    expect((await fetchExport(service, operator, query)).text).toBe('[]\n');
    expect((await fetchExport(service, operator, { ...query, format: 'ndjson' })).text).toBe('');
    const csv = await fetchExport(service, operator, { ...query, format: 'csv', bom: 'true' });
    expect(csv.text).toMatch(
      /^\ufeffid,timestamp,recordedAt,sequence,organizationId,.*,metadata,principalType,principalName,targets,changes,source,schemaVersion\r\n$/,
    );
    expect(csv.trailers['x-export-rows']).toBe('0');
    const nobody = await tokenOf({ organizations: [], scope: EXPORT });
    expect((await fetchExport(service, nobody, {})).text).toBe('[]\n');
  });
});
