import * as fc from 'fast-check';
import { AppError } from '../../../platform/errors/app-error';
import { headerOfPlace, isBinaryCloudEvent, structuredCloudEvent } from './cloudevents-http';

const HEADERS = {
  'ce-specversion': '1.0',
  'ce-id': '1',
  'ce-source': '/x',
  'ce-type': 't',
  'content-type': 'application/json; charset=utf-8',
  host: 'x',
};

const structured = (headers: object, body = '{}') =>
  structuredCloudEvent({ ...HEADERS, ...headers }, Buffer.from(body));
const attribute = (header: string) =>
  (JSON.parse(structured({ 'ce-subject': header })) as Record<string, unknown>).subject;

describe('a CloudEvent in binary mode', () => {
  it('is told by any attribute that it must have', () => {
    expect(isBinaryCloudEvent({ 'ce-type': 't' })).toBe(true);
    expect(isBinaryCloudEvent({ 'ce-subject': 's' })).toBe(false);
    expect(isBinaryCloudEvent({ 'content-type': 'application/json' })).toBe(false);
  });

  it('has the headers as attributes and the body as data, to the letter', () => {
    expect(structured({ 'ce-myext': '7' }, ' {"n": 1.50}')).toBe(
      '{"specversion":"1.0","id":"1","source":"/x","type":"t","myext":"7",' +
        '"datacontenttype":"application/json; charset=utf-8","data": {"n": 1.50}}',
    );
  });

  it.each([
    ['Euro%20%E2%82%AC%20%F0%9F%98%80', 'Euro € 😀'],
    ['%e2%82%ac', '€'],
    ['%41', 'A'],
    ['100%', '100%'],
    ['%2541', '%41'],
    ['%zz', '%zz'],
    ['"a \\"b\\" \\\\ %20"', 'a "b" \\  '],
    ['a"b', 'a"b'],
    ['"a"b"', '"a"b"'],
    ['', ''],
  ])('decodes the header %s', (header, value) => {
    expect(attribute(header)).toBe(value);
  });

  it('decodes whatever the binding says to encode', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        const encoded = text.replace(/[^\x21\x23\x24\x26-\x7e]/gu, (one) =>
          Buffer.from(one).toString('hex').replace(/../g, '%$&'),
        );
        expect(attribute(encoded)).toBe(text);
      }),
      { numRuns: 1000 },
    );
  });

  it('takes raw bytes of UTF-8, which Node gives as Latin-1', () => {
    expect(attribute(Buffer.from('€').toString('latin1'))).toBe('€');
  });

  it.each(['%C0%A0', '%ff', '\xff', '%E2%82'])('refuses the header %j, no UTF-8', (header) => {
    expect(() => attribute(header)).toThrow(AppError);
    expect(() => attribute(header)).toThrow(/ce-subject must be UTF-8/);
  });

  it.each(['{', '{},"id":"2"', '1,2', '', '{"a":1,"a":2}', '\0'])(
    'puts no body into the event that is no JSON: %j',
    (body) => {
      if (body === '') expect(structured({}, body)).not.toContain('data"');
      else expect(() => structured({}, body)).toThrow();
    },
  );

  it.each([
    ['text/plain', 'data_base64'],
    ['application/octet-stream', 'data_base64'],
    ['application/xml', 'data_base64'],
    ['application/vnd.x+json', 'data'],
    ['text/json', 'data'],
  ])('has data of %s in %s', (type, member) => {
    const event = JSON.parse(structured({ 'content-type': type }, '"a"')) as object;
    expect(event).toMatchObject({
      datacontenttype: type,
      [member]: member === 'data' ? 'a' : Buffer.from('"a"').toString('base64'),
    });
  });

  it('names faults by header', () => {
    expect(
      ['type', 'datacontenttype', 'dataschema', 'data', 'data.a[0]', 'data_base64', ''].map(
        headerOfPlace,
      ),
    ).toEqual(['ce-type', 'Content-Type', 'ce-dataschema', 'data', 'data.a[0]', 'data_base64', '']);
  });
});
