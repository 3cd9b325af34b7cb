import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { USAGE } from '../../src/import/arguments';
import { type Format, FORMATS, recordFormat } from '../../src/import/record-formats';
import { type EventLine, RecordReader, type RefusedLine } from '../../src/import/record-reader';
import { RecordSource } from '../../src/import/record-source';
import { CreateAuditEventDto } from '../../src/audit/event/dto/create-audit-event.dto';
import { parseExactJson } from '../../src/platform/runtime/lossless-json';
import { validate } from '../../src/validation/compiled-validator';
import { memberTexts } from '../support/json-text';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const SAMPLES = join(__dirname, 'samples');
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Members that events of different formats have; left out for one that is not there. */
interface Mapped extends Record<string, unknown> {
  id: string;
  metadata: Record<string, unknown>;
}

async function read(
  format: Format,
  files: string[],
  organizationId?: string,
  isBasic = false,
): Promise<(EventLine | RefusedLine)[]> {
  const { signal } = new AbortController();
  const csv = { isRaw: false, organizationId };
  const source = new RecordSource(files, recordFormat(format), csv, 1e6, signal);
  const reader = new RecordReader(format, organizationId, isBasic);
  const found = [];
  for await (const raw of source.records()) {
    const outcome = reader.read(raw);
    if (outcome) found.push(outcome);
  }
  return found;
}

async function sample(format: Format, name: string, organizationId?: string): Promise<Mapped[]> {
  const outcomes = await read(format, [join(SAMPLES, name)], organizationId);
  return outcomes.map((outcome) => {
    if (!('event' in outcome)) throw new Error(outcome.reason.join());
    return JSON.parse(outcome.event) as Mapped;
  });
}

/** Everything but the id, which is a UUID, and the metadata. */
const fields = (events: Mapped[]) =>
  events.map(({ id, metadata: _, ...rest }) => {
    expect(id).toMatch(UUID);
    return rest;
  });

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'import-formats-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function written(name: string, text: string | Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const linesOf = (name: string) => readFileSync(join(SAMPLES, name), 'utf8').trimEnd().split('\n');

describe('kubernetes', () => {
  it('maps every stage of a request', async () => {
    const events = await sample('kubernetes', 'kubernetes.ndjson', 'cluster-1');
    const patch = {
      organizationId: 'cluster-1',
      principalId: 'maria@example.com',
      action: 'patch',
      targetResourceType: 'deployments.apps/scale',
      targetResourceId: 'shop/cart',
      dataClassification: 'INTERNAL',
      correlationId: '6f0c1d4e-52a7-4a8e-9a57-0d1f6f0e7a11',
      sessionContext: {
        ipAddress: '203.0.113.24',
        userAgent: 'kubectl/v1.33.1 (linux/amd64) kubernetes/8adc0f0',
      },
      principalType: 'user',
    };
    expect(fields(events)).toEqual([
      { ...patch, timestamp: '2026-11-03T08:15:02.118430Z', status: 'attempt' },
      { ...patch, timestamp: '2026-11-03T08:15:02.131877Z', status: 'success' },
      {
        timestamp: '2026-11-03T08:15:04.002310Z',
        organizationId: 'cluster-1',
        principalId: 'system:serviceaccount:shop:cart',
        action: 'get',
        targetResourceType: 'secrets',
        targetResourceId: 'shop/db',
        status: 'failure',
        outcomeDescription: 'secrets "db" is forbidden: User cannot get resource',
        dataClassification: 'CONFIDENTIAL',
        correlationId: 'b7a3c9d2-0f6b-4f4e-8d0c-2b9a51c7e3f4',
        sessionContext: { ipAddress: '10.0.5.19', userAgent: 'cart/2.4' },
        principalType: 'service',
      },
    ]);
    expect(new Set(events.map(({ id }) => id)).size).toBe(3);
    expect(events.map(({ metadata }) => metadata)).toEqual(
      linesOf('kubernetes.ndjson').map((line) => JSON.parse(line)),
    );
  });

  it('takes an EventList, and an event has the same id in either layout', async () => {
    const events = await sample('kubernetes', 'kubernetes-list.json', 'cluster-1');
    expect(fields(events)).toMatchObject([
      { action: 'get', targetResourceId: '/healthz', status: 'success' },
      { action: 'list', targetResourceType: 'nodes', targetResourceId: '/api/v1/nodes' },
    ]);
    expect(events[1]).toMatchObject({ status: 'failure', outcomeDescription: 'InternalError' });
    const list = {
      kind: 'EventList',
      items: linesOf('kubernetes.ndjson').map((one) => JSON.parse(one)),
    };
    const other = written('list.json', JSON.stringify(list, null, 2));
    const again = (await read('kubernetes', [other], 'cluster-2')) as EventLine[];
    expect(again.map(({ event }) => (JSON.parse(event) as Mapped).id)).toEqual(
      (await sample('kubernetes', 'kubernetes.ndjson', 'cluster-1')).map(({ id }) => id),
    );
  });
});

describe('vault', () => {
  it('makes one event of request and response, and an attempt of a request without one', async () => {
    const outcomes = await read('vault', [join(SAMPLES, 'vault.ndjson')]);
    expect(outcomes.map(({ line, lines }) => [line, lines])).toEqual([
      [3, 2],
      [4, 2],
      [5, undefined],
    ]);
    const events = await sample('vault', 'vault.ndjson');
    expect(fields(events)).toEqual([
      {
        timestamp: '2026-11-03T08:20:01.124999001Z',
        organizationId: 'shop',
        principalId: '8b1d5b4e-0f3f-4f64-9e2c-5e1f0d7a2c31',
        action: 'read',
        targetResourceType: 'kv',
        targetResourceId: 'secret/data/db',
        status: 'success',
        dataClassification: 'CONFIDENTIAL',
        correlationId: '3f2a9a70-6c1e-4d55-8f0f-2f6f4a1b7c90',
        sessionContext: {
          sessionId: `hmac-sha256:${'b'.repeat(64)}`,
          ipAddress: '10.0.5.19',
          userAgent: 'Go-http-client/2.0',
        },
        principalName: 'userpass-maria',
      },
      {
        timestamp: '2026-11-03T08:20:01.25Z',
        organizationId: 'root',
        action: 'update',
        targetResourceType: 'userpass',
        targetResourceId: 'auth/userpass/login/eve',
        status: 'failure',
        outcomeDescription: '1 error occurred:\n\t* invalid username or password\n\n',
        dataClassification: 'CONFIDENTIAL',
        correlationId: 'c41f7a52-9f0e-4a63-b4a1-1d2e3f4a5b6c',
        sessionContext: { ipAddress: '198.51.100.66' },
      },
      {
        timestamp: '2026-11-03T08:20:02Z',
        organizationId: 'root',
        action: 'list',
        targetResourceType: 'system',
        targetResourceId: 'sys/mounts',
        status: 'attempt',
        dataClassification: 'INTERNAL',
        correlationId: '9e8d7c6b-5a49-4838-a726-150493827160',
        sessionContext: { ipAddress: '10.0.5.19' },
      },
    ]);
    const [first] = outcomes as EventLine[];
    expect(first?.event).toContain(`"metadata":${linesOf('vault.ndjson')[2]}}`);
    expect(events[0]?.metadata).toHaveProperty(
      'response.data.data.password',
      `hmac-sha256:${'d'.repeat(64)}`,
    );
  });

  it('has the same events whether files are imported together or apart, but for open requests', async () => {
    const lines = linesOf('vault.ndjson');
    const [one, two] = [
      written('audit.log.1', lines.slice(0, 2).join('\n')),
      written('audit.log', lines.slice(2).join('\n')),
    ];
    const whole = (await read('vault', [join(SAMPLES, 'vault.ndjson')])) as EventLine[];
    const together = (await read('vault', [one, two])) as EventLine[];
    expect(together.map(({ event }) => event)).toEqual(whole.map(({ event }) => event));
    const apart = (await read('vault', [two])) as EventLine[];
    expect(apart.map(({ event }) => event)).toEqual(whole.map(({ event }) => event));
    const open = (await read('vault', [one])) as EventLine[];
    expect(open.map(({ event }) => (JSON.parse(event) as Mapped).status)).toEqual([
      'attempt',
      'attempt',
    ]);
  });

  it('keeps a request whose error its response does not have, and what is no entry is refused', async () => {
    const [request = '', , response = ''] = linesOf('vault.ndjson');
    const faulty = request.replace('"type"', '"error":"permission denied","type"');
    const path = written('errors.ndjson', ['nonsense', faulty, response, '{"a":1}'].join('\n'));
    const outcomes = await read('vault', [path]);
    expect(outcomes).toMatchObject([
      { line: 1, reason: [expect.stringMatching(/not valid JSON/)] },
      { line: 2, event: expect.stringContaining('"outcomeDescription":"permission denied"') },
      { line: 3, event: expect.stringContaining('"status":"success"') },
      { line: 4, reason: ['time is missing or not a string'] },
    ]);
  });
});

describe('okta', () => {
  it('maps the System Log', async () => {
    const events = await sample('okta', 'okta.json', 'example');
    expect(fields(events)).toEqual([
      {
        timestamp: '2026-11-03T08:30:00.417Z',
        organizationId: 'example',
        principalId: '00u1abcd2EFGH3ijk4x7',
        action: 'user.session.start',
        status: 'success',
        outcomeDescription: 'User login to Okta',
        dataClassification: 'INTERNAL',
        correlationId: 'aQx1Bd0OqP2f7kX4',
        sessionContext: {
          sessionId: 'trsK1x9bQ0TTVWn2c1s0A',
          ipAddress: '203.0.113.24',
          userAgent: 'Mozilla/5.0 (X11; Linux x86_64)',
          geolocation: 'Zürich, Zurich, Switzerland',
        },
        principalType: 'User',
        principalName: 'Maria Roth',
      },
      {
        timestamp: '2026-11-03T08:30:01.002Z',
        organizationId: 'example',
        principalId: '00u1abcd2EFGH3ijk4x7',
        action: 'policy.evaluate_sign_on',
        targetResourceType: 'PolicyEntity',
        targetResourceId: 'rst9xyz',
        status: 'attempt',
        outcomeDescription: 'Sign-on policy evaluation resulted in CHALLENGE',
        dataClassification: 'INTERNAL',
        correlationId: 'aQx1Bd0OqP2f7kX4',
        sessionContext: { ipAddress: '203.0.113.24' },
        principalType: 'User',
        principalName: 'Maria Roth',
        targets: [
          { type: 'PolicyEntity', id: 'rst9xyz', name: 'Default' },
          { type: 'PolicyRule', id: 'rul1' },
        ],
      },
      {
        timestamp: '2026-11-03T08:31:00.000Z',
        organizationId: 'example',
        principalId: 'unknown',
        action: 'user.authentication.auth_via_mfa',
        targetResourceType: 'User',
        targetResourceId: '00u9',
        status: 'failure',
        outcomeDescription: 'INVALID_CREDENTIALS',
        dataClassification: 'INTERNAL',
        principalType: 'User',
      },
    ]);
    expect(events[0]?.id).toBe('dc9fd3c0-b88f-11f1-8478-2b7584bf8d5a');
    expect(events[0]?.metadata).toHaveProperty('securityContext.asNumber', 64500);
  });
});

describe('github', () => {
  it('maps the audit log of an organization or enterprise', async () => {
    const events = await sample('github', 'github.ndjson');
    expect(fields(events)).toEqual([
      {
        timestamp: new Date(1793694600123).toISOString(),
        organizationId: 'example',
        principalId: 'octo-maria',
        action: 'repo.create',
        targetResourceType: 'repository',
        targetResourceId: 'example/cart',
        status: 'success',
        dataClassification: 'INTERNAL',
        correlationId: '9A1B:2C3D',
        sessionContext: {
          ipAddress: '203.0.113.24',
          userAgent: 'Mozilla/5.0 (X11; Linux x86_64)',
          geolocation: 'CH',
        },
      },
      {
        timestamp: new Date(1793694601000).toISOString(),
        organizationId: 'example',
        principalId: '7001',
        action: 'org.add_member',
        targetResourceType: 'user',
        targetResourceId: 'octo-leo',
        status: 'success',
        dataClassification: 'INTERNAL',
      },
      {
        timestamp: new Date(1793694602500).toISOString(),
        organizationId: 'example-inc',
        principalId: 'octo-eve',
        action: 'user.failed_login',
        targetResourceType: 'user',
        targetResourceId: 'octo-maria',
        status: 'failure',
        dataClassification: 'INTERNAL',
        sessionContext: { ipAddress: '198.51.100.66' },
      },
      {
        timestamp: new Date(1793694603000).toISOString(),
        organizationId: 'example',
        principalId: 'octo-bot',
        action: 'api.request',
        targetResourceType: 'organization',
        targetResourceId: 'example',
        status: 'failure',
        dataClassification: 'INTERNAL',
        sessionContext: { sessionId: 'c2hhMjU2LW9mLWEtdG9rZW4=' },
      },
    ]);
  });

  it.each(['1.5', '"now"', 'null', '1e300', '{}'])('names a time of %s', async (time) => {
    const path = written('time.ndjson', `{"@timestamp":${time},"action":"a","org":"o"}`);
    const [outcome] = await read('github', [path]);
    if (time === '"now"') return expect(outcome).toHaveProperty('event'); // the service refuses it
    return expect(outcome).toMatchObject({
      reason: [expect.stringContaining('@timestamp or created_at must be')],
    });
  });

  it('derives an id from the document, wherever the line stands', async () => {
    const lines = linesOf('github.ndjson');
    const path = written('moved.json', `[${lines.toReversed().join(',')}]`);
    const moved = (await read('github', [path])) as EventLine[];
    expect(moved.map(({ event }) => (JSON.parse(event) as Mapped).id).toReversed()).toEqual(
      (await sample('github', 'github.ndjson')).map(({ id }) => id),
    );
  });
});

describe('azure', () => {
  const subscription = '0f3c2b1a-1111-4222-8333-9a8b7c6d5e4f';

  it('maps what diagnostic settings write', async () => {
    const events = await sample('azure', 'azure-diagnostics.json');
    const keys = {
      organizationId: subscription,
      principalId: 'maria@example.com',
      action: 'MICROSOFT.STORAGE/STORAGEACCOUNTS/LISTKEYS/ACTION',
      targetResourceType: 'MICROSOFT.STORAGE/STORAGEACCOUNTS',
      targetResourceId: `/SUBSCRIPTIONS/${subscription.toUpperCase()}/RESOURCEGROUPS/SHOP/PROVIDERS/MICROSOFT.STORAGE/STORAGEACCOUNTS/SHOPDATA`,
      dataClassification: 'CONFIDENTIAL',
      correlationId: '7d1f0a52-3333-4444-8555-666677778888',
      sessionContext: { sessionId: 'u_x1Yz', ipAddress: '203.0.113.24' },
      principalType: 'User',
    };
    expect(fields(events)).toEqual([
      {
        ...keys,
        timestamp: '2026-11-03T08:40:00.1234567Z',
        status: 'attempt',
        outcomeDescription: 'Started.',
      },
      {
        ...keys,
        timestamp: '2026-11-03T08:40:00.9876543Z',
        status: 'success',
        outcomeDescription: 'Succeeded.OK',
      },
      expect.objectContaining({
        status: 'failure',
        targetResourceType: 'Microsoft.Resources/subscriptions/resourceGroups',
        outcomeDescription: 'The group is locked.',
        dataClassification: 'INTERNAL',
      }),
    ]);
    const { records } = JSON.parse(
      readFileSync(join(SAMPLES, 'azure-diagnostics.json'), 'utf8'),
    ) as { records: unknown[] };
    expect(events.map(({ metadata }) => metadata)).toEqual(records);
    const lines = written('PT1H.json', records.map((one) => JSON.stringify(one)).join('\n'));
    const again = (await read('azure', [lines])) as EventLine[];
    expect(again.map(({ event }) => JSON.parse(event) as Mapped)).toEqual(events);
  });

  it('maps what the REST API returns, with the same organization', async () => {
    const events = await sample('azure', 'azure-rest.json');
    expect(fields(events)).toEqual([
      {
        timestamp: '2026-11-03T08:45:00.7654321Z',
        organizationId: subscription,
        principalId: 'maria@example.com',
        action: 'Microsoft.Network/virtualNetworks/subnets/write',
        targetResourceType: 'Microsoft.Network/virtualNetworks/subnets',
        targetResourceId: `/subscriptions/${subscription}/resourceGroups/shop/providers/Microsoft.Network/virtualNetworks/net/subnets/front`,
        status: 'success',
        outcomeDescription: 'Created',
        dataClassification: 'INTERNAL',
        correlationId: '8e2a1b63-3333-4444-8555-666677778888',
        sessionContext: { sessionId: 'u_x1Yz', ipAddress: '203.0.113.24' },
        source: { service: 'Microsoft.Network' },
      },
    ]);
    expect(events[0]?.id).toBe('a1b2c3d4-5555-4666-8777-88889999aaaa');
  });

  it('has the tenant for an organization above subscriptions, and names its absence', async () => {
    const record = { time: '2026-01-01T00:00:00Z', operationName: 'a', resourceId: '/providers/x' };
    const path = written(
      'tenant.ndjson',
      [{ ...record, tenantId: 'T1' }, record].map((one) => JSON.stringify(one)).join('\n'),
    );
    expect(await read('azure', [path])).toMatchObject([
      { event: expect.stringContaining('"organizationId":"t1"') },
      { reason: [expect.stringMatching(/organization is missing.*give --organization/)] },
    ]);
  });
});

describe('auditd', () => {
  it('joins the records of an event and decodes their fields', async () => {
    const outcomes = await read('auditd', [join(SAMPLES, 'auditd.log')], 'host-1');
    expect(outcomes.map(({ line, lines }) => [line, lines])).toEqual([
      [1, 5],
      [3, 4],
      [11, 3],
      [10, 1],
    ]);
    const events = await sample('auditd', 'auditd.log', 'host-1');
    const at = (ms: number) => new Date(ms).toISOString();
    const common = { organizationId: 'host-1', dataClassification: 'INTERNAL' };
    expect(fields(events)).toEqual([
      {
        ...common,
        timestamp: at(1793695800123),
        principalId: 'maria',
        action: 'syscall:openat',
        targetResourceType: 'file',
        targetResourceId: '/srv/kunden daten/geheim.txt',
        status: 'failure',
        outcomeDescription: 'exit -13',
        correlationId: `${at(1793695800123)}:4711`,
        sessionContext: { sessionId: '7' },
      },
      {
        ...common,
        timestamp: at(1793695800124),
        principalId: '0',
        action: 'syscall:59',
        targetResourceType: 'file',
        targetResourceId: '/bin/sh',
        status: 'success',
        outcomeDescription: 'exit 0',
        correlationId: `${at(1793695800124)}:4712`,
      },
      {
        ...common,
        timestamp: at(1793695802000),
        principalId: '1001',
        action: 'syscall:42',
        targetResourceType: 'socket',
        targetResourceId: '192.0.2.7:443',
        status: 'success',
        outcomeDescription: 'exit 0',
        correlationId: `${at(1793695802000)}:4714`,
        sessionContext: { sessionId: '9' },
        source: { host: 'web-1' },
      },
      {
        ...common,
        timestamp: at(1793695801500),
        principalId: 'eve x',
        action: 'USER_LOGIN',
        targetResourceType: 'account',
        targetResourceId: 'eve x',
        status: 'failure',
        correlationId: `${at(1793695801500)}:4713`,
        sessionContext: { ipAddress: '198.51.100.66' },
      },
    ]);
    expect(events[0]?.metadata).toMatchObject({
      serial: '4711',
      records: [
        { type: 'SYSCALL', fields: { a0: 'ffffff9c', key: 'secrets', AUID: 'maria' } },
        { type: 'CWD', fields: { cwd: '/home/maria' } },
        { type: 'PATH', fields: { name: '/srv/kunden daten/geheim.txt' } },
        { type: 'PROCTITLE', fields: { proctitle: 'cat /srv/kunden daten/geheim.txt' } },
      ],
    });
    expect(events[1]?.metadata).toMatchObject({
      records: [
        { fields: { comm: 'größe', key: '(null)' } },
        { fields: { argc: '3', a0: 'sh', a2: 'echo a b' } },
        { type: 'PATH' },
      ],
    });
    const kept = events.flatMap(({ metadata }) => metadata.lines as string[]);
    const lines = linesOf('auditd.log').filter((line) => !line.includes('type=EOE'));
    expect(new Set(kept)).toEqual(new Set(lines));
  });

  it('has both names of a file that was moved as targets, without their folders', async () => {
    const record = (type: string, rest: string) =>
      `type=${type} msg=audit(1793695800.123:1): ${rest}`;
    const paths = [
      'item=0 name="/srv" nametype=PARENT',
      'item=1 name="/srv/a" nametype=DELETE',
      'item=2 name="/srv/b" nametype=CREATE',
      'item=3 name="/srv/b" nametype=NORMAL',
      'item=4 name=(null) nametype=NORMAL',
    ].map((rest) => record('PATH', rest));
    const path = written(
      'moved.log',
      [record('SYSCALL', 'syscall=82'), ...paths, record('EOE', '')].join('\n'),
    );
    const [outcome] = (await read('auditd', [path], 'host-1')) as EventLine[];
    expect(JSON.parse(outcome?.event ?? '')).toMatchObject({
      targetResourceType: 'file',
      targetResourceId: '/srv/a',
      targets: [
        { type: 'file', id: '/srv/a' },
        { type: 'file', id: '/srv/b' },
      ],
    });
  });

  it('refuses a line that is no record alone, and an event with bytes that are no UTF-8 whole', async () => {
    const record = (type: string, rest: string) =>
      `type=${type} msg=audit(1793695800.123:1): ${rest}`;
    const path = written(
      'bad.log',
      Buffer.concat([
        Buffer.from(`----\n${record('SYSCALL', 'success=yes syscall=2 exe="/a"')}\n`),
        Buffer.from(`${record('PATH', 'name="')}\u00e9"\n`, 'latin1'),
        Buffer.from('type=USER msg=audit(1793695800.124:2): res=1\n\n'),
      ]),
    );
    expect(await read('auditd', [path], 'o')).toMatchObject([
      { line: 1, reason: [expect.stringContaining('begins with type=… msg=audit(')] },
      { line: 2, lines: 2, reason: [expect.stringMatching(/not valid UTF-8/)] },
      { line: 4, event: expect.stringContaining('"status":"success"') },
    ]);
  });

  it('joins the events of machines whose clocks differ, and those of a file that is read twice', async () => {
    const line = (node: string, seconds: number, rest: string) =>
      `node=${node} type=${rest.replace(' ', ` msg=audit(${seconds}.000:1): `)}`;
    const lines = [
      line('a', 1793695800, 'SYSCALL syscall=2 success=yes'),
      line('b', 1793695900, 'SYSCALL syscall=3 success=yes'),
      line('a', 1793695800, 'CWD cwd="/a"'),
      line('b', 1793695900, 'CWD cwd="/b"'),
      line('a', 1793695805, 'USER res=1'),
    ];
    const once = written('two.log', lines.join('\n'));
    const twice = written('twice.log', lines.join('\n'));
    const found = await read('auditd', [once, twice], 'o');
    const ids = found.map((one) => ('event' in one ? one.event : one.reason.join()));
    expect(ids).toHaveLength(5);
    expect(new Set(ids).size).toBe(3);
    expect(found.map(({ lines: count }) => count).toSorted()).toEqual([1, 1, 2, 2, 4]);
  });

  it('reads an event that a rotation divided, and gives the same id each time', async () => {
    const lines = linesOf('auditd.log');
    const files = [
      written('rotated.log.1', lines.slice(0, 4).join('\n')),
      written('rotated.log', lines.slice(4).join('\n')),
    ];
    const whole = await read('auditd', [join(SAMPLES, 'auditd.log')], 'o');
    const divided = await read('auditd', files, 'o');
    expect(divided.map((one) => 'event' in one && one.event)).toEqual(
      whole.map((one) => 'event' in one && one.event),
    );
  });
});

describe('records that wait for others', () => {
  /** The most records given and not yet taken, of some that never are complete. */
  async function mostHeld(
    format: Format,
    count: number,
    text: (n: number) => string,
  ): Promise<number> {
    let [given, taken, most] = [0, 0, 0];
    async function* lines() {
      for (; given < count; given += 1) {
        const bytes = Buffer.from(text(given));
        yield await Promise.resolve({ number: given + 1, bytes, isTooLong: false });
      }
    }
    for await (const record of recordFormat(format).join?.(lines()) ?? []) {
      void record;
      taken += 1;
      most = Math.max(most, given - taken);
    }
    expect(taken).toBe(count);
    return most;
  }

  it.each<[Format, (n: number) => string]>([
    ['auditd', (n) => `type=SYSCALL msg=audit(1793695800.123:${n}): syscall=2 success=yes`],
    ['vault', (n) => `{"type":"request","request":{"id":"${n}"}}`],
  ])('of %s are few', async (format, text) => {
    expect(await mostHeld(format, 12_000, text)).toBeLessThanOrEqual(10_001);
  });

  it.each<[Format, (n: number) => string]>([
    ['auditd', (n) => `type=USER msg=audit(1793695800.123:${n}): res=1\n`],
    ['vault', (n) => `{"type":"request","request":{"id":"${n}"}}\n`],
  ])('of %s hold no more than themselves of what was read', async (format, text) => {
    // A record in each part that is read, far more than all of them.
    const PART_BYTES = 256 * 1024;
    async function* parts() {
      for (let n = 0; n < 2_000; n += 1) {
        const bytes = Buffer.alloc(PART_BYTES, '\n');
        const length = bytes.write(text(n));
        yield await Promise.resolve({
          number: n + 1,
          bytes: bytes.subarray(0, length - 1),
          isTooLong: false,
        });
      }
      collect();
      // All parts are 2 000 of them.
      expect(process.memoryUsage().arrayBuffers).toBeLessThan(400 * PART_BYTES);
    }
    let taken = 0;
    for await (const record of recordFormat(format).join?.(parts()) ?? []) {
      void record;
      taken += 1;
    }
    expect(taken).toBe(2_000);
  });

  it.each<[Format, (n: number) => string]>([
    ['auditd', (n) => `type=USER msg=audit(1793695800.123:${n}): op="${'x'.repeat(9000)}"`],
    ['vault', (n) => `{"type":"request","request":{"id":"${n}","path":"${'x'.repeat(9000)}"}}`],
  ])('of %s are fewer when they are long', async (format, text) => {
    expect(await mostHeld(format, 4_000, text)).toBeLessThan(2_000);
  });
});

describe('an event of a sample', () => {
  const ALL: [Format, string][] = [
    ['kubernetes', 'kubernetes.ndjson'],
    ['kubernetes', 'kubernetes-list.json'],
    ['vault', 'vault.ndjson'],
    ['okta', 'okta.json'],
    ['github', 'github.ndjson'],
    ['azure', 'azure-diagnostics.json'],
    ['azure', 'azure-rest.json'],
    ['auditd', 'auditd.log'],
  ];

  it.each(ALL)('of %s (%s) is valid, and with --basic what it was before', async (format, name) => {
    const organizationId = 'org-1';
    const files = [join(SAMPLES, name)];
    const whole = (await read(format, files, organizationId)) as EventLine[];
    const basic = (await read(format, files, organizationId, true)) as EventLine[];
    expect(whole.length).toBeGreaterThan(0);
    for (const [index, { event }] of whole.entries()) {
      const value = parseExactJson(event) as object;
      expect(validate(CreateAuditEventDto, value)).toEqual([]);
      const members = memberTexts(event);
      for (const added of ['principalType', 'principalName', 'targets', 'source']) {
        members.delete(added);
      }
      const left = [...members].map(([member, text]) => `${JSON.stringify(member)}:${text}`);
      expect(basic[index]?.event).toBe(`{${left.join(',')}}`);
    }
  });
});

describe.each(['docs/import.md', 'README.md', 'the usage'])('%s', (name) => {
  it('has every format', () => {
    const text =
      name === 'the usage' ? USAGE : readFileSync(join(__dirname, '../..', name), 'utf8');
    expect(FORMATS.filter((format) => !new RegExp(`[\\s\`]${format}[\\s\`]`).test(text))).toEqual(
      [],
    );
  });
});
