import * as fc from 'fast-check';
import { memberTexts } from '../../../../test/support/json-text';
import { recordedEvent, recordedWith } from '../../../../test/support/recorded-event';
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
