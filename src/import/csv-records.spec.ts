import fc from 'fast-check';
import { EVENT_FIELDS, type EventField } from '../audit/event/audit-event';
import { beginsCsv, CSV_COLUMNS, readCsvRecords } from './csv-records';
import type { RawRecord } from './raw-record';

const DELIMITERS = [',', ';', '\t'] as const;
type Delimiter = (typeof DELIMITERS)[number];
const FORMULA = '=+@\uff1d\uff0b\uff0d\uff20-';

async function read(
  content: string | Buffer,
  { sizes = [] as number[], isRaw = false, organizationId = undefined as string | undefined } = {},
  maxBytes = 1e6,
): Promise<RawRecord[]> {
  const bytes = Buffer.from(content as string);
  async function* parts() {
    let from = 0;
    for (const size of [...sizes, bytes.length]) {
      const part = bytes.subarray(from, from + size);
      from += size;
      if (part.length > 0) yield await Promise.resolve(part);
    }
  }
  const found: RawRecord[] = [];
  const options = { isRaw, organizationId };
  for await (const row of readCsvRecords(parts(), bytes, maxBytes, options)) found.push(row);
  return found;
}

const eventsIn = (rows: RawRecord[]) =>
  rows.map(({ content }) => {
    if (!content || !('json' in content)) throw new Error(JSON.stringify(content));
    return JSON.parse(content.json) as Record<string, unknown>;
  });

const refusals = (rows: RawRecord[]) =>
  rows.map(({ content }) => (content && 'refusal' in content ? content.refusal : undefined));

/** Prefix that an export puts before formulas (audit/export/csv-cells.ts). */
function neutralized(text: string, delimiter: Delimiter): string {
  const others = DELIMITERS.filter((one) => one !== delimiter).join('');
  const inside = text.replace(new RegExp(`([${others}\r\n]"*'*)(?=[${FORMULA}])`, 'g'), "$1'");
  return new RegExp(`^'*[\t\r\n${FORMULA}]`).test(text) ? `'${inside}` : inside;
}

/** A cell as COPY writes it. */
function cellOf(text: string | undefined, delimiter: Delimiter): string {
  if (text === undefined) return '';
  return text === '' || text === '\\.' || new RegExp(`[${delimiter}"\r\n]`).test(text)
    ? `"${text.replaceAll('"', '""')}"`
    : text;
}

const text = fc.oneof(
  fc.string({ unit: fc.constantFrom(...`'"=+-@＝,;\t\r\na ${'\\'}é🙂`), maxLength: 12 }),
  fc.string({ unit: 'binary', maxLength: 12 }),
);
const json = fc
  .dictionary(fc.string(), fc.oneof(fc.string(), fc.integer(), fc.boolean()))
  .map((value) => JSON.stringify(value));
const list = fc.array(json, { maxLength: 3 }).map((values) => `[${values.join(',')}]`);
const cell = (kind: string) => (kind === 'json' ? json : kind === 'list' ? list : text);

describe('a CSV export', () => {
  it('has the columns of the registry', () => {
    const kindOf = ({ name, type, words }: EventField) => {
      if (type === 'json') return ['targets', 'changes'].includes(name) ? 'list' : 'json';
      return type === 'text' && !words ? 'text' : 'word';
    };
    expect(CSV_COLUMNS).toEqual(
      Object.fromEntries(EVENT_FIELDS.map((field) => [field.name, kindOf(field)])),
    );
  });

  it('is read back exactly, with any columns, separator and content, in pieces of any size', async () => {
    const names = Object.keys(CSV_COLUMNS) as (keyof typeof CSV_COLUMNS)[];
    const columns = fc
      .shuffledSubarray(names, { minLength: 3 })
      .map((some) => [...new Set([...some, 'organizationId', 'action', 'status'] as const)]);
    const row = fc.record(
      Object.fromEntries(names.map((name) => [name, cell(CSV_COLUMNS[name])])),
      { requiredKeys: [] },
    );
    await fc.assert(
      fc.asyncProperty(
        columns,
        fc.array(row, { maxLength: 4 }),
        fc.constantFrom(...DELIMITERS),
        fc.record({ isRaw: fc.boolean(), bom: fc.boolean(), lf: fc.boolean(), end: fc.boolean() }),
        fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 30 }),
        async (chosen, rows, delimiter, { isRaw, bom, lf, end }, sizes) => {
          const shown = (name: keyof typeof CSV_COLUMNS, value: string | undefined) =>
            value !== undefined && CSV_COLUMNS[name] === 'text' && !isRaw
              ? neutralized(value, delimiter)
              : value;
          const lines = [
            chosen.join(delimiter),
            ...rows.map((one) =>
              chosen.map((name) => cellOf(shown(name, one[name]), delimiter)).join(delimiter),
            ),
          ];
          const content = `${bom ? '\ufeff' : ''}${lines.join(lf ? '\n' : '\r\n')}${end ? '\r\n' : ''}`;
          expect(beginsCsv(content)).toBe(true);
          const expected = rows.map((one) =>
            Object.fromEntries(
              chosen.flatMap((name) => {
                const value = one[name];
                if (value === undefined) return [];
                const isJson = ['json', 'list'].includes(CSV_COLUMNS[name]);
                return [[name, isJson ? JSON.parse(value) : value]];
              }),
            ),
          );
          expect(eventsIn(await read(content, { sizes, isRaw }))).toEqual(expected);
        },
      ),
      { numRuns: 400 },
    );
  });

  it('keeps every digit of its numbers', async () => {
    const [row] = await read(
      'organizationId,action,status,metadata\r\no,a,success,"{""n"":9007199254740993,""m"":1.0E400}"\r\n',
    );
    expect(row?.content).toEqual({
      json: '{"organizationId":"o","action":"a","status":"success","metadata":{"n":9007199254740993,"m":1.0E400}}',
    });
  });

  it('is read as far as its rows are taken, however long it is', async () => {
    let given = 0;
    async function* endless() {
      yield await Promise.resolve(Buffer.from('organizationId,action,status\r\n'));
      for (;;) {
        given += 1;
        yield await Promise.resolve(Buffer.from('o,a,success\r\n'));
      }
    }
    const head = Buffer.from('organizationId,action,status\r\n');
    const options = { isRaw: false, organizationId: undefined };
    let taken = 0;
    for await (const row of readCsvRecords(endless(), head, 1e6, options)) {
      void row;
      taken += 1;
      expect(given).toBeLessThanOrEqual(taken + 1);
      if (taken === 10_000) break;
    }
    expect(taken).toBe(10_000);
  });

  it('has rows with the line that they begin in', async () => {
    const rows = await read('organizationId,action,status\n"o\n\n1",a,success\nb,"\n",x\n\nc,d,e');
    expect(rows.map(({ number }) => number)).toEqual([2, 5, 7, 8]);
  });
});

describe('a row is refused alone', () => {
  const HEADER = 'organizationId,action,status,metadata\r\n';
  const GOOD = 'o,a,success,"{""a"":1}"\r\n';

  const cut = `{"a":"${'x'.repeat(40_000)}`.slice(0, 32_767).replaceAll('"', '""');

  it.each([
    ['short', 'o,a,success', /^the row has 3 cells instead of 4/],
    ['long', 'o,a,success,,', /^the row has 5 cells instead of 4/],
    ['a formula', 'o,=1+1,success,', /^action holds a formula without the apostrophe.*--csv-raw/],
    ['a formula inside', 'o,a;=1,success,', /^action holds a formula/],
    ['text after a quote', 'o,"a"b,success,', /^cell 2 goes on after its closing quote/],
    ['a quote in the middle', 'o,a"b,success,', /^cell 2 needs quotes/],
    ['a list', 'o,a,success,[1]', /^metadata is not a JSON object: it is not an object/],
    ['a member', 'o,a,success,"{""a"":1},""action"":""b"""', /^metadata is not a JSON object/],
    ['half an object', 'o,a,success,"{""a"":1"', /^metadata is not a JSON object/],
    ['a cell that is cut', `o,a,success,"${cut}"`, /^metadata was cut by a spreadsheet.* 32767/],
    [
      'a cell whose rest is in the next',
      `o,a,success,"${'x'.repeat(32_767)}",rest`,
      /5 cells instead of 4.*a spreadsheet holds no more/,
    ],
  ])('%s', async (_, row, reason) => {
    const rows = await read(`${HEADER}${GOOD}${row}\r\n${GOOD}`);
    expect(refusals(rows)).toEqual([undefined, expect.stringMatching(reason), undefined]);
    expect(rows[1]?.bytes.toString()).toBe(`${row}\r`);
  });

  it('with bytes that are not UTF-8, or too many', async () => {
    const bytes = Buffer.concat([
      Buffer.from(`${HEADER}o,`),
      Buffer.from([0xff]),
      Buffer.from(`,success,\r\no,"${'x'.repeat(300)}\n",success,\r\n${GOOD}`),
    ]);
    const rows = await read(bytes, { sizes: [60, 100, 100] }, 200);
    expect(refusals(rows)[0]).toMatch(/^the row is not valid UTF-8/);
    expect(rows.map(({ isTooLong }) => isTooLong)).toEqual([false, true, false]);
  });
});

describe('a file is refused', () => {
  it.each([
    [
      'id,action,status,colour\r\n',
      /line 1 is not the header of an export: "colour" is none; the columns/,
    ],
    ['{"a":1}\n', /line 1 is not the header of an export/],
    ['organizationId,action,status,action\n', /line 1 has the column action twice/],
    ['id,action\n', /line 1 lacks organizationId, status, which every event needs; --organization/],
    [
      'organizationId,action,status\no,a,"success\r\n\r\n',
      /ends inside a quoted cell of the row that begins in line 2/,
    ],
    ['\u00ff\u00fei\u0000d\u0000', /UTF-16/],
  ])('%j', async (content, reason) => {
    await expect(read(Buffer.from(content, 'latin1'))).rejects.toThrow(reason);
  });

  it('not for an organization that is given', async () => {
    const rows = await read('action;status\r\na;success\r\n', { organizationId: 'o' });
    expect(eventsIn(rows)).toEqual([{ action: 'a', status: 'success' }]);
  });

  it('with an unknown column rather than read as lines', () => {
    expect(beginsCsv('id,colour\n')).toBe(true);
  });

  it.each(['{"action":1,"status":2}', '[1]', 'action', 'a,b', ''])('%j is none', (content) => {
    expect(beginsCsv(content)).toBe(false);
  });
});
