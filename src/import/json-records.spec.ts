import fc from 'fast-check';
import { JsonRecordSplitter } from './json-records';

function recordsIn(text: string, sizes: number[] = [], lists = ['Records'], maxBytes = 1e6) {
  const splitter = new JsonRecordSplitter(maxBytes, lists);
  const bytes = Buffer.from(text);
  const found = [];
  let from = 0;
  for (const size of [...sizes, bytes.length]) {
    found.push(...splitter.split(bytes.subarray(from, from + size)));
    from += size;
  }
  const last = splitter.end();
  return last ? [...found, last] : found;
}

const textsIn = (...given: Parameters<typeof recordsIn>) =>
  recordsIn(...given).map(({ bytes }) => bytes.toString());

describe('JSON records', () => {
  const json = fc
    .json({ maxDepth: 3 })
    .map((text) => JSON.parse(JSON.stringify(JSON.parse(text))) as unknown);
  const frames: [string, (list: string) => string][] = [
    ['an array', (list) => list],
    ['a list of an object', (list) => `{"Records":${list}}`],
    [
      'a list between members',
      (list) => `{"a":["Records",{"Records":[1]}],"Records" : ${list},"b":[2]}`,
    ],
  ];

  it.each(frames)('are the elements of %s, whatever the layout and the pieces', (_, frame) => {
    const layout = fc.constantFrom(undefined, 2, '\t');
    const sizes = fc.array(fc.integer({ min: 1, max: 7 }), { maxLength: 30 });
    fc.assert(
      fc.property(fc.array(json, { maxLength: 5 }), layout, sizes, (values, indent, pieces) => {
        const text = ` \n${frame(JSON.stringify(values, null, indent))}\n`;
        const found = recordsIn(text, pieces);
        expect(found.map(({ bytes }) => JSON.parse(bytes.toString()) as unknown)).toEqual(values);
        expect(found.map(({ element }) => element)).toEqual(values.map((_, index) => index + 1));
      }),
      { numRuns: 500 },
    );
  });

  it('are outermost objects where there is no list', () => {
    const text = '{"a":\n1}\n\n{"b":{"Records":[]},\n"c":"]"} {"Records":5}';
    expect(textsIn(text)).toEqual(['{"a":\n1}', '{"b":{"Records":[]},\n"c":"]"}', '{"Records":5}']);
    expect(recordsIn(text).map(({ number }) => number)).toEqual([1, 4, 5]);
  });

  it('keep the spelling of their numbers', () => {
    expect(textsIn('[{"a":1.50E3},9007199254740993]')).toEqual([
      '{"a":1.50E3}',
      '9007199254740993',
    ]);
  });

  it('are let go beyond the limit, and the next are not', () => {
    const found = recordsIn(`[{"a":"${'x'.repeat(5000)}"},{"b":1}]`, [20, 20, 2000], [], 100);
    expect(found.map(({ isTooLong }) => isTooLong)).toEqual([true, false]);
    expect(found[0]?.bytes.length).toBeLessThanOrEqual(1024);
    expect(found[1]?.bytes.toString()).toBe('{"b":1}');
  });

  it.each(['[', '[{"a":1}', '[{"a":1},{"b"', '{"Records":[{}'])('need the end of %s', (text) => {
    expect(() => recordsIn(text)).toThrow(/ends inside its list/);
  });
});
