import { randomUUID } from 'node:crypto';
import * as fc from 'fast-check';
import Papa from 'papaparse';
import { objectJson, type SparseMember, sparseJson } from '../support/event-arbitraries';
import { fetchExport, linesOf } from '../support/export-client';
import { canonicalJson, elementTexts, memberTexts } from '../support/json-text';
import { type Answer, EVENTS, TestService, tokenOf } from '../support/test-service';
import { TailClient } from '../support/tail-client';
import { until } from '../integration/until.fixture';

const NAMES: readonly SparseMember[] = [
  'principalType',
  'principalName',
  'targets',
  'changes',
  'source',
  'schemaVersion',
];
const BULK = `${EVENTS}/bulk`;

let service: TestService;
let token: string;
let count = 0;

beforeAll(async () => {
  service = await TestService.start();
  const scope = 'audit:read audit:write audit:export';
  token = await tokenOf({ organizations: ['*'], scope });
});

afterAll(() => service.stop());

const newOrganization = () => `fuller-${(count += 1)}`;

function eventOf(members: Record<string, string | undefined>, organizationId = 'org-1'): string {
  const fixed = { organizationId, action: 'change', status: 'success' };
  const given = Object.entries(members).filter(([, text]) => text !== undefined);
  return `${JSON.stringify(fixed).slice(0, -1)}${given.map(([name, text]) => `,"${name}":${text}`).join('')}}`;
}

const post = (path: string, body: string, headers = {}) =>
  service.request('POST', path, { body, token, headers });
const mutation = (event: string) =>
  post(
    '/graphql',
    `{"query":"mutation ($event: CreateAuditEventInput!) { createAuditEvent(event: $event) { id } }","variables":{"event":${event.replace('"success"', '"SUCCESS"')}}}`,
  );

/** Ways to write one event, each with what it answers. */
const WRITERS: Record<string, (event: string) => Promise<Answer>> = {
  'a single write': (event) => post(EVENTS, event),
  'a single write of the ordinary path': (event) => post(`${EVENTS}?`, event),
  'a bulk write': (event) => post(BULK, `{"events":[${event}]}`),
  NDJSON: (event) =>
    post(BULK, `${event.replaceAll(/\r?\n/g, ' ')}\n`, { 'content-type': 'application/x-ndjson' }),
  GraphQL: mutation,
  'a literal of GraphQL': (event) => {
    const literal = event.replace('"success"', 'SUCCESS').replace(/"(\w+)":/g, '$1:');
    return post(
      '/graphql',
      JSON.stringify({ query: `mutation { createAuditEvent(event: ${literal}) { id } }` }),
    );
  },
  tRPC: (event) => post('/trpc/performance.bulkCreateAuditEvents', `{"events":[${event}]}`),
};

const textOf = async (id: string, organization: string): Promise<string> =>
  (await service.get(`${EVENTS}/${id}?organization_ids=${organization}`, token)).text;

/** The members of an event that need not be there, in one spelling. */
function sparseIn(event: string): Record<string, string> {
  const texts = memberTexts(event);
  const names = NAMES.filter((name) => texts.has(name));
  return Object.fromEntries(names.map((name) => [name, canonicalJson(texts.get(name) ?? '')]));
}

function canonical(members: Partial<Record<SparseMember, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(members).map(([name, text]) => [name, canonicalJson(text)]),
  );
}

describe('the members that an event need not have', () => {
  it.each(Object.keys(WRITERS).filter((name) => !name.startsWith('a literal')))(
    'come back as they went in, those that were given and no others, after %s',
    async (name) => {
      const organization = newOrganization();
      await fc.assert(
        fc.asyncProperty(sparseJson, fc.option(objectJson), async (sparse, metadata) => {
          const id = randomUUID();
          const event = eventOf(
            { id: `"${id}"`, metadata: metadata ?? 'null', ...sparse },
            organization,
          );
          const answer = await WRITERS[name]?.(event);
          expect({ status: answer?.status, text: answer?.text }).toMatchObject({
            status: name === 'NDJSON' || name === 'GraphQL' || name === 'tRPC' ? 200 : 201,
            text: expect.not.stringContaining('"errors"'),
          });
          expect(sparseIn(await textOf(id, organization))).toEqual(canonical(sparse));
        }),
        { numRuns: 20 },
      );
    },
    120_000,
  );

  it('are the same bytes from every route and in every format', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(sparseJson, { minLength: 1, maxLength: 4 }), async (events) => {
        const organization = newOrganization();
        const stored: string[] = [];
        for (const sparse of events) {
          stored.push((await post(EVENTS, eventOf(sparse, organization))).text);
        }
        const query = `organization_ids=${organization}&sort_field=sequence&sort_direction=asc`;
        const page = await service.get(`${EVENTS}?${query}`, token);
        expect(elementTexts(memberTexts(page.text).get('data') ?? '')).toEqual(stored);
        const lines = await fetchExport(service, token, `${query}&format=ndjson`);
        expect(linesOf(lines.text)).toEqual(stored);
        const list = await fetchExport(service, token, `${query}&format=json`);
        expect(elementTexts(list.text)).toEqual(stored);

        const input = {
          filter: { organizationIds: [organization] },
          pagination: { sort: { field: 'sequence', direction: 'asc' } },
        };
        const found = await service.get(
          `/trpc/performance.getOptimizedAuditEvents?input=${encodeURIComponent(JSON.stringify(input))}`,
          token,
        );
        const path = ['result', 'data', 'data'];
        const data = path.reduce((text, name) => memberTexts(text).get(name) ?? '', found.text);
        expect(elementTexts(data)).toEqual(stored);

        for (const [index, text] of stored.entries()) {
          expect(await textOf(JSON.parse(text).id, organization)).toBe(text);
          expect(sparseIn(text)).toEqual(canonical(events[index] ?? {}));
        }
      }),
      { numRuns: 15 },
    );
  }, 120_000);

  it('are cells of CSV behind the others, empty where they were not given', async () => {
    const organization = newOrganization();
    const events = fc.sample(sparseJson, { numRuns: 40, seed: 7 });
    await post(BULK, `{"events":[${events.map((one) => eventOf(one, organization)).join(',')}]}`);
    const query = `organization_ids=${organization}&sort_field=sequence&sort_direction=asc`;
    const lines = linesOf((await fetchExport(service, token, `${query}&format=ndjson`)).text);
    const { text } = await fetchExport(service, token, `${query}&format=csv&csv_raw=true`);
    const { data } = Papa.parse<string[]>(text.trimEnd());
    const [header = [], ...rows] = data;
    expect(header.slice(-6)).toEqual(NAMES);
    expect(rows).toHaveLength(events.length);
    for (const [index, row] of rows.entries()) {
      const members = memberTexts(lines[index] ?? '');
      for (const name of NAMES) {
        const member = members.get(name) ?? '""';
        const cell = member.startsWith('"') ? JSON.parse(member) : member;
        expect([name, row[header.indexOf(name)]]).toEqual([name, cell]);
      }
    }
  });

  it('come to followers', async () => {
    const organization = newOrganization();
    const url = `${service.url}${EVENTS}/tail?organization_ids=${organization}&after_sequence=0`;
    const tail = await TailClient.open(url, { authorization: `Bearer ${token}` });
    const sparse = {
      targets: '[{"id":"a"},{"id":"b","name":null}]',
      changes: '[{"path":"","old":1.50}]',
    };
    const posted = await post(EVENTS, eventOf(sparse, organization));
    await until(() => tail.events.length > 0);
    expect(tail.messages.find(({ event }) => event === 'audit.event')?.data).toBe(posted.text);
    await tail.close();
  });

  it('come from GraphQL with every digit; what is absent is null', async () => {
    const organization = newOrganization();
    const sparse = {
      principalType: '"service"',
      targets: '[{"type":"a"},{"id":"b","name":"c"}]',
      changes: '[{"path":"/n","old":1.50},{"path":"/m","new":null},{"old":-0,"path":""}]',
    };
    const { json } = await post(EVENTS, eventOf(sparse, organization));
    const members =
      'principalType principalName targets { type id name } changes source { host } schemaVersion';
    const query = `{ auditEvent(id: "${json.id}", organizationId: "${organization}") { ${members} } }`;
    const answer = await post('/graphql', JSON.stringify({ query }));
    expect(answer.text).toBe(
      `{"data":{"auditEvent":{"principalType":"service","principalName":null,` +
        `"targets":[{"type":"a","id":null,"name":null},{"type":null,"id":"b","name":"c"}],` +
        `"changes":${sparse.changes},"source":null,"schemaVersion":null}}}`,
    );
  });

  it('are as exact in a literal of GraphQL, or in a variable of their own', async () => {
    const organization = newOrganization();
    const changes = '[{path:"/n",old:1.50,new:{a:[-0.0,9223372036854775807]}},{path:"",new:null}]';
    const event = eventOf({ id: `"${randomUUID()}"` }, organization).replace(
      /}$/,
      `,"changes":${changes}}`,
    );
    const first = await WRITERS['a literal of GraphQL']?.(event);
    const text = changes.replace(/(path|old|new|a):/g, '"$1":');
    const literal = await textOf(first?.json.data.createAuditEvent.id, organization);
    expect(memberTexts(literal).get('changes')).toBe(text);
    const query = `mutation ($any: JSON) { createAuditEvent(event: { organizationId: "${organization}", action: "a", status: SUCCESS, changes: $any }) { id } }`;
    const second = await post(
      '/graphql',
      `{"query":${JSON.stringify(query)},"variables":{"any":${text}}}`,
    );
    const variable = await textOf(second.json.data.createAuditEvent.id, organization);
    expect(memberTexts(variable).get('changes')).toBe(text);
  });

  it('that are null are not there', async () => {
    const nulls = Object.fromEntries(NAMES.map((name) => [name, 'null']));
    const { status, text } = await post(EVENTS, eventOf(nulls));
    expect([status, sparseIn(text)]).toEqual([201, {}]);
  });
});

describe('the first target', () => {
  const stored = async (members: Record<string, string>) => {
    const { status, json } = await post(EVENTS, eventOf(members));
    return [status, json.targetResourceType, json.targetResourceId, json.targets];
  };

  it('is the target resource, where only targets are given', async () => {
    const targets = [
      { type: 'Patient', id: 'p' },
      { type: 'Ward', id: 'w' },
    ];
    expect(await stored({ targets: JSON.stringify(targets) })).toEqual([
      201,
      'Patient',
      'p',
      targets,
    ]);
    expect(await stored({ targets: '[{"type":"Patient"}]' })).toEqual([
      201,
      'Patient',
      null,
      [{ type: 'Patient' }],
    ]);
    expect(await stored({ targets: '[{"id":"p","type":null}]' })).toEqual([
      201,
      null,
      'p',
      [{ id: 'p', type: null }],
    ]);
    expect(await stored({ targets: '[{"type":"","id":"p"}]', targetResourceId: 'null' })).toEqual([
      201,
      '',
      'p',
      [{ type: '', id: 'p' }],
    ]);
  });

  it('is not made of a target resource: an event without targets is as it ever was', async () => {
    const { text } = await post(
      EVENTS,
      eventOf({ targetResourceType: '"Patient"', targetResourceId: '"p"' }),
    );
    expect(text).toMatch(
      /"targetResourceType":"Patient","targetResourceId":"p",.*"metadata":null\}$/,
    );
  });

  it('may be given twice', async () => {
    const targets = [{ type: 'Patient', id: 'p' }];
    const text = JSON.stringify(targets);
    expect(
      await stored({ targetResourceType: '"Patient"', targetResourceId: '"p"', targets: text }),
    ).toEqual([201, 'Patient', 'p', targets]);
    expect(await stored({ targetResourceId: '"p"', targets: text })).toEqual([
      201,
      'Patient',
      'p',
      targets,
    ]);
  });

  const MISMATCHES: [string, Record<string, string>, string][] = [
    [
      'another type',
      { targetResourceType: '"Ward"', targets: '[{"type":"Patient","id":"p"}]' },
      'targetResourceType',
    ],
    [
      'another id',
      { targetResourceId: '"q"', targets: '[{"type":"Patient","id":"p"}]' },
      'targetResourceId',
    ],
    [
      'a type that it lacks',
      { targetResourceType: '"Patient"', targets: '[{"id":"p"}]' },
      'targetResourceType',
    ],
    [
      'an id that is null',
      { targetResourceId: '""', targets: '[{"type":"Patient","id":null}]' },
      'targetResourceId',
    ],
    [
      'the id of the second',
      { targetResourceId: '"b"', targets: '[{"id":"a"},{"id":"b"}]' },
      'targetResourceId',
    ],
  ];

  it.each(MISMATCHES)('is refused beside %s, at its path, everywhere', async (_, members, path) => {
    const event = eventOf(members, newOrganization());
    const errors: Record<string, unknown> = {};
    for (const [name, write] of Object.entries(WRITERS)) {
      const { status, json, text } = await write(event);
      const found =
        json?.errors?.[0]?.extensions?.errors ??
        json?.error?.data?.errors ??
        json?.errors ??
        JSON.parse(text.split('\n')[0] ?? '').errors;
      errors[name] = [status, (found as { path: string }[] | undefined)?.map((one) => one.path)];
    }
    expect(errors).toEqual({
      'a single write': [400, [path]],
      'a single write of the ordinary path': [400, [path]],
      'a bulk write': [400, [`events[0].${path}`]],
      NDJSON: [200, [path]],
      GraphQL: [200, [path]],
      'a literal of GraphQL': [200, [path]],
      tRPC: [400, [`events[0].${path}`]],
    });
  });
});

describe('a repeated event with a client id', () => {
  const changes = '[{"path":"/n","old":1.50},{"path":"/m","new":null}]';
  const members = {
    id: `"${randomUUID()}"`,
    principalType: '"user"',
    targets: '[{"type":"a","id":"b"},{"id":"c"}]',
    changes,
    source: '{"service":"s"}',
  };

  it('is a duplicate with the same content, however it is spelt', async () => {
    expect((await post(EVENTS, eventOf(members))).status).toBe(201);
    const again = {
      ...members,
      targetResourceType: '"a"',
      targets: '[{"id":"b","type":"a"},{"id":"c"}]',
      changes: '[{"old":15e-1,"path":"/n"},{"new":null,"path":"/m"}]',
      schemaVersion: 'null',
    };
    const { json } = await post(BULK, `{"events":[${eventOf(again)}]}`);
    expect(json.duplicates).toBe(1);
  });

  it.each([
    ['principalType', undefined],
    ['principalName', '"x"'],
    ['targets', '[{"type":"a","id":"b"}]'],
    ['targets', '[{"type":"a","id":"b"},{"id":"c","name":null}]'],
    ['changes', changes.replace('1.50', '1.500000000000000000001')],
    ['changes', changes.replace(',"new":null', '')],
    ['source', '{"service":"t"}'],
    ['schemaVersion', '"1"'],
  ])('is a conflict with another %s', async (name, text) => {
    expect((await post(EVENTS, eventOf({ ...members, [name]: text }))).json.code).toBe('CONFLICT');
  });
});

describe('filters of resources and targets', () => {
  const events: Record<string, Record<string, string>> = {
    pair: { targetResourceType: '"Patient"', targetResourceId: '"1"' },
    first: { targets: '[{"type":"Patient","id":"1","name":"x"},{"type":"Ward","id":"2"}]' },
    second: { targets: '[{"type":"Ward","id":"2"},{"type":"Patient","id":"1"}]' },
    crossed: { targets: '[{"type":"Ward","id":"1"},{"type":"Patient","id":"2"}]' },
    typeless: { targets: '[{"type":"Ward"},{"id":"1"}]', principalType: '"service"' },
    none: { principalType: '"user"' },
  };
  /** Fits every filter below. */
  const last = {
    principalType: '"service"',
    targets:
      '[{"type":"Patient","id":"1"},{"type":"Ward","id":"1"},{"type":"Patient","id":"2"},{"id":"nobody"}]',
  };
  const names = new Map<string, string>();

  async function write(organization: string, name: string, members: Record<string, string>) {
    const { json } = await post(EVENTS, eventOf(members, organization));
    names.set(json.id, name);
  }

  const nameOf = (event: unknown) => names.get((event as { id: string }).id);

  const CASES: [query: string, found: string[]][] = [
    ['resource_types=Patient', ['pair', 'first', 'second', 'crossed']],
    ['target_types=Patient', ['pair', 'first', 'second', 'crossed']],
    ['resource_ids=1', ['pair', 'first', 'second', 'crossed', 'typeless']],
    ['resource_types=Patient&resource_ids=1', ['pair', 'first', 'second']],
    ['target_types=Patient&target_ids=1', ['pair', 'first', 'second']],
    ['resource_types=Patient&target_ids=2', ['first', 'second', 'crossed']],
    ['resource_types=Patient&target_types=Ward', ['first', 'second', 'crossed']],
    ['target_types=Ward,Patient&target_ids=1', ['pair', 'first', 'second', 'crossed']],
    ['resource_ids=nobody', []],
    ['principal_types=service', ['typeless']],
    ['principal_types=service,user', ['typeless', 'none']],
  ];

  it.each(CASES)('%s finds %j, counted, exported and followed alike', async (query, found) => {
    const organization = newOrganization();
    for (const [name, members] of Object.entries(events)) await write(organization, name, members);
    const list = `organization_ids=${organization}&sort_field=sequence&sort_direction=asc&${query}`;
    const { json } = await service.get(`${EVENTS}?${list}&include_total=true`, token);
    expect((json.data as unknown[]).map(nameOf)).toEqual(found);
    expect(json.pagination.total).toBe(found.length);
    const { text } = await fetchExport(service, token, `${list}&format=ndjson`);
    expect(linesOf(text).map((line) => nameOf(JSON.parse(line)))).toEqual(found);

    // The first come from PostgreSQL, the others from memory.
    const path = `/tail?organization_ids=${organization}&${query}&after_sequence=0`;
    const headers = { authorization: `Bearer ${token}` };
    const tail = await TailClient.open(`${service.url}${EVENTS}${path}`, headers);
    await until(() => tail.events.length >= found.length);
    for (const [name, members] of Object.entries(events)) await write(organization, name, members);
    await write(organization, 'last', last);
    await until(() => tail.events.map(nameOf).includes('last'));
    expect(tail.events.map(nameOf)).toEqual([...found, ...found, 'last']);
    await tail.close();
  });
});

describe('an event of many targets', () => {
  it('is the same in NDJSON when every character is escaped', async () => {
    const escaped = (length: number) => `"${'\\ud83d\\ude00'.repeat(length)}"`;
    const target = `{"type":${escaped(255)},"id":${escaped(255)},"name":${escaped(255)}}`;
    const large = (bytes: number) => `"${'\\u0061'.repeat(bytes)}"`;
    const event = eventOf({
      targets: `[${Array.from({ length: 100 }, () => target).join(',')}]`,
      changes: `[{"path":"","new":${large(256 * 1024 - 30)}}]`,
      metadata: `{"a":${large(256 * 1024 - 20)}}`,
      outcomeDescription: escaped(10_000),
      sessionContext: `{"ipAddress":${escaped(10_000)},"userAgent":${escaped(10_000)},"geolocation":${escaped(10_000)}}`,
    });
    expect(Buffer.byteLength(event)).toBeGreaterThan(4 * 1024 * 1024);
    const { text } = (await WRITERS.NDJSON?.(event)) ?? { text: '' };
    expect(text).toMatch(/^\{"line":1,"id":"[^"]+","sequence":"\d+","status":"created"\}\n/);
  });

  it('is refused by GraphQL in pages with too many fields of targets, and not where they are not selected', async () => {
    const organization = newOrganization();
    const targets = JSON.stringify(Array.from({ length: 100 }, (_, at) => ({ id: `t-${at}` })));
    const events = Array.from({ length: 200 }, () => eventOf({ targets }, organization));
    expect((await post(BULK, `{"events":[${events.join(',')}]}`)).status).toBe(201);
    const ask = async (limit: number, fields: string) => {
      const query = `{ optimizedAuditEvents(filter: { organizationIds: ["${organization}"] }, pagination: { limit: ${limit} }) { edges { node { ${fields} } } } }`;
      const { json } = await post('/graphql', JSON.stringify({ query }));
      return json.errors?.[0].extensions.code ?? json.data.optimizedAuditEvents.edges.length;
    };
    expect(await ask(200, 'id')).toBe(200);
    expect(await ask(200, 'targets { id }')).toBe(200);
    expect(await ask(200, 'targets { id type name }')).toBe('REQUEST_TOO_LARGE');
    expect(await ask(200, 'targets { id } ... { targets { a: id b: id } }')).toBe(
      'REQUEST_TOO_LARGE',
    );
    expect(await ask(150, 'targets { id type name }')).toBe(150);
  });

  it.each(['metadata', 'changes'])(
    'of one write %s may be selected twice, not three times',
    async (name) => {
      const ask = async (times: number) => {
        const fields = Array.from({ length: times }, (_, at) => `a${at}: ${name}`).join(' ');
        const query = `mutation { createAuditEvent(event: { organizationId: "org-1", action: "a", status: SUCCESS }) { ${fields} } }`;
        return (await post('/graphql', JSON.stringify({ query }))).json;
      };
      expect((await ask(2)).data).toBeDefined();
      expect((await ask(3)).errors[0].extensions.code).toBe('VALIDATION_FAILED');
    },
  );
});
