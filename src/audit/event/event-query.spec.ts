import { EventQueryError, MAX_QUERY_LENGTH, parseEventQuery, QUALIFIERS } from './event-query';
import { parseMetadataTerms } from './metadata-terms';
import { literalTerm, parseValueTerm, plainAddress } from './value-terms';
import * as fc from 'fast-check';

describe('the query language', () => {
  it.each<[string, object]>([
    ['actor:alice', { principalIds: ['alice'] }],
    ['principal:alice,bob actor:carol', { principalIds: ['alice', 'bob', 'carol'] }],
    ['-actor:alice', { principalIds: ['!alice'] }],
    ['action:invoice.*', { actions: ['invoice.*'] }],
    ['actor:"*x!*"', { principalIds: ['*x!\\*'] }],
    ['actor:"a, b"', { principalIds: ['a, b'] }],
    ['actor:a\\,b', { principalIds: ['a,b'] }],
    ['-actor:"!a"', { principalIds: ['!!a'] }],
    ['-actor:"\\\\!a"', { principalIds: ['!\\!a'] }],
    ['actor:"say \\"hi\\""', { principalIds: ['say "hi"'] }],
    ['actor:CORP\\alice', { principalIds: ['CORP\\alice'] }],
    ['actor:urn:user:1', { principalIds: ['urn:user:1'] }],
    ['-status:SUCCESS', { statuses: ['!success'] }],
    ['classification:phi', { dataClassifications: ['PHI'] }],
    ['ip:10.1.0.0/16', { ipAddresses: ['10.1.0.0/16'] }],
    ['metadata.order.id:42', { metadata: ['order.id=42'] }],
    ['metadata.order.id:"42"', { metadata: ['order.id="42"'] }],
    ['-metadata.a\\:b:*', { metadata: ['!a:b=*'] }],
    ['metadata.a=b:1', { metadata: ['a\\=b=1'] }],
    ['target:inv-1 target_type:Invoice', { resourceIds: ['inv-1'], resourceTypes: ['Invoice'] }],
  ])('reads %s', (text, filter) => {
    expect(parseEventQuery(text)).toEqual({ filter, texts: [] });
  });

  it.each<[string, object[]]>([
    ['refund', [{ text: 'refund', isNegated: false }]],
    ['-refund', [{ text: 'refund', isNegated: true }]],
    ['Refund "IN full"', [{ text: 'refund', isNegated: false }, { text: 'in full', isNegated: false }]],
    ['"a:b c"', [{ text: 'a:b c', isNegated: false }]],
    ['http\\://x', [{ text: 'http://x', isNegated: false }]],
    ['大小大', [{ text: '大小大', isNegated: false }]],
    ['a"b"', [{ text: 'a"b"', isNegated: false }]],
    ['\u3000 refund\u00a0', [{ text: 'refund', isNegated: false }]],
  ])('reads the texts of %s', (text, texts) => {
    expect(parseEventQuery(text)).toEqual({ filter: {}, texts });
  }); // prettier-ignore

  it('reads instants', () => {
    const { filter } = parseEventQuery(
      'after:2026-11-01 before:2026-11-23T10:30:00.123456789+01:00',
    );
    expect(filter.startDate?.micros).toBe(Date.UTC(2026, 10, 1) * 1000);
    expect(filter.endDate).toEqual({
      micros: Date.UTC(2026, 10, 23, 9, 30, 0, 123) * 1000 + 456,
      submicros: '789',
    });
  });

  it.each([
    ['acto:alice', 'at character 1: unknown qualifier "acto"; allowed: actor, principal, action'],
    ['xxx y😀y z:1', 'at character 9: unknown qualifier "z"'],
    ['actor:', 'at character 1: actor needs a value'],
    ['actor:a,,b', 'at character 1: a value is missing'],
    ['actor:""', 'at character 1: a value is missing'],
    ['abc "def', 'at character 5: a closing quote is missing'],
    ['"abc"def', 'at character 6: a space must follow the closing quote'],
    ['status:done', 'at character 1: status must be one of attempt, success, failure'],
    ['ip:10.1.0.0/33', 'at character 1: must be an address, or a network'],
    ['ab', 'at character 1: a text to search for must have at least 3 characters'],
    ['"a\u0001b"', 'at character 1: a text must not have the character U+0001'],
    ['-', 'at character 1: a text to search for must have'],
    ['after:yesterday', 'at character 1: after must have an ISO 8601 instant'],
    ['after:2026-01-01 after:2026-02-01', 'at character 18: after must be given once'],
    ['-after:2026-01-01', 'at character 1: after cannot be negated'],
    ['metadata.:1', 'at character 1: must begin with 1 to 32 names between dots'],
    ['actor:!', 'at character 1: must have a value after !'],
    [`${'abc '.repeat(11)}`, 'at character 41: at most 10 texts are allowed'],
    [`actor:${'a,'.repeat(100)}a`, 'at character 1: at most 100 values are allowed'],
  ])('refuses %s, and names the place', (text, message) => {
    expect(() => parseEventQuery(text)).toThrow(EventQueryError);
    expect(() => parseEventQuery(text)).toThrow(message);
  });

  it('takes time in proportion to its length, whatever it is made of', () => {
    for (const piece of ['"', '\\', '-', ':', ',', '!', '*', 'metadata.', 'a:"', ' ', '\\"']) {
      const text = piece.repeat(MAX_QUERY_LENGTH / piece.length);
      try {
        parseEventQuery(text);
      } catch (error) {
        expect(error).toBeInstanceOf(EventQueryError);
      }
    }
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
        try {
          parseEventQuery(text);
        } catch (error) {
          expect(error).toBeInstanceOf(EventQueryError);
        }
      }),
    );
  });

  it('has a qualifier for what events are asked for', () => {
    expect(QUALIFIERS).toEqual([
      'actor', 'principal', 'action', 'status', 'classification', 'resource_type', 'target_type', 'resource', 'target',
      'correlation', 'actor_type', 'session', 'ip', 'metadata.PATH', 'after', 'before',
    ]); // prettier-ignore
  });
});

describe('elements of lists', () => {
  it('stand for themselves, when they are escaped', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('!', '*', '\\', 'a', '/') , minLength: 1 }), (value) => {
        expect(parseValueTerm(literalTerm(value))).toEqual({ isNegated: false, kind: 'equal', value });
      }),
    );
  }); // prettier-ignore

  it.each([
    ['CORP\\alice', { kind: 'equal', value: 'CORP\\alice' }],
    ['a*b', { kind: 'equal', value: 'a*b' }],
    ['a!', { kind: 'equal', value: 'a!' }],
    ['a\\\\*', { kind: 'prefix', value: 'a\\' }],
    ['a\\*', { kind: 'equal', value: 'a*' }],
    ['!*', { isNegated: true, kind: 'any', value: '' }],
    ['\\*', { kind: 'equal', value: '*' }],
  ])('%s', (text, term) => {
    expect(parseValueTerm(text)).toEqual({ isNegated: false, ...term });
  });

  it.each(['10.0.0.0/33', '::/129', '10.0.0/8', '1::2::3/8'])('refuses the network %s', (text) => {
    expect(() => parseValueTerm(text, true)).toThrow(/must be an address, or a network/);
    expect(parseValueTerm(text)).toMatchObject({ kind: 'equal' });
  });

  it('knows addresses of IPv4 within IPv6', () => {
    expect(['::ffff:10.1.2.3', '::FFFF:a01:0203', '::1', 'x', 'fe80::1%eth0'].map(plainAddress)).toEqual([
      '10.1.2.3', '10.1.2.3', '::1', 'x', 'fe80::1%eth0',
    ]);
    expect(parseValueTerm('::ffff:10.0.0.0/104', true).value).toBe('10.0.0.0/8');
  }); // prettier-ignore
});

describe('conditions on metadata', () => {
  it('on one path are alternatives', () => {
    expect(parseMetadataTerms(['a=1', 'b', '!a=2', 'a=x', 'a.b=true'])).toEqual([
      { isNegated: false, path: ['a'], values: { texts: ['1', 'x'], prefixes: [], numbers: ['1'], words: [] } },
      { isNegated: false, path: ['b'] },
      { isNegated: false, path: ['a', 'b'], values: { texts: ['true'], prefixes: [], numbers: [], words: ['true'] } },
      { isNegated: true, path: ['a'], values: { texts: ['2'], prefixes: [], numbers: ['2'], words: [] } },
    ]);
  }); // prettier-ignore

  it.each(['=1', 'a..b', '.a', 'a.', 'a="', 'a="x" y', 'a="\\u0000"', 'a="\\ud800"'])(
    'refuses %s',
    (text) => {
      expect(() => parseMetadataTerms([text])).toThrow(RangeError);
    },
  );
});
