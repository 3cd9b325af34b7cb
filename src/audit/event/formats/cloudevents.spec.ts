import * as fc from 'fast-check';
import { memberTexts } from '../../../../test/support/json-text';
import { recordedEvent, recordedWith } from '../../../../test/support/recorded-event';
import { AppError } from '../../../platform/errors/app-error';
import { derivedUuid } from '../../../platform/runtime/derived-uuid';
import { CLOUDEVENTS } from './cloudevents';

describe('an event as a CloudEvent', () => {
  it('has attributes of the types that CloudEvents 1.0 has, and the event to the letter', () => {
    fc.assert(
      fc.property(recordedEvent, (eventText) => {
        const written = CLOUDEVENTS.write(eventText);
        expect(written).not.toMatch(/[\n\r]/);
        expect(memberTexts(written).get('data')).toBe(eventText);
        const attributes = JSON.parse(written) as Record<string, unknown>;
        delete attributes.data;
        for (const [name, value] of Object.entries(attributes)) {
          expect(name).toMatch(/^[a-z0-9]{1,20}$/);
          expect(isText(value)).toBe(true);
        }
        expect(attributes).toMatchObject({
          specversion: '1.0',
          datacontenttype: 'application/json',
        });
        expect(attributes.source).toMatch(/^\/organizations\/[\w.!~*'()%-]+$/);
        expect(attributes.time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$/);
      }),
      { numRuns: 1000, seed: 20 },
    );
  });

  it('has the members by which it is routed', () => {
    const members = { action: 'invoice.approve', organizationId: 'a/b ü' };
    const target = { targetResourceType: 'Invoice', targetResourceId: '7' };
    const { data, ...attributes } = JSON.parse(
      CLOUDEVENTS.write(recordedWith({ ...members, ...target })),
    ) as Record<string, unknown>;
    expect(data).toMatchObject({ sequence: '1042' });
    expect(attributes).toEqual({
      specversion: '1.0',
      id: '019ab1c2-3e4a-7000-8000-1234567890ab',
      source: '/organizations/a%2Fb%20%C3%BC',
      type: 'invoice.approve',
      subject: 'Invoice/7',
      time: '2026-11-23T10:30:00.123456789Z',
      datacontenttype: 'application/json',
      sequence: '0000000000000001042',
      recordedtime: '2026-11-23T10:30:00.234567Z',
    });
  });

  it.each(['a\u0000b', 'a\tb', 'a\u0085b', 'a\ufdd0b', 'a\u{1ffff}b', 'a\ud800b'])(
    'replaces what its type "String" excludes: %j',
    (action) => {
      expect(JSON.parse(CLOUDEVENTS.write(recordedWith({ action }))).type).toBe('a\ufffdb');
    },
  );
});

const FOREIGN = {
  specversion: '1.0',
  id: 'b3f1c8',
  source: 'https://billing.example/accounts/7',
  type: 'invoice.approve',
};

const readOf = (event: object) => CLOUDEVENTS.read(JSON.stringify(event));
const memberOf = (event: object) => JSON.parse(readOf(event).text) as Record<string, unknown>;

/** Path and message of each fault. */
function faultsOf(event: unknown): string[] {
  try {
    CLOUDEVENTS.read(JSON.stringify(event));
  } catch (error) {
    expect(error).toBeInstanceOf(AppError);
    return ((error as AppError).errors ?? []).map(({ path, message }) => `${path} ${message}`);
  }
  return [];
}

describe('a CloudEvent that is read', () => {
  it('is the event that it was written of, to the letter, without what the service makes', () => {
    fc.assert(
      fc.property(recordedEvent, (eventText) => {
        const read = CLOUDEVENTS.read(CLOUDEVENTS.write(eventText));
        const members = memberTexts(eventText);
        members.delete('sequence');
        members.delete('recordedAt');
        expect([...memberTexts(read.text)]).toEqual([...members]);
        expect(read.namesOrganization).toBe(true);
      }),
      { numRuns: 2000, seed: 57 },
    );
  });

  it('has faults of one of our events within its data', () => {
    const { placeOf } = CLOUDEVENTS.read(CLOUDEVENTS.write(recordedWith({})));
    expect(['action', 'targets[1].id', '', '["a b"]'].map(placeOf)).toEqual([
      'data.action',
      'data.targets[1].id',
      'data',
      'data["a b"]',
    ]);
  });

  it('is a foreign one unless data, id and source agree', () => {
    const ours = JSON.parse(CLOUDEVENTS.write(recordedWith({}))) as Record<string, unknown>;
    for (const changed of [
      { ...ours, id: 'x' },
      { ...ours, source: '/organizations/other' },
      { ...ours, data: [ours.data] },
      { ...ours, data: null },
    ]) {
      expect(memberOf(changed).metadata).toEqual(changed);
    }
  });

  it('has its attributes in the members for them, and is itself the metadata, to the letter', () => {
    const event = {
      ...FOREIGN,
      subject: 'Invoice/7',
      time: '2026-11-23T10:30:00.123456789+01:00',
      organizationid: 'org-1',
      authid: 'user-1',
      authtype: 'user',
      principalname: 'Ada',
      outcome: 'FAILURE',
      outcomedescription: 'over the limit',
      dataclassification: 'restricted',
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      sessionid: 's-1',
      ipaddress: '198.51.100.7',
      useragent: 'curl/8',
      schemaversion: 2,
      anything: true,
    };
    const text = `${JSON.stringify(event).slice(0, -1)}, "data": [1.50, 9223372036854775807]}`;
    const read = CLOUDEVENTS.read(text);
    const { metadata, ...members } = JSON.parse(read.text) as Record<string, unknown>;
    expect(metadata).toBeDefined();
    expect(memberTexts(read.text).get('metadata')).toBe(text);
    expect(members).toEqual({
      id: derivedUuid(['cloudevents', event.source, event.id]),
      timestamp: event.time,
      organizationId: 'org-1',
      principalId: 'user-1',
      principalType: 'user',
      principalName: 'Ada',
      action: 'invoice.approve',
      targetResourceType: 'Invoice',
      targetResourceId: '7',
      status: 'failure',
      outcomeDescription: 'over the limit',
      dataClassification: 'CONFIDENTIAL',
      correlationId: '0af7651916cd43dd8448eb211c80319c',
      sessionContext: { sessionId: 's-1', ipAddress: '198.51.100.7', userAgent: 'curl/8' },
      source: { service: event.source },
      schemaVersion: '2',
    });
    expect(
      ['action', 'timestamp', 'principalId', 'source.service', 'metadata.data[0]', 'metadata'].map(
        read.placeOf,
      ),
    ).toEqual(['type', 'time', 'authid', 'source', 'data[0]', '']);
  });

  it('has an id by its source and its id', () => {
    const ids = [
      FOREIGN,
      { ...FOREIGN, type: 'other' },
      { ...FOREIGN, id: 'b3f1c9' },
      { ...FOREIGN, source: 'urn:x' },
      { ...FOREIGN, id: '', source: `${FOREIGN.source}${FOREIGN.id}` },
    ].map((event) => (event.id === '' ? undefined : memberOf(event).id));
    expect(ids[1]).toBe(ids[0]);
    expect(new Set(ids).size).toBe(4);
  });

  it.each([
    ['Invoice/7', 'Invoice', '7'],
    ['file.txt', undefined, 'file.txt'],
    ['/blobServices/default/x', undefined, '/blobServices/default/x'],
    ['a/b/c', undefined, 'a/b/c'],
    ['Invoice/', undefined, 'Invoice/'],
    ['x'.repeat(256), undefined, undefined],
  ])('has the subject %s as its target', (subject, targetResourceType, targetResourceId) => {
    const { targetResourceType: type, targetResourceId: id } = memberOf({ ...FOREIGN, subject });
    expect([type, id]).toEqual([targetResourceType, targetResourceId]);
  });

  it('leaves to metadata what is too long, and null is absent', () => {
    const source = `/${'x'.repeat(300)}`;
    const event = { ...FOREIGN, source, principalid: 'y'.repeat(256), authid: 'a', time: null };
    const { source: from, principalId, timestamp } = memberOf(event);
    expect([from, principalId, timestamp]).toEqual([undefined, 'a', undefined]);
  });

  it.each([
    [null, ' must be a CloudEvent, a JSON object'],
    [[], ' must be a CloudEvent, a JSON object'],
    [{ ...FOREIGN, specversion: '0.3' }, 'specversion must be 1.0'],
    [{ ...FOREIGN, id: undefined }, 'id is required'],
    [{ ...FOREIGN, id: 7 }, 'id must be text'],
    [{ ...FOREIGN, source: '' }, 'source must be text that is not empty'],
    [{ ...FOREIGN, type: null }, 'type is required'],
    [{ ...FOREIGN, Subject: 'x' }, 'Subject is no name of an attribute'],
    [{ ...FOREIGN, 'a-b': 'x' }, 'a-b is no name of an attribute'],
    [{ ...FOREIGN, ext: {} }, 'ext must be text, an integer, true or false'],
    [{ ...FOREIGN, ext: 1.5 }, 'ext must be an integer of 32 bits'],
    [{ ...FOREIGN, ext: 2 ** 31 }, 'ext must be an integer of 32 bits'],
    [{ ...FOREIGN, subject: 'a\u0000' }, 'subject must not contain control characters'],
    [{ ...FOREIGN, subject: '\ud800' }, 'subject must not contain control characters'],
    [{ ...FOREIGN, outcome: 'ok' }, 'outcome must be one of success, failure, attempt, unknown'],
    [{ ...FOREIGN, dataclassification: 'secret' }, 'dataclassification must be one of public'],
    [{ ...FOREIGN, data_base64: 1 }, 'data_base64 must be text in base64'],
    [{ ...FOREIGN, data: 1, data_base64: 'AA==' }, 'data_base64 must not be there together'],
  ])('is refused: %j', (event, message) => {
    const faults = faultsOf(event);
    expect(faults).toHaveLength(1);
    expect(faults[0]).toContain(message);
  });

  it('names all faults', () => {
    expect(faultsOf({ id: 1, A: 1 }).map((fault) => fault.split(' ')[0])).toEqual([
      'specversion',
      'id',
      'source',
      'type',
      'A',
    ]);
  });
});

/** "String" of CloudEvents, not empty: by code points, independent of the pattern of the code. */
function isText(value: unknown): boolean {
  if (typeof value !== 'string' || value === '') return false;
  return [...value].every((character) => {
    const code = character.codePointAt(0) ?? 0;
    const isControl = code <= 0x1f || (code >= 0x7f && code <= 0x9f);
    const isNoncharacter = (code >= 0xfdd0 && code <= 0xfdef) || (code & 0xfffe) === 0xfffe;
    return !isControl && !isNoncharacter && !(code >= 0xd800 && code <= 0xdfff);
  });
}
