import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { AuditPages } from '../../src/audit/read/audit-pages';
import { expectProblem, pathsOf } from '../support/problem';
import {
  type Answer,
  EVENTS,
  eventsIn,
  eventWith,
  TestService,
  tokenOf,
} from '../support/test-service';

const CACHE = '/api/v1/performance/cache';
const DAY_MS = 86_400_000;
const SCOPE = 'audit:read audit:write performance:read performance:manage';

let service: TestService;
let mine: string;
let foreign: string;
let operator: string;

beforeAll(async () => {
  service = await TestService.start({ REDIS_URL: '', DATABASE_STATEMENT_TIMEOUT_MS: '1000' });
  operator = await tokenOf({ sub: 'operator', scope: SCOPE, organizations: ['*'] });
});

afterAll(async () => {
  delete process.env['DATABASE_STATEMENT_TIMEOUT_MS'];
  await service.stop();
});

beforeEach(async () => {
  await service.request('DELETE', `${CACHE}?pattern=*`, { token: operator });
  [mine, foreign] = [`org-${randomUUID()}`, `org-${randomUUID()}`];
  for (const organizationId of [mine, foreign]) {
    const events = Array.from({ length: 120 }, () => eventWith({ organizationId }));
    await service.post(`${EVENTS}/bulk`, operator, { events });
  }
});

const cacheOf = ({ headers }: Answer) => headers.get('x-cache');
const stats = async () => (await service.get(`${CACHE}/stats`, operator)).json;
const warmUp = (token: string, body?: unknown) =>
  service.request('POST', `${CACHE}/warmup`, { token, body });
const managerOf = (...organizations: string[]) =>
  tokenOf({ sub: 'manager', scope: SCOPE, organizations });
const readerOf = (...organizations: string[]) => tokenOf({ sub: 'reader', organizations });
const daysAgo = (days: number) => new Date(Date.now() - days * DAY_MS).toISOString().slice(0, 10);

/** All that a reader is expected to ask for: the first page, the pages behind it, and the list since a day. */
async function expectWarm(reader: string, days: number, pages: number): Promise<void> {
  let path = EVENTS;
  for (let number = 1; number <= pages; number += 1) {
    const page = await service.get(path, reader);
    expect([number, cacheOf(page)]).toEqual([number, 'HIT']);
    expect(eventsIn(page).length).toBeGreaterThan(0);
    path = `${EVENTS}?cursor=${page.json.pagination.nextCursor}`;
  }
  const since = await service.get(`${EVENTS}?start_date=${daysAgo(days)}`, reader);
  expect(cacheOf(since)).toBe('HIT');
}

describe('a warm-up', () => {
  it('caches requests of readers of one organization', async () => {
    const { status, json } = await warmUp(await managerOf(mine), { preloadDays: 3 });
    expect(status).toBe(200);
    // Three pages, and the list since that day.
    expect(json).toEqual({ warmedUp: 4, failed: 0, total: 4, timestamp: expect.any(String) });
    await expectWarm(await readerOf(mine), 3, 3);
    expect((await stats()).entries).toBe(4);
  });

  it('goes seven days back by default, also for null', async () => {
    for (const body of [undefined, {}, { preloadDays: null, organizationIds: null }]) {
      await service.request('DELETE', `${CACHE}?pattern=*`, { token: operator });
      expect((await warmUp(await managerOf(mine), body)).json).toMatchObject({
        failed: 0,
        total: 4,
      });
      await expectWarm(await readerOf(mine), 7, 3);
    }
  });

  it('caches requests of readers of several, together and one by one', async () => {
    await warmUp(await managerOf(mine, foreign), {});
    await expectWarm(await readerOf(mine, foreign), 7, 5);
    for (const id of [mine, foreign]) await expectWarm(await readerOf(id), 7, 3);
  });

  it('caches requests of operators, and of readers of recent organizations', async () => {
    const { json } = await warmUp(operator, {});
    expect(json.failed).toBe(0);
    await expectWarm(await readerOf('*'), 7, 5);
    for (const id of [mine, foreign]) await expectWarm(await readerOf(id), 7, 3);
  });

  it('is of the organizations named, and no others', async () => {
    await warmUp(operator, { organizationIds: [mine] });
    await expectWarm(await readerOf(mine), 7, 3);
    expect(cacheOf(await service.get(EVENTS, await readerOf(foreign)))).toBe('MISS');
    const stranger = await warmUp(await managerOf(mine), { organizationIds: [mine, foreign] });
    expectProblem(stranger, 403, 'FORBIDDEN');
    expectProblem(
      await warmUp(await managerOf(mine), { organizationIds: ['*'] }),
      403,
      'FORBIDDEN',
    );
  });

  it('does not count as requests, and reads nothing that is kept', async () => {
    const before = await stats();
    const manager = await managerOf(mine);
    await warmUp(manager, {});
    const read = jest.spyOn(AuditPages.prototype, 'read');
    try {
      expect((await warmUp(manager, {})).json).toMatchObject({ warmedUp: 4, failed: 0, total: 4 });
      expect(read).not.toHaveBeenCalled();
    } finally {
      read.mockRestore();
    }
    const after = await stats();
    for (const name of ['totalRequests', 'totalHits', 'totalMisses', 'excludedRequests']) {
      expect([name, after[name]]).toEqual([name, before[name]]);
    }
  });

  it('counts failures', async () => {
    const admin = new Client({ connectionString: service.databaseUrl });
    await admin.connect();
    try {
      await admin.query('BEGIN; LOCK TABLE audit_event IN ACCESS EXCLUSIVE MODE');
      const { status, json } = await warmUp(await managerOf(mine), {});
      expect(status).toBe(200);
      expect(json).toMatchObject({ warmedUp: 0, failed: 2, total: 2 });
    } finally {
      await admin.query('ROLLBACK');
      await admin.end();
    }
    expect((await stats()).entries).toBe(0);
    expect((await warmUp(await managerOf(mine), {})).json).toMatchObject({ failed: 0, total: 4 });
  });

  it('reads few at a time', async () => {
    const original = AuditPages.prototype.read; // eslint-disable-line @typescript-eslint/unbound-method -- called with its object below
    let [running, most] = [0, 0];
    const read = jest.spyOn(AuditPages.prototype, 'read').mockImplementation(async function (
      this: AuditPages,
      page,
    ) {
      running += 1;
      most = Math.max(most, running);
      try {
        return await original.call(this, page);
      } finally {
        running -= 1;
      }
    });
    try {
      await warmUp(operator, { organizationIds: Array.from({ length: 50 }, (_, at) => `o-${at}`) });
    } finally {
      read.mockRestore();
    }
    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThanOrEqual(4);
  });

  it.each([
    [{ preloadDays: 0 }, 'preloadDays'],
    [{ preloadDays: 31 }, 'preloadDays'],
    [{ preloadDays: 1.5 }, 'preloadDays'],
    [{ preloadDays: '7' }, 'preloadDays'],
    [{ organizationIds: [] }, 'organizationIds'],
    [{ organizationIds: 'org-1' }, 'organizationIds'],
    [{ organizationIds: [''] }, 'organizationIds[0]'],
    [{ days: 7 }, 'days'],
  ])('refuses %j', async (body, path) => {
    const answer = await warmUp(operator, body);
    expectProblem(answer, 400, 'VALIDATION_FAILED');
    expect(pathsOf(answer)).toEqual([path]);
  });

  it('needs performance:manage', async () => {
    const reader = await tokenOf({ scope: 'audit:read performance:read', organizations: [mine] });
    expectProblem(await warmUp(reader, {}), 403, 'FORBIDDEN');
  });
});
