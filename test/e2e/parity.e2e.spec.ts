import { randomUUID } from 'node:crypto';
import {
  type Protocol,
  protocolsOf,
  type SearchOutcome,
  type ProtocolSearch,
} from '../support/protocols';
import { EVENTS, TestService, tokenOf } from '../support/test-service';

const NAMES = ['REST', 'GraphQL', 'tRPC'] as const;
const TOTAL = 60;

let service: TestService;
let protocols: Record<(typeof NAMES)[number], Protocol>;
/** Tokens by what they may. */
let tokens: Record<'both' | 'one' | 'unscoped' | 'reader', string>;

type Holder = keyof typeof tokens | 'none';

beforeAll(async () => {
  service = await TestService.start({ BULK_MAX_EVENTS: String(TOTAL) });
  protocols = protocolsOf(service);
  const scope = 'audit:read audit:write';
  tokens = {
    both: await tokenOf({ sub: 'both', scope, organizations: ['org-1', 'org-2'] }),
    one: await tokenOf({ sub: 'one', scope, organizations: ['org-1'] }),
    unscoped: await tokenOf({ scope: 'performance:read', organizations: ['org-1'] }),
    reader: await tokenOf({ scope: 'audit:read', organizations: ['org-1'] }),
  };
  const events = Array.from({ length: TOTAL }, (_, index) => eventText(index));
  expect((await protocols.REST.write(`[${events.join(',')}]`, tokens.both)).created).toBe(TOTAL);
});

afterAll(() => service.stop());

/** Events that differ in what filters look at, with numbers that no double holds. */
function eventText(index: number): string {
  const members = {
    organizationId: index % 3 === 0 ? 'org-2' : 'org-1',
    timestamp: `2026-0${1 + (index % 6)}-15T12:00:00.00000${index % 10}${['', '7', '001'][index % 3]}Z`,
    principalId: index % 4 === 0 ? null : `user-${index % 4}`,
    action: ['read', 'write', 'erase, all', 'ünïcode "quoted"\\\n'][index % 4],
    status: ['success', 'failure', 'attempt'][index % 3],
    dataClassification: ['PUBLIC', 'PHI', 'CONFIDENTIAL', 'INTERNAL'][index % 4],
    targetResourceType: index % 2 ? 'Patient' : 'Invoice',
    targetResourceId: `id-${index % 5}`,
    correlationId: index % 7 === 0 ? 'corr' : undefined,
    sessionContext: { sessionId: 's', ipAddress: 'AWS Internal', userAgent: '', geolocation: '漢' },
  };
  const metadata = `{"index":${index},"big":9223372036854775807,"wide":1.50,"tiny":-1E-400,"null":null}`;
  return `${JSON.stringify(members).slice(0, -1)},"metadata":${metadata}${sparseText(index)}}`;
}

/** The members that an event need not have: all of them, or one. */
function sparseText(index: number): string {
  const target = (at: number) => ({
    type: at % 2 ? 'Patient' : 'Invoice',
    id: `id-${at % 5}`,
    name: 'n',
  });
  const members = [
    `"principalType":"${['user', 'service'][index % 2]}"`,
    `"principalName":"Ada \\"A\\""`,
    `"targets":${JSON.stringify([target(index), target(index + 3), target(index + 8)])}`,
    `"changes":[{"path":"","old":1.50,"new":{"a":[-0,1e400]}},{"path":"/x","new":null},{"path":"/y"}]`,
    `"source":{"service":"s","host":"","version":"1.0"}`,
    `"schemaVersion":"2"`,
  ];
  const some = index % 8 === 0 ? members : members.slice(index % 8, (index % 8) + 1);
  return some.map((member) => `,${member}`).join('');
}

const NO_SUCH_PRINCIPAL = ['nobody'];

const READS: [name: string, search: ProtocolSearch, holder?: Holder][] = [
  ['everything', {}],
  [
    'a day and an instant',
    {
      filter: {
        dateRange: { startDate: '2026-02-01', endDate: '2026-03-15T14:00:00.000003+02:00' },
      },
    },
  ],
  [
    'nine digits of a second',
    {
      filter: {
        dateRange: {
          startDate: '2026-01-15T14:00:00.000006001+02:00',
          endDate: '2026-03-15T12:00:00.0000020010Z',
        },
      },
    },
  ],
  ['an organization', { filter: { organizationIds: ['org-2'] } }],
  ['two organizations', { filter: { organizationIds: ['org-2', 'org-1'] } }],
  ['principals', { filter: { principalIds: ['user-1', 'user-3'] } }],
  ['an action with a comma', { filter: { actions: ['erase, all'] } }],
  ['an action with everything', { filter: { actions: ['ünïcode "quoted"\\\n'] } }],
  ['statuses', { filter: { statuses: ['failure', 'attempt'] } }],
  ['classifications', { filter: { dataClassifications: ['PHI'] } }],
  ['a resource', { filter: { resourceTypes: ['Patient'], resourceIds: ['id-1', 'id-2'] } }],
  [
    'two targets of one event',
    { filter: { resourceIds: ['id-1'], targetTypes: ['Invoice'], targetIds: ['id-4', 'id-2'] } },
  ],
  ['principals of a kind', { filter: { principalTypes: ['service'] } }],
  ['a correlation', { filter: { correlationIds: ['corr'] } }],
  ['operators', { filter: { actions: ['r*', '!read', '\\!x'], principalIds: ['!*', 'user-1'] } }],
  ['an excluded target', { filter: { resourceIds: ['!id-1'], targetTypes: ['*'] } }],
  ['sessions', { filter: { sessionIds: ['s-1', 's*'] } }],
  ['networks', { filter: { ipAddresses: ['192.0.2.0/24', '!192.0.2.7'] } }],
  [
    'metadata',
    { filter: { metadata: ['!nested.deep', 'big=9223372036854775807', 'wide=1.5', 'null'] } },
  ],
  ['a query', { filter: { q: 'action:r* -status:success "user" after:2026-01-01' } }],
  ['a query beside a list', { filter: { q: 'actor:user-1', principalIds: ['user-2'] } }],
  ['nothing', { filter: { principalIds: NO_SUCH_PRINCIPAL } }],
  [
    'all of it at once',
    {
      filter: {
        actions: ['read', 'write'],
        statuses: ['success'],
        dateRange: { startDate: '2026-01-01' },
      },
    },
  ],
  ['the oldest first', { pagination: { sort: { field: 'timestamp', direction: 'asc' } } }],
  [
    'by sequence',
    {
      filter: { organizationIds: ['org-1'] },
      pagination: { sort: { field: 'sequence', direction: 'asc' } },
    },
  ],
  [
    'by sequence, the last first',
    { pagination: { limit: 7, sort: { field: 'sequence', direction: 'desc' } } },
  ],
  ['a small page', { pagination: { limit: 1 } }],
  ['a page inside', { pagination: { limit: 10, offset: 25 } }],
  ['the end', { pagination: { limit: 10, offset: 55 } }],
  ['behind the end', { pagination: { limit: 10, offset: 1000 } }],
  ['a token for one of them', {}, 'one'],
];

const REFUSED: [name: string, search: ProtocolSearch, kind: string, holder?: Holder][] = [
  ['a malformed network', { filter: { ipAddresses: ['192.0.2.0/240'] } }, 'VALIDATION_FAILED'],
  ['malformed metadata', { filter: { metadata: ['a..b'] } }, 'VALIDATION_FAILED'],
  ['a query with a fault', { filter: { q: 'acto:alice' } }, 'VALIDATION_FAILED'],
  ['no token', {}, 'UNAUTHENTICATED', 'none'],
  ['a lacking scope', {}, 'FORBIDDEN', 'unscoped'],
  ['a foreign organization', { filter: { organizationIds: ['org-2'] } }, 'FORBIDDEN', 'one'],
  [
    'an unheard-of organization',
    { filter: { organizationIds: ['org-9', 'org-1'] } },
    'FORBIDDEN',
    'one',
  ],
  ['a limit of 0', { pagination: { limit: 0 } }, 'VALIDATION_FAILED'],
  ['a limit of 1001', { pagination: { limit: 1001 } }, 'VALIDATION_FAILED'],
  ['an offset below 0', { pagination: { offset: -1 } }, 'VALIDATION_FAILED'],
  ['an offset too far', { pagination: { offset: 100_001 } }, 'VALIDATION_FAILED'],
  ['a cursor of nobody', { pagination: { cursor: 'nonsense' } }, 'INVALID_CURSOR'],
  [
    'a date that is none',
    { filter: { dateRange: { startDate: 'yesterday' } } },
    'VALIDATION_FAILED',
  ],
  [
    'ten digits of a second',
    { filter: { dateRange: { endDate: '2026-01-01T00:00:00.0000000001Z' } } },
    'VALIDATION_FAILED',
  ],
  [
    'milliseconds since 1970',
    { filter: { dateRange: { startDate: '1764000000000' } } },
    'VALIDATION_FAILED',
  ],
  [
    'a range that ends where it starts',
    { filter: { dateRange: { startDate: '2026-02-01', endDate: '2026-02-01T00:00:00Z' } } },
    'VALIDATION_FAILED',
  ],
  [
    'a range that ends before it starts',
    { filter: { dateRange: { startDate: '2026-02-01', endDate: '2026-01-01' } } },
    'VALIDATION_FAILED',
  ],
  ['an unknown status', { filter: { statuses: ['done'] } }, 'VALIDATION_FAILED'],
  ['an unknown sort', { pagination: { sort: { field: 'action' } } }, 'VALIDATION_FAILED'],
  ['an unknown filter', { filter: { colours: ['red'] } }, 'VALIDATION_FAILED'],
  ['a name that is too long', { filter: { actions: ['x'.repeat(256)] } }, 'VALIDATION_FAILED'],
];

/** Rows of two elements each: what a row of another length lacks, Jest fills with a callback that it waits for. */
function whole<Rest extends unknown[]>(rows: [name: string, ...rest: Rest][]): [string, Rest][] {
  return rows.map(([name, ...rest]) => [name, rest]);
}

/** The same through every protocol. Of cursors, which are other texts each time, only whether there is one. */
async function everywhere(search: ProtocolSearch, holder: Holder = 'both') {
  const token = holder === 'none' ? undefined : tokens[holder];
  const outcomes: SearchOutcome[] = [];
  for (const name of NAMES) outcomes.push(await protocols[name].find(search, token));
  return outcomes;
}

/** Element by element: to show how long texts differ, Jest would take minutes. */
function expectAlike(outcomes: SearchOutcome[]): void {
  const [first, ...others] = outcomes.map(({ cursor, events, ...rest }) => ({
    rest: { ...rest, count: events?.length, goesOn: cursor !== undefined },
    events: events ?? [],
  }));
  for (const other of others) {
    expect(other.rest).toEqual(first?.rest);
    const odd = other.events.findIndex((event, index) => event !== first?.events[index]);
    expect(odd === -1 ? undefined : [other.events[odd]]).toBe(undefined);
  }
}

describe('a search gives the same events, totals and ends through every protocol', () => {
  it.each(whole(READS))('%s', async (_name, [search, holder]) => {
    const outcomes = await everywhere(search, holder);
    expect(outcomes[0]?.events).toBeDefined();
    expectAlike(outcomes);
  });

  it('a list of REST as libraries write it, the parameter repeated', async () => {
    const found = await protocols.tRPC.find(
      { filter: { actions: ['erase, all', 'read'] } },
      tokens.both,
    );
    expect(found.total).toBe(TOTAL / 2);
    const query = new URLSearchParams([
      ['actions', 'erase, all'],
      ['include_total', 'true'],
      ['actions', 'read'],
    ]).toString();
    const page = await service.get(`${EVENTS}?${query}`, tokens.both);
    expect(page.json.pagination.total).toBe(found.total);
    const token = await tokenOf({ scope: 'audit:export', organizations: ['org-1', 'org-2'] });
    const both = 'organization_ids=org-1&organization_ids=org-2';
    const exported = await service.get(
      `${EVENTS}/stream?${both}&${query.replace('include_total', 'csv_raw')}&format=csv`,
      token,
    );
    expect(exported.text.match(/^"?[0-9a-f]{8}-/gm)).toHaveLength(found.total ?? 0);
    const [{ id }] = page.json.data;
    expect((await service.get(`${EVENTS}/${id}?${both}`, tokens.both)).status).toBe(200);
  });

  it('whose texts hold every digit', async () => {
    const { events = [], total } = await protocols.tRPC.find({}, tokens.both);
    expect(total).toBe(TOTAL);
    for (const event of events) {
      for (const text of ['9223372036854775807', '1.50', '-1E-400']) expect(event).toContain(text);
    }
  });

  it('page after page, by the cursor of another protocol each time', async () => {
    const pagination = { limit: 25, offset: 0 };
    let cursor: string | undefined;
    const seen: string[] = [];
    for (let page = 0; page < 3; page += 1) {
      const found = await everywhere({
        pagination: { ...pagination, ...(cursor ? { cursor } : {}) },
      });
      expectAlike(found);
      seen.push(...(found[0]?.events ?? []));
      cursor = found[(page + 1) % 3]?.cursor;
    }
    expect(new Set(seen).size).toBe(TOTAL);
    expect(cursor).toBeUndefined();
  });
});

describe('a search is refused for the same kind of reason through every protocol', () => {
  it.each(whole(REFUSED))('%s', async (_name, [search, kind, holder]) => {
    const outcomes = await everywhere(search, holder);
    expect(outcomes.map((outcome) => outcome.kind)).toEqual([kind, kind, kind]);
  });
});

describe('a write does the same through every protocol', () => {
  const plain = (members: object = {}) => ({
    organizationId: 'org-1',
    action: 'parity',
    status: 'success',
    timestamp: '2026-05-01T00:00:00.000001Z',
    ...members,
  });
  const listOf = (...events: object[]) => JSON.stringify(events);

  it('stores the same, numbers included, and recognizes its duplicates', async () => {
    const written: unknown[] = [];
    const stored: unknown[] = [];
    for (const name of NAMES) {
      const organizationId = `org-${name}`;
      const token = await tokenOf({
        scope: 'audit:read audit:write',
        organizations: [organizationId],
      });
      const events = [0, 1, 2].map((index) =>
        eventText(index).replace(
          /"organizationId":"[^"]*"/,
          `"id":"${ID[index]}","organizationId":"${organizationId}"`,
        ),
      );
      const first = await protocols[name].write(`[${events.join(',')}]`, token, 2);
      const again = await protocols[name].write(`[${events[1]}]`, token);
      written.push([first, again]);
      const { events: found = [], total } = await protocols.REST.find({}, token);
      const own = found.map((text) =>
        text.replace(/"recordedAt":"[^"]*"/, '').replace(organizationId, ''),
      );
      stored.push([own, total]);
    }
    expect(written[0]).toMatchObject([
      { created: 3, duplicates: 0, batches: 2 },
      { created: 0, duplicates: 1, results: [{ sequence: '2', status: 'duplicate' }] },
    ]);
    expect(written[1]).toEqual(written[0]);
    expect(written[2]).toEqual(written[0]);
    expect(stored[1]).toEqual(stored[0]);
    expect(stored[2]).toEqual(stored[0]);
  });

  const taken = randomUUID();
  const WRITES: [name: string, events: string, kind: string, holder?: Holder][] = [
    ['no token', listOf(plain()), 'UNAUTHENTICATED', 'none'],
    ['a lacking scope', listOf(plain()), 'FORBIDDEN', 'reader'],
    [
      'a foreign organization',
      listOf(plain(), plain({ organizationId: 'org-2' })),
      'FORBIDDEN',
      'one',
    ],
    ['no events', '[]', 'VALIDATION_FAILED'],
    ['too many events', listOf(...Array<object>(TOTAL + 1).fill(plain())), 'VALIDATION_FAILED'],
    ['one bad event among good ones', listOf(plain(), plain({ action: '' })), 'VALIDATION_FAILED'],
    ['a missing member', listOf({ organizationId: 'org-1', action: 'a' }), 'VALIDATION_FAILED'],
    ['an unknown status', listOf(plain({ status: 'done' })), 'VALIDATION_FAILED'],
    ['an unknown member', listOf(plain({ colour: 'red' })), 'VALIDATION_FAILED'],
    ['a NUL', listOf(plain({ action: 'a\0b' })), 'VALIDATION_FAILED'],
    ['a time ahead', listOf(plain({ timestamp: '2999-01-01T00:00:00Z' })), 'VALIDATION_FAILED'],
    [
      'ten digits of a second',
      listOf(plain({ timestamp: '2026-01-01T00:00:00.0000000001Z' })),
      'VALIDATION_FAILED',
    ],
    ['milliseconds since 1970', listOf(plain({ timestamp: 1764000000000 })), 'VALIDATION_FAILED'],
    ['metadata that is a list', listOf(plain({ metadata: [] })), 'VALIDATION_FAILED'],
    ['an id with other content', listOf(plain({ id: taken, action: 'other' })), 'CONFLICT'],
    [
      'an id twice in one request',
      listOf(plain({ id: taken, action: 'a' }), plain({ id: taken })),
      'CONFLICT',
    ],
    ['broken JSON', '[{]', 'MALFORMED_JSON'],
    ['a member twice', '[{"action":"a","action":"b"}]', 'VALIDATION_FAILED'],
  ];

  it.each(whole(WRITES))('refuses %s', async (_name, [events, kind, holder = 'both']) => {
    await protocols.REST.write(listOf(plain({ id: taken })), tokens.both);
    const search = { filter: { organizationIds: ['org-1'] } };
    const before = (await protocols.REST.find(search, tokens.both)).total;
    const token = holder === 'none' ? undefined : tokens[holder];
    const kinds: unknown[] = [];
    for (const name of NAMES) kinds.push((await protocols[name].write(events, token)).kind);
    expect(kinds).toEqual([kind, kind, kind]);
    expect((await protocols.REST.find(search, tokens.both)).total).toBe(before);
  });
});

const ID = Array.from({ length: 3 }, () => randomUUID());
