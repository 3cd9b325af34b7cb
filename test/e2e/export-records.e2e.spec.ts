import { spawnSync } from 'node:child_process';
import Papa from 'papaparse';
import { fetchExport, linesOf, readPages } from '../support/export-client';
import { memberTexts } from '../support/json-text';
import { pythonCsv } from '../support/python-csv';
import { EVENTS, TestService, tokenOf } from '../support/test-service';

/** Made by hand in the shape of what importers send: AWS CloudTrail records and edits of Wikipedia, kept whole. */
const CLOUDTRAIL = [
  `{"organizationId":"111122223333","principalId":"arn:aws:sts::111122223333:assumed-role/role-x/session","action":"DescribeInstances","targetResourceType":"ec2.amazonaws.com","status":"failure","outcomeDescription":"Client.UnauthorizedOperation: You are not authorized, \\"see\\" below.\\nEncoded message: aB-c_d","timestamp":"2023-07-10T11:41:57Z","sessionContext":{"ipAddress":"AWS Internal","userAgent":"[S3Console/0.4, aws-internal/3 aws-sdk-java/1.11 Linux]"},"metadata":{"record":{"eventVersion":"1.08","requestParameters":null,"responseElements":{"instancesSet":{"items":[{"launchTime":1.688560107857E9,"tags":[{"key":"Name","value":"a,b;c"}]}]}},"readOnly":true,"quota":18446744073709551615,"tlsDetails":{"cipherSuite":"ECDHE-RSA-AES128-GCM-SHA256"}}}}`,
  `{"organizationId":"111122223333","principalId":null,"action":"Decrypt","targetResourceType":"AWS::KMS::Key","targetResourceId":"arn:aws:kms:us-east-1:111122223333:key/0","status":"success","timestamp":"2023-07-10T11:41:57Z","metadata":{"record":{"requestParameters":{"encryptionContext":{"PARAMETER_ARN":"arn:aws:ssm:us-east-1:111122223333:parameter/=cmd|' /C calc'!A0"}},"offset":-0,"ratio":1.0,"tiny":1e-400}}}`,
  `{"organizationId":"111122223333","principalId":"=HYPERLINK(\\"http://x\\")","action":"ConsoleLogin","status":"failure","outcomeDescription":"","timestamp":"2023-07-10T11:41:56.999999Z"}`,
];
const WIKIPEDIA = [
  `{"organizationId":"arwiki","principalId":"مستخدم","action":"edit","targetResourceType":"page","targetResourceId":"ويكيبيديا:الميدان/سياسات","status":"success","outcomeDescription":"/* نقاش */ رد‏، \\u200f(1)","timestamp":"2024-05-01T00:00:01Z","metadata":{"revision":{"old":12345678,"new":12345679},"length":{"old":0,"new":-12}}}`,
  `{"organizationId":"jawiki","principalId":"~2024-12345","action":"new","targetResourceId":"「一覧」\\t－🦊","status":"success","outcomeDescription":"＋新しいページ: '''太字''' [[リンク|表示]]\\r\\n二行目","timestamp":"2024-05-01T00:00:01Z","metadata":{"bot":false,"comment":null,"tags":[]}}`,
  `{"organizationId":"enwiki","principalId":"Ex\\u0327ample \\u2028 user","action":"log","targetResourceId":"User talk:\\"Quoted\\"\\\\Back","status":"attempt","outcomeDescription":"-1 revert; @admin","timestamp":"2024-05-01T00:00:00.000001Z","metadata":{"":{"a":{"b":{"c":[[],{}]}}}}}`,
];

let service: TestService;
let token: string;
let pages: string[];

beforeAll(async () => {
  service = await TestService.start();
  token = await tokenOf({
    organizations: ['*'],
    scope: 'audit:read audit:write audit:export',
  });
  const body = [...CLOUDTRAIL, ...WIKIPEDIA].join('\n');
  const answer = await service.post(`${EVENTS}/bulk`, token, body, {
    'content-type': 'application/x-ndjson',
  });
  expect(answer.text).toContain('{"summary":{"created":6,"duplicates":0,"rejected":0}}');
  pages = await readPages(service, token, {});
  expect(pages).toHaveLength(6);
});

afterAll(() => service.stop());

/** What each cell of a row must hold. */
/** Members that events have only when they were sent: columns at the end. */
const SPARSE = ['principalType', 'principalName', 'targets', 'changes', 'source', 'schemaVersion'];

function cellsOf(event: string): string[] {
  const members = memberTexts(event);
  const names = [...members.keys()].filter((name) => !SPARSE.includes(name));
  return [...names, ...SPARSE].map((name) => {
    const text = members.get(name) ?? 'null';
    return text === 'null' ? '' : text.startsWith('"') ? (JSON.parse(text) as string) : text;
  });
}

describe('an export of records as importers send them', () => {
  it('holds every member of them as it was sent', () => {
    for (const sent of [...CLOUDTRAIL, ...WIKIPEDIA]) {
      const members = memberTexts(sent);
      const name = JSON.parse(members.get('action') ?? '') as string;
      const stored = pages.map(memberTexts).find((one) => one.get('action') === `"${name}"`);
      expect(stored?.get('metadata') ?? 'null').toBe(members.get('metadata') ?? 'null');
      for (const text of ['principalId', 'targetResourceId', 'outcomeDescription']) {
        const [is, was] = [stored, members].map((of) => JSON.parse(of?.get(text) ?? 'null'));
        expect(is).toBe(was);
      }
    }
  });

  it('is the same to jq as lines, as an array and as pages', async () => {
    if (spawnSync('jq', ['--version']).status !== 0) {
      // eslint-disable-next-line no-console -- that it is skipped must be seen
      return console.warn('SKIPPED: there is no jq.');
    }
    const jq = (filter: string, input: string | Buffer): string => {
      const { status, stdout, stderr } = spawnSync('jq', ['-c', filter], { input });
      expect({ status, stderr: stderr.toString() }).toEqual({ status: 0, stderr: '' });
      return stdout.toString();
    };
    const expected = jq('.', pages.join('\n'));
    expect(expected.trimEnd().split('\n')).toHaveLength(6);
    expect(jq('.', (await fetchExport(service, token, 'format=ndjson')).body)).toBe(expected);
    expect(jq('.[]', (await fetchExport(service, token, 'format=json')).body)).toBe(expected);
  });

  it('is the same to two readers of CSV, exact when that is asked for', async () => {
    const { text, body } = await fetchExport(service, token, 'format=csv&csv_raw=true');
    const { data, errors } = Papa.parse<string[]>(text, { skipEmptyLines: true, newline: '\r\n' });
    expect(errors).toEqual([]);
    expect(data.slice(1)).toEqual(pages.map(cellsOf));
    expect(data[0]).toEqual([...memberTexts(pages[0] ?? '').keys(), ...SPARSE]);
    expect(pythonCsv(body)).toEqual(pythonCsv.isThere ? pages.map(cellsOf) : undefined);
    const neutral = await fetchExport(service, token, 'format=csv');
    const cells = Papa.parse<string[]>(neutral.text, { newline: '\r\n' }).data.flat();
    for (const text of [`'=HYPERLINK("http://x")`, "'-1 revert; @admin"]) {
      expect(cells).toContain(text);
    }
    expect(cells.some((cell) => cell.startsWith("'＋新しいページ"))).toBe(true);
  });

  it('is the pages, byte for byte', async () => {
    expect(linesOf((await fetchExport(service, token, 'format=ndjson')).text)).toEqual(pages);
  });
});
