import * as fc from 'fast-check';
import { recordedEvent, recordedWith } from '../../../../test/support/recorded-event';
import { CEF } from './cef';
import { contentOf } from './event-format';

interface CefEvent {
  header: string[];
  extension: Record<string, string>;
}

/** A reader of CEF: the header ends at its seventh bar, and a value where ` key=` follows. */
function readCef(line: string): CefEvent {
  const [, text = '', rest = ''] = /^((?:(?:[^|\\]|\\.)*\|){7})(.*)$/su.exec(line) ?? [];
  const header = [...text.matchAll(/((?:[^|\\]|\\.)*)\|/gsu)].map(([, field = '']) =>
    field.replace(/\\([\\|])/g, '$1'),
  );
  const pairs = [
    ...rest.matchAll(/(?:^| )([A-Za-z0-9]+)=((?:[^=\\]|\\.)*?)(?=$| [A-Za-z0-9]+=)/gsu),
  ];
  const length = pairs.reduce((sum, [whole]) => sum + whole.length, 0);
  expect(length).toBe(rest.length); // nothing between the pairs
  return {
    header,
    extension: Object.fromEntries(pairs.map(([, key = '', value = '']) => [key, unescaped(value)])),
  };
}

function unescaped(value: string): string {
  const breaks: Record<string, string> = { n: '\n', r: '\r' };
  return value.replace(/\\(.)/gs, (_, one: string) => breaks[one] ?? one);
}

const cut = (text: string, max: number) => [...text].slice(0, max).join('');

describe('an event in CEF', () => {
  it('is a line from which its values are read back', () => {
    fc.assert(
      fc.property(recordedEvent, (eventText) => {
        const line = CEF.write(eventText);
        expect(line).not.toMatch(/[\n\r]/);
        const { header, extension } = readCef(line);
        const event = contentOf(eventText);
        const name = event.action.replace(/\r\n|[\r\n]/g, ' ');
        const severity = event.status === 'failure' ? '5' : '3';
        expect(header).toEqual([
          'CEF:0',
          'audit-server',
          'audit-server',
          '1',
          name,
          name,
          severity,
        ]);
        const { suid = '', suser = '', msg = '', cs1 = '', cs4 = '', cn1 } = extension;
        expect({ suid, suser, msg, cs1, cs4, cn1 }).toEqual({
          suid: event.principalId ?? '',
          suser: event.principalName ?? '',
          msg: cut(event.outcomeDescription ?? '', 1023),
          cs1: event.organizationId,
          cs4: event.correlationId ?? '',
          cn1: event.sequence,
        });
        for (const key of Object.keys(extension)) expect(KEYS).toContain(key);
      }),
      { numRuns: 1000, seed: 20 },
    );
  });

  it('escapes what separates', () => {
    const line = CEF.write(
      recordedWith({
        action: 'a|b\\c=d\r\ne',
        principalId: 'k=v\\w|x\r\ny',
        sessionContext: { ipAddress: '198.51.100.7', userAgent: 'curl/8' },
        targets: [{ type: 'File', id: '/a b', name: null }],
        source: { service: 'files', host: 'h1' },
      }),
    );
    expect(line).toBe(
      'CEF:0|audit-server|audit-server|1|a\\|b\\\\c=d e|a\\|b\\\\c=d e|3|rt=1795429800234 start=1795429800123 ' +
        'externalId=019ab1c2-3e4a-7000-8000-1234567890ab outcome=success suid=k\\=v\\\\w|x\\r\\ny src=198.51.100.7 ' +
        'requestClientApplication=curl/8 sourceServiceName=files dvchost=h1 cs1=org-1 cs1Label=Organization cs2=File ' +
        'cs2Label=Target type cs3=/a b cs3Label=Target id cs5=INTERNAL cs5Label=Data classification cn1=1042 ' +
        'cn1Label=Sequence',
    );
  });

  it.each([
    ['198.51.100.7', { src: '198.51.100.7' }],
    ['2001:db8::1', { c6a2: '2001:db8::1', c6a2Label: 'Source IPv6 Address' }],
    ['AWS Internal', { shost: 'AWS Internal' }],
  ])('has %s where its kind belongs', (ipAddress, expected) => {
    const { extension } = readCef(CEF.write(recordedWith({ sessionContext: { ipAddress } })));
    const { src, c6a2, c6a2Label, shost } = extension;
    expect({ src, c6a2, c6a2Label, shost }).toEqual({
      ...{ src: undefined, c6a2: undefined, c6a2Label: undefined, shost: undefined },
      ...expected,
    });
  });
});

/** Keys of the dictionary of CEF that are in use. */
const KEYS = [
  ...[
    'rt',
    'start',
    'externalId',
    'outcome',
    'msg',
    'suid',
    'suser',
    'src',
    'shost',
    'c6a2',
    'c6a2Label',
  ],
  ...['requestClientApplication', 'sourceServiceName', 'dvchost', 'cn1', 'cn1Label'],
  ...[1, 2, 3, 4, 5, 6].flatMap((number) => [`cs${number}`, `cs${number}Label`]),
];
