import fc from 'fast-check';
import type { Format } from './record-formats';
import { type EventLine, RecordReader, type RefusedLine } from './record-reader';
import type { Line } from '../platform/runtime/line-splitter';

const UUID_V8 = /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

function lineOf(content: string | Buffer, number = 1): Line {
  return { number, bytes: Buffer.from(content), isTooLong: false };
}

function read(
  format: Format,
  content: string,
  organizationId?: string,
  number = 1,
): EventLine | RefusedLine {
  const outcome = new RecordReader(format, organizationId).read(lineOf(content, number));
  if (outcome === undefined) throw new Error('the line is blank');
  return outcome;
}

function eventText(format: Format, content: string, organizationId?: string, number = 1): string {
  const outcome = read(format, content, organizationId, number);
  if (!('event' in outcome)) throw new Error(outcome.reason.join());
  return outcome.event;
}

const EDIT =
  '{"time":"2015-09-12T00:46:58.771Z","channel":"#vi.wikipedia","comment":"","isNew":true,"namespace":"Main","page":"P","user":"U","n":1.0}';
const EVENT =
  '{"id":"0198c1f2-0000-7000-8000-000000000001","organizationId":"o","action":"a","status":"success"}';

describe('RecordReader', () => {
  it.each(['', ' ', '\r', '\t\r'])('passes over the blank line %j', (content) => {
    expect(new RecordReader('event', undefined).read(lineOf(content))).toBeUndefined();
  });

  it('takes a byte-order mark at the start of the file only', () => {
    expect(eventText('event', `\ufeff${EVENT}\r`)).toBe(EVENT);
    expect(read('event', `\ufeff${EVENT}`, undefined, 2)).toMatchObject({
      reason: [expect.stringMatching(/not valid JSON/)],
    });
  });

  it('refuses bytes that are not UTF-8 rather than replace them', () => {
    const bytes = Buffer.concat([Buffer.from('{"a":"'), Buffer.from([0xff]), Buffer.from('"}')]);
    expect(new RecordReader('event', undefined).read(lineOf(bytes))).toEqual({
      line: 1,
      position: 1,
      record: '{"a":"\ufffd"}',
      reason: [expect.stringMatching(/not valid UTF-8/)],
    });
  });

  it('refuses a line that is too long', () => {
    const line = { number: 9, bytes: Buffer.from('{"a'), isTooLong: true };
    expect(new RecordReader('event', undefined).read(line)).toMatchObject({
      line: 9,
      record: '{"a',
    });
  });

  it.each(['null', '1', '"x"', '[{}]'])('refuses %s as not an object', (content) => {
    expect(read('wikipedia', content)).toMatchObject({ reason: ['the line is not a JSON object'] });
  });

  it('derives the id of a record from format, organization, line and content alone', () => {
    const idOf = (text: string) => (JSON.parse(text) as { id: string }).id;
    const id = idOf(eventText('wikipedia', EDIT));
    expect(id).toMatch(UUID_V8);
    expect(idOf(eventText('wikipedia', ` ${EDIT}\r`))).toBe(id);
    expect(idOf(eventText('wikipedia', EDIT, undefined, 2))).not.toBe(id);
    expect(idOf(eventText('wikipedia', EDIT, 'o'))).not.toBe(id);
    expect(idOf(eventText('wikipedia', EDIT.replace('1.0', '1')))).not.toBe(id);
  });

  it('derives the same id of a CSV row by either of its formats', () => {
    const content = { json: '{"organizationId":"o","action":"a","status":"success"}' };
    const raw = { ...lineOf('o,a,success', 2), content };
    const [one, other] = (['csv', 'event'] as const).map((format) =>
      new RecordReader(format, undefined).read(raw),
    );
    expect(one).toHaveProperty('event', expect.stringMatching(/^{"id":/));
    expect(other).toEqual(one);
  });

  it('keeps the record as metadata to the letter', () => {
    const value = fc.oneof(
      fc.constantFrom(
        '1.688560107857E9',
        '9223372036854775807',
        '-0',
        '1.0',
        '1e400',
        '0.1000000000000000000001',
      ),
      fc.json(),
    );
    fc.assert(
      fc.property(value, (text) => {
        const record = `{ "time":"t","channel":"c",\t"x": ${text} }`;
        expect(eventText('wikipedia', record).endsWith(`,"metadata":${record}}`)).toBe(true);
      }),
    );
  });

  it('leaves out carriage returns between tokens', () => {
    expect(eventText('wikipedia', '{"time":"t",\r"channel":"c\\r"}')).toMatch(
      /"metadata":\{"time":"t","channel":"c\\r"\}\}$/,
    );
  });
});

describe('wikipedia', () => {
  it('maps an edit', () => {
    expect(JSON.parse(eventText('wikipedia', EDIT))).toEqual({
      id: expect.stringMatching(UUID_V8),
      timestamp: '2015-09-12T00:46:58.771Z',
      organizationId: '#vi.wikipedia',
      principalId: 'U',
      action: 'page.create',
      targetResourceType: 'Main',
      targetResourceId: 'P',
      status: 'success',
      dataClassification: 'PUBLIC',
      metadata: JSON.parse(EDIT),
    });
  });

  it('leaves a name that is too long to the metadata', () => {
    const event = JSON.parse(eventText('wikipedia', EDIT.replace('"P"', `"${'p'.repeat(256)}"`)));
    expect(event).not.toHaveProperty('targetResourceId');
    expect(event.metadata.page).toHaveLength(256);
  });

  it.each(['time', 'channel'])('refuses a record without %s', (name) => {
    expect(read('wikipedia', EDIT.replace(`"${name}"`, '"other"'))).toMatchObject({
      reason: [expect.stringMatching(new RegExp(`^${name} is missing`))],
    });
  });
});

describe('event', () => {
  it('sends the line as it is', () => {
    const spaced = EVENT.replace('{', '{ ')
      .replace('"a"', '\t"a"')
      .replace('}', ',"metadata":{"n":1e400}}');
    expect(eventText('event', spaced)).toBe(spaced);
  });

  it('takes out what the service made and keeps the spelling of the rest', () => {
    const exported = EVENT.replace(
      '}',
      ',"\\u0073equence":"12","metadata":{"n":-0, "sequence":1.0},"recordedAt":"t"}',
    );
    expect(eventText('event', exported)).toBe(
      EVENT.replace('}', ',"metadata":{"n":-0, "sequence":1.0}}'),
    );
  });

  it('replaces the organization by --organization', () => {
    expect(eventText('event', EVENT, 'mine')).toBe(
      '{"organizationId":"mine","id":"0198c1f2-0000-7000-8000-000000000001","action":"a","status":"success"}',
    );
  });

  it.each(['{"action":"a"}', '{"id":null,"action":"a"}'])('adds an id to %s', (content) => {
    const text = eventText('event', content);
    expect(text).toMatch(/^\{"id":"[^"]+","action":"a"\}$/);
    expect((JSON.parse(text) as { id: string }).id).toMatch(UUID_V8);
  });

  it('makes an object of the empty one', () => {
    expect(eventText('event', '{ }', 'o')).toMatch(/^\{"id":"[^"]+","organizationId":"o"\}$/);
  });

  it('refuses a member that is there twice, however it is spelled', () => {
    expect(read('event', '{"action":"a","\\u0061ction":"b"}')).toMatchObject({
      reason: ['"action" is there twice'],
    });
  });
});
