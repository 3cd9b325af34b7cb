import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { until } from '../integration/until.fixture';
import {
  type Answer,
  EVENTS,
  eventsIn,
  eventWith,
  TestService,
  tokenOf,
} from '../support/test-service';
import { allowEventChanges } from '../support/event-changes';

let service: TestService;
let mine: string;
let foreign: string;
let token: string;

beforeAll(async () => {
  service = await TestService.start({ REDIS_URL: '' });
});

afterAll(() => service.stop());

beforeEach(async () => {
  mine = `org-${randomUUID()}`;
  foreign = `org-${randomUUID()}`;
  token = await tokenOf({ organizations: [mine] });
  await write('first');
});

const cacheOf = ({ headers }: Answer) => headers.get('x-cache');
const actionsIn = (answer: Answer) => eventsIn(answer).map(({ action }) => action);
const ageOf = ({ headers }: Answer) => Number(headers.get('age'));

function list(directives?: string, who = token): Promise<Answer> {
  const headers: Record<string, string> =
    directives === undefined ? {} : { 'cache-control': directives };
  return service.get(EVENTS, who, headers);
}

async function write(action: string, organizationId = mine): Promise<void> {
  const writer = await tokenOf({ sub: 'writer', organizations: ['*'] });
  expect((await service.post(EVENTS, writer, eventWith({ organizationId, action }))).status).toBe(
    201,
  );
}

/** Changes an event behind the service's back, so that a kept answer and a new one can be told apart. */
async function tamper(): Promise<void> {
  const client = new Client({ connectionString: service.databaseUrl });
  await client.connect();
  await allowEventChanges(client);
  await client.query(`UPDATE audit_event SET action = 'tampered' WHERE organization_id = $1`, [
    mine,
  ]);
  await client.end();
}

describe('Cache-Control of a request', () => {
  it('no-cache reads from the database and refreshes the cache', async () => {
    await list();
    await tamper();
    await until(async () => ageOf(await list()) >= 1);
    expect(actionsIn(await list())).toEqual(['first']);
    const fresh = await list('no-cache');
    expect([cacheOf(fresh), actionsIn(fresh), ageOf(fresh)]).toEqual(['BYPASS', ['tampered'], 0]);
    const next = await list();
    expect([cacheOf(next), actionsIn(next), ageOf(next)]).toEqual(['HIT', ['tampered'], 0]);
  });

  it('no-cache caches a response that was not cached before', async () => {
    expect((await list('no-cache')).headers.get('x-cache')).toBe('BYPASS');
    expect(cacheOf(await list())).toBe('HIT');
  });

  it('no-store reads from the database and leaves the cache as it is', async () => {
    expect(cacheOf(await list('no-store'))).toBe('BYPASS');
    expect(cacheOf(await list())).toBe('MISS');
    await tamper();
    for (const directives of ['no-store', 'no-store, max-stale', 'no-cache, no-store']) {
      const fresh = await list(directives);
      expect([cacheOf(fresh), actionsIn(fresh)]).toEqual(['BYPASS', ['tampered']]);
    }
    const kept = await list();
    expect([cacheOf(kept), actionsIn(kept)]).toEqual(['HIT', ['first']]);
  });

  it.each(['max-age=0', 'NO-CACHE', 'max-age=nonsense', 'x=1, no-cache', 'max-stale=5, no-cache'])(
    '%s is no-cache',
    async (directives) => {
      await list();
      await tamper();
      const fresh = await list(directives);
      expect([cacheOf(fresh), actionsIn(fresh)]).toEqual(['BYPASS', ['tampered']]);
      expect(actionsIn(await list())).toEqual(['tampered']);
    },
  );

  it('max-age=N takes nothing that was read longer ago', async () => {
    await list();
    await tamper();
    const young = await list('max-age=60');
    expect([cacheOf(young), actionsIn(young)]).toEqual(['HIT', ['first']]);
    // The age is rounded down: at 2 it is more than one second.
    await until(async () => ageOf(await list()) >= 2);
    expect(actionsIn(await list('max-age=60'))).toEqual(['first']);
    const fresh = await list('max-age=1');
    expect([cacheOf(fresh), actionsIn(fresh), ageOf(fresh)]).toEqual(['BYPASS', ['tampered'], 0]);
    expect(cacheOf(await list())).toBe('HIT');
  });

  it.each(['max-stale=60', 'max-stale', 'max-age=30, max-stale=60', 'MAX-STALE="60"'])(
    '%s takes the response from before a write; without it there is none',
    async (directives) => {
      const before = await list();
      await write('second');
      const stale = await list(directives);
      expect([cacheOf(stale), stale.text]).toEqual(['HIT', before.text]);
      const present = await list();
      expect([cacheOf(present), actionsIn(present)]).toEqual(['MISS', ['second', 'first']]);
      // The newest of the old answers, not any of them.
      expect((await list(directives)).text).toBe(present.text);
    },
  );

  it('max-stale=N takes nothing that was superseded longer ago', async () => {
    await list();
    await until(async () => ageOf(await list('max-stale')) >= 2);
    await write('second');
    const present = await list('max-stale=1');
    expect([cacheOf(present), actionsIn(present)]).toEqual(['MISS', ['second', 'first']]);
  });

  it('max-stale=N counts from the last validation, not from the read', async () => {
    await list();
    await until(async () => ageOf(await list()) >= 2); // each of these confirms it
    await write('second');
    expect(actionsIn(await list('max-stale=1'))).toEqual(['first']);
  });

  it('max-stale needs something kept, and does not cross organizations', async () => {
    const reader = await tokenOf({ organizations: [foreign] });
    await list();
    await write('foreign', foreign);
    const answer = await list('max-stale', reader);
    expect([cacheOf(answer), actionsIn(answer)]).toEqual(['MISS', ['foreign']]);
  });

  it.each(['only-if-cached', 'max-age=60', 'foo="no-cache"', ', ,'])(
    '%s asks for nothing else',
    async (directives) => {
      await list();
      expect(cacheOf(await list(directives))).toBe('HIT');
    },
  );

  it('counts alone where there is Pragma too', async () => {
    await list();
    const pragma = { pragma: 'no-cache' };
    const both = await service.get(EVENTS, token, { ...pragma, 'cache-control': 'max-age=60' });
    expect(cacheOf(both)).toBe('HIT');
    expect(cacheOf(await service.get(EVENTS, token, pragma))).toBe('BYPASS');
  });
});

describe('a write', () => {
  const writes: [string, (action: string) => Promise<Answer>][] = [
    ['of one event', (action) => post(EVENTS, eventWith({ organizationId: mine, action }))],
    [
      'in bulk',
      (action) => post(`${EVENTS}/bulk`, { events: [eventWith({ organizationId: mine, action })] }),
    ],
  ];

  async function post(path: string, body: unknown): Promise<Answer> {
    return service.post(path, await tokenOf({ sub: 'writer', organizations: [mine] }), body);
  }

  it.each(writes)('%s is in the very next answer of everyone who may see it', async (_, send) => {
    const readers = {
      one: token,
      several: await tokenOf({ organizations: [mine, foreign] }),
      all: await tokenOf({ organizations: ['*'] }),
    };
    for (const who of Object.values(readers)) await list(undefined, who);
    for (let count = 0; count < 5; count += 1) {
      const action = `act.${count}`;
      expect((await send(action)).status).toBe(201);
      for (const who of Object.values(readers)) {
        const answer = await list(undefined, who);
        expect([cacheOf(answer), actionsIn(answer)[0]]).toEqual(['MISS', action]);
        expect(cacheOf(await list(undefined, who))).toBe('HIT');
      }
    }
  });

  it.each(writes)('%s shows by its id at once, where it was absent before', async (_, send) => {
    const answer = await send('by id');
    const id = String(answer.json.id ?? answer.json.results[0].id);
    const found = await service.get(`${EVENTS}/${id}`, token);
    expect([found.status, found.json.action]).toEqual([200, 'by id']);
  });

  it('leaves responses of other organizations as they are', async () => {
    await write('theirs', foreign);
    const other = await tokenOf({ organizations: [foreign] });
    await list();
    await list(undefined, other);
    await write('second', foreign);
    expect(cacheOf(await list())).toBe('HIT');
    expect(actionsIn(await list(undefined, other))).toEqual(['second', 'theirs']);
  });

  it('that stores nothing new leaves its own as they are', async () => {
    const id = randomUUID();
    const event = eventWith({ organizationId: mine, id });
    expect((await post(EVENTS, event)).status).toBe(201);
    await list();
    expect((await post(EVENTS, event)).status).toBe(200);
    expect((await post(EVENTS, { ...event, action: 'other' })).status).toBe(409);
    expect(cacheOf(await list())).toBe('HIT');
  });
});
