import { buildSchema, specifiedRules, type DocumentNode } from 'graphql';
import { readDocument, validateDocument } from './graphql-documents';

const schema = buildSchema('type Query { a: Int, b: Int }');

describe('documents that come again', () => {
  it('are read once, and others are others', () => {
    const text = '{ a }';
    expect(readDocument(text)).toBe(readDocument('{ a }'));
    expect(readDocument('{ b }')).not.toBe(readDocument(text));
  });

  it('are not kept when they are long, and fewer are kept than come', () => {
    const long = `{ a ${' '.repeat(20_000)} }`;
    expect(readDocument(long)).not.toBe(readDocument(long));
    const first = readDocument('{ first: a }');
    for (let index = 0; index < 2000; index += 1) readDocument(`{ alias${index}: a }`);
    expect(readDocument('{ first: a }')).not.toBe(first);
  });

  it('that cannot be read are refused each time', () => {
    for (let time = 0; time < 2; time += 1) expect(() => readDocument('{ a')).toThrow(/Syntax/);
  });

  it('are validated once when valid, each time when not, and under each schema', () => {
    let validations = 0;
    const rules = [
      ...specifiedRules,
      () => ({
        Document: () => {
          validations += 1;
        },
      }),
    ];
    const validate = (document: DocumentNode, under = schema) =>
      validateDocument(under, document, rules).map(({ message }) => message);
    const good = readDocument('{ a b }');
    expect([validate(good), validate(good), validations]).toEqual([[], [], 1]);
    const bad = readDocument('{ c }');
    expect(validate(bad)).toEqual(validate(bad));
    expect([validate(bad).length, validations]).toEqual([1, 4]);
    expect(validate(good, buildSchema('type Query { a: Int }'))).toHaveLength(1);
  });
});
