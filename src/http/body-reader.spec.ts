import fc from 'fast-check';
import { exactJsonText } from '../platform/runtime/lossless-json';
import { parseInPieces, parseJsonBytes } from './body-reader';
import { splitJsonArray } from '../platform/runtime/json-array-splitter';
import { EventLoopYielder } from '../platform/runtime/event-loop-yielder';

const RUNS = 60;
const portions = new EventLoopYielder();
/** Text so long that a list of some of these is parsed in pieces. */
const FILLER = 'x'.repeat(40_000);

/** Returns the outcome of a read: the value and the stored texts of its metadata, or the error. */
async function outcomeOf(read: () => unknown): Promise<unknown> {
  try {
    const value = await read();
    return { value, exact: exactIn(value) };
  } catch (error) {
    const { code, message, errors } = error as Record<string, unknown>;
    return { code, message, errors };
  }
}

function exactIn(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) =>
    name === 'metadata' && typeof inner === 'object' && inner !== null
      ? [exactJsonText(inner as object)]
      : exactIn(inner),
  );
}

async function expectSame(text: string | Buffer): Promise<void> {
  const bytes = Buffer.from(text as string);
  const whole = await outcomeOf(() => parseJsonBytes(bytes));
  expect(await outcomeOf(() => parseInPieces(bytes, portions))).toEqual(whole);
}

/** JSON texts of elements, some long, some with white space. */
const element = fc
  .tuple(
    fc.jsonValue({ maxDepth: 3 }),
    fc.constantFrom('', FILLER),
    fc.constantFrom('1', '1.0', '9223372036854775807', '-0', '1E3', '0.1'),
    fc.constantFrom('', ' ', '\n\t'),
  )
  .map(
    ([value, filler, number, space]) =>
      `${space}{"a":${JSON.stringify(value)},${space}"f":"${filler},]}\\"{[ü","metadata":{"n":${number}}}${space}`,
  );

const body = fc
  .tuple(
    fc.array(element, { maxLength: 8 }),
    fc.constantFrom('"events"', '"ev\\u0065nts"', '"__proto__"', '""'),
    fc.constantFrom('', '"batchSize": 5,', '"x":[],', '"x":{"events":[1,2]},', '"y":"events",'),
    fc.constantFrom('', ',"batchSize":7', ',"z":[1,[2,"]"]]', ',"events":[]'),
  )
  .map(
    ([elements, name, before, after]) => `{${before} ${name} : [${elements.join(',')}]${after}}`,
  );

describe('parseInPieces', () => {
  it('returns the values and errors of parseJsonBytes, with the same numbers', async () => {
    await fc.assert(
      fc.asyncProperty(body, (text) => expectSame(text)),
      { numRuns: RUNS },
    );
  });

  it('returns the same error for broken bodies', async () => {
    const edit = fc.tuple(
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.constantFrom(...'{}[],:"\\ 1a', ''),
    );
    await fc.assert(
      fc.asyncProperty(body, edit, fc.nat(3), async (text, [place, put], removed) => {
        const at = Math.floor(place * text.length);
        await expectSame(text.slice(0, at) + put + text.slice(at + removed));
      }),
      { numRuns: RUNS },
    );
  });

  const long = (...elements: string[]) => elements.map((one) => one.replace('F', FILLER)).join(',');
  it.each([
    ['a comma behind the last', `{"events":[${long('"F"', '"F"', '1')},]}`],
    ['a comma before a piece', `{"events":[${long('"F"', '"F"')},,${long('"F"', '"F"')}]}`],
    ['an outermost list', `["a",[${long('"F"', '"F"', '1')}]]`],
    ['another bracket at the end', `{"events":[${long('"F"', '"F"', '1')}}`],
    ['two of the name', `{"events":[${long('"F"', '"F"', '1')}],"events":[1]}`],
    ['no end', `{"events":[${long('"F"', '"F"', '1')}`],
    ['no end of a string', `{"events":[${long('"F"', '"F"', '1')},"`],
    ['a name twice in an element', `{"events":[${long('"F"', '"F"')},{"a":1,"a":2}]}`],
    ['a byte order mark', `\ufeff{"events":[${long('"F"', '"F"', '1')}]}`],
    ['a byte order mark within', `{"events":[${long('"F"', '"F"')},\ufeff1]}`],
    ...[62, 63].map((depth): [string, string] => [
      `${depth} levels in an element`,
      `{"events":[${long('"F"', '"F"')},${'['.repeat(depth)}${']'.repeat(depth)}]}`,
    ]),
  ])('is not mistaken about %s', async (_, text) => {
    expect(splitJsonArray(Buffer.from(text))?.pieces.length).not.toBe(1);
    await expectSame(text);
  });

  it('refuses bytes that are no UTF-8, wherever they are', async () => {
    const text = Buffer.from(`{"events":[${long('"F"', '"F"', '"é"', '1')}]}`);
    const at = text.lastIndexOf(0xc3);
    await expectSame(Buffer.concat([text.subarray(0, at), text.subarray(at + 1)]));
  });

  it('counts exact numbers over all pieces', async () => {
    const numbers = `[${'1.0,'.repeat(30_000)}1.0]`;
    const text = `{"events":[${Array.from({ length: 18 }, () => numbers).join(',')}]}`;
    expect(splitJsonArray(Buffer.from(text))?.pieces).toHaveLength(18);
    await expectSame(text);
  });

  it('ends with its signal, before the next piece', async () => {
    const text = Buffer.from(
      `{"events":[${Array.from({ length: 40 }, () => `"${FILLER}"`).join(',')}]}`,
    );
    const leaving = new AbortController();
    const reading = parseInPieces(text, portions, leaving.signal);
    await portions.yieldIfDue();
    leaving.abort(new Error('left'));
    await expect(reading).rejects.toThrow('left');
  });

  it('lets other work run between the pieces', async () => {
    const text = Buffer.from(
      `{"events":[${Array.from({ length: 40 }, () => `"${FILLER}"`).join(',')}]}`,
    );
    let turns = 0;
    let isOver = false;
    const count = (): void => {
      turns += 1;
      if (!isOver) setImmediate(count);
    };
    setImmediate(count);
    await parseInPieces(text, portions);
    isOver = true;
    expect(turns).toBeGreaterThan(10);
  });
});

describe('a body that is not well-formed', () => {
  it.each([
    ['[1,]', 4],
    ['{"a": [true, nul]}', 14],
    ['{"a":}', 6],
    ['{"a":,"b":[]}', 6],
    ['[[],{},"x,]\\"", 1e3, ,1]', 22],
    ['{"a":undefined}', 6],
    ['[1 2]', 4],
    ['x', 1],
    ['', 0],
    ['[1', 3],
    ['[\f1]', 2],
    ['{"a":\u00a01}', 6],
    ['[tru]', 2],
    ['[-]', 3],
    ['[1,"a\\\\",}]', 10],
  ])('is told with its place: %s', (text, column) => {
    const place = column === 0 ? 'empty' : `column ${column}.`;
    expect(() => parseJsonBytes(Buffer.from(text))).toThrow(
      expect.objectContaining({ detail: expect.stringContaining(place) as string }),
    );
  });

  // A parser that reads them several times, or recursively, would take minutes or overflow its stack.
  it.each([
    ['quotes', `[\f"${'\\"'.repeat(2_000_000)}`],
    ['a string', `{"a":"${'x'.repeat(9_000_000)}","b":,}`],
    ['numbers', `[${'1,'.repeat(2_000_000)},]`],
  ])('is told when it is megabytes of %s', (_, text) => {
    expect(() => parseJsonBytes(Buffer.from(text))).toThrow(
      expect.objectContaining({ code: 'MALFORMED_JSON' }),
    );
  });
});
