import { randomUUID } from 'node:crypto';
import type { Client } from 'pg';
import { until as forever } from '../integration/until.fixture';
import { allowEventChanges } from '../support/event-changes';
import { GraphqlSubscriber } from '../support/graphql-subscriber';
import { loseEventsBehind } from '../support/lost-commits';
import { expectProblem } from '../support/problem';
import { TailClient } from '../support/tail-client';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';
import { trpcClient } from '../support/trpc-client';

let service: TestService;
let admin: Client;
const closing: (() => unknown)[] = [];

beforeAll(async () => {
  service = await TestService.start({ REDIS_URL: '' });
  admin = await service.connect();
});

afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

afterAll(async () => {
  await admin?.end();
  await service?.stop();
});

/** Fails in time, so that no loop goes on behind its test. */
async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + 50_000;
  await forever(() => {
    if (performance.now() > end) throw new Error('The condition did not come true.');
    return condition();
  });
}

const newOrganizations = (count: number) =>
  Array.from({ length: count }, () => `org-${randomUUID()}`).sort();
const operator = () => tokenOf({ sub: randomUUID(), organizations: ['*'] });

async function record(organizationId: string, count: number, members: object = {}): Promise<void> {
  const events = Array.from({ length: count }, () => eventWith({ organizationId, ...members }));
  const answer = await service.post(`${EVENTS}/bulk`, await operator(), { events });
  expect(answer.status).toBe(201);
}

async function tail(token: string, query = '', lastId?: string): Promise<TailClient> {
  const client = await TailClient.open(`${service.url}${EVENTS}/tail${query}`, {
    authorization: `Bearer ${token}`,
    ...(lastId === undefined ? {} : { 'last-event-id': lastId }),
  });
  closing.push(() => client.close());
  return client;
}

const refusal = (token: string, lastId: string, query = '') =>
  service.get(`${EVENTS}/tail${query}`, token, { 'last-event-id': lastId });

const namesOf = (events: Record<string, unknown>[], organizations: readonly string[]) =>
  events
    .filter(({ organizationId }) => organizations.includes(String(organizationId)))
    .map(({ organizationId, sequence }) => `${String(organizationId)} ${String(sequence)}`);

const names = (organization: string, ...sequences: number[]) =>
  sequences.map((sequence) => `${organization} ${sequence}`);

/** Microseconds since 1970 of the mark in an id. */
const markOf = (id: string) => Number.parseInt(/~([0-9a-z]+)\./.exec(id)?.[1] ?? '', 36);

async function microsNow(): Promise<number> {
  const { rows } = await admin.query<{ micros: string }>(
    'SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint::text AS micros',
  );
  return Number(rows[0]?.micros);
}

/** Records until the mark in the ids is behind a moment. */
async function untilMarked(client: TailClient, micros: number): Promise<void> {
  const [ticker = ''] = newOrganizations(1);
  await until(async () => {
    await record(ticker, 1);
    return markOf(client.lastId) > micros;
  });
}

describe('a feed of all organizations', () => {
  it('goes on where it stopped in each, with those that begin while it is away', async () => {
    const [x = '', y = '', z = ''] = newOrganizations(3);
    const all = [x, y, z];
    const token = await operator();
    await record(x, 2);
    const first = await tail(token);
    await record(x, 2);
    await record(y, 1);
    await until(() => namesOf(first.events, all).length === 3);
    await first.close();
    await record(z, 3);
    await record(y, 2);
    const second = await tail(token, '', first.lastId);
    await until(() => namesOf(second.events, all).length === 5);
    await record(x, 1);
    await until(() => namesOf(second.events, all).length === 6);
    const seen = namesOf([...first.events, ...second.events], all);
    expect(seen.sort()).toEqual(
      [...names(x, 3, 4, 5), ...names(y, 1, 2, 3), ...names(z, 1, 2, 3)].sort(),
    );
  });

  it('goes on from a cursor that a mark has moved on, also behind events that the filter excludes', async () => {
    const [x = '', y = ''] = newOrganizations(2);
    const token = await operator();
    const first = await tail(token);
    await record(x, 2);
    await record(y, 3, { action: 'other' });
    await untilMarked(first, await microsNow());
    expect(first.lastId.split('~').length).toBeLessThan(6);
    await first.close();
    await record(x, 1);
    await record(y, 1);
    const second = await tail(token, '', first.lastId);
    await until(() => namesOf(second.events, [x, y]).length === 2);
    expect(namesOf(second.events, [x, y]).sort()).toEqual([...names(x, 3), ...names(y, 4)].sort());

    const filtered = await tail(token, '?actions=wanted');
    await record(x, 5, { action: 'other' });
    await record(y, 1, { action: 'wanted' });
    await until(() => filtered.messages.length === 1);
    await filtered.close();
    await record(x, 1, { action: 'wanted' });
    const again = await tail(token, '?actions=wanted', filtered.lastId);
    await until(() => again.messages.length === 1);
    expect(namesOf(again.events, [x, y])).toEqual(names(x, 9));
  });

  it('sees each event of many writers once over many reconnections', async () => {
    const organizations = newOrganizations(40);
    const [last = ''] = newOrganizations(1);
    const token = await operator();
    const seen: string[] = [];
    let client = await tail(token);
    let isWriting = true;
    const written: string[] = [];
    const writing = Promise.all(
      organizations.map(async (organization, at) => {
        for (let round = 0, sequence = 0; round < 8; round += 1) {
          const count = 1 + ((round + at) % 3);
          await record(organization, count);
          for (let one = 0; one < count; one += 1) {
            sequence += 1;
            written.push(...names(organization, sequence));
          }
        }
      }),
    ).finally(() => (isWriting = false));
    let reconnections = 0;
    let previousId = '';
    while (isWriting) {
      const enough = client.messages.length + 5;
      await until(() => client.messages.length >= enough || !isWriting);
      await client.close();
      seen.push(...namesOf(client.events, organizations));
      // Without an event it has no id of its own yet.
      previousId = client.lastId || previousId;
      client = await tail(token, '', previousId);
      reconnections += 1;
    }
    await writing;
    // Behind everything that is written.
    await record(last, 1);
    await until(() => namesOf(client.events, [last]).length > 0);
    seen.push(...namesOf(client.events, organizations));
    expect(reconnections).toBeGreaterThan(1);
    expect([...seen].sort()).toEqual([...written].sort());
  });
  it('does not pass a commit that comes later than others with later times', async () => {
    const [slow = '', other = ''] = newOrganizations(2);
    const token = await operator();
    await record(slow, 1);
    const client = await tail(token);
    const writer = await service.connect();
    closing.push(() => writer.end());
    await writer.query('BEGIN');
    await writer.query(
      `WITH head AS (
         UPDATE audit_organization SET last_sequence = last_sequence + 1, recorded_at = clock_timestamp()
         WHERE organization_id = $1 RETURNING last_sequence, recorded_at)
       INSERT INTO audit_event (organization_id, id, timestamp, action, status, data_classification, sequence, recorded_at)
       SELECT $1, gen_random_uuid(), date_trunc('milliseconds', now()), 'slow', 'success', 'INTERNAL', last_sequence, recorded_at FROM head`,
      [slow],
    );
    const begun = await microsNow();
    // Long enough for a mark, were none running.
    const later = begun + 6_000_000;
    await until(async () => {
      await record(other, 1);
      return (await microsNow()) > later;
    });
    await until(() => namesOf(client.events, [other]).length > 3);
    expect(markOf(client.lastId)).toBeLessThan(begun);
    await client.close();
    await writer.query('COMMIT');
    await record(other, 1);
    const again = await tail(token, '', client.lastId);
    await until(() => namesOf(again.events, [slow]).length === 1);
    expect(namesOf(again.events, [slow])).toEqual(names(slow, 2));
    const total = namesOf([...client.events, ...again.events], [other]);
    expect(new Set(total).size).toBe(total.length);
    await untilMarked(again, begun);
  });

  it('of more active organizations than a cursor names misses nothing', async () => {
    const organizations = newOrganizations(130);
    const token = await operator();
    const first = await tail(token);
    const events = organizations.map((organizationId) => eventWith({ organizationId }));
    await service.post(`${EVENTS}/bulk`, token, { events });
    await until(() => namesOf(first.events, organizations).length === 130);
    await first.close();
    expect(first.lastId.length).toBeLessThan(4096);
    await service.post(`${EVENTS}/bulk`, token, { events });
    const second = await tail(token, '', first.lastId);
    const expected = organizations.flatMap((id) => names(id, 2));
    await until(() => {
      const own = new Set(namesOf(second.events, organizations));
      return expected.every((name) => own.has(name));
    });
    const own = namesOf(second.events, organizations);
    expect(new Set(own).size).toBe(own.length); // once in each connection
  });

  it('goes on over tRPC, and over a socket from an id of the others', async () => {
    const [x = '', y = ''] = newOrganizations(2);
    const token = await operator();
    const first = await tail(token);
    await record(x, 1);
    await until(() => namesOf(first.events, [x]).length === 1);
    await first.close();
    await record(y, 2);
    const seen: Record<string, unknown>[] = [];
    let lastId = '';
    const feed = trpcClient(service.url, token).performance.auditEventRecorded.subscribe(
      { lastEventId: first.lastId },
      {
        onData: ({ id, data }) => {
          seen.push({ ...data });
          lastId = id;
        },
      },
    );
    closing.push(() => feed.unsubscribe());
    await until(() => namesOf(seen, [x, y]).length === 2);
    feed.unsubscribe();
    await record(x, 1);
    const subscription = `subscription ($after: String) { auditEventRecorded(afterSequence: $after) { organizationId sequence } }`;
    const params = { authorization: `Bearer ${token}` };
    const socket = GraphqlSubscriber.open(service.url, params, subscription, { after: lastId });
    closing.push(() => socket.close());
    const events = () =>
      socket.data.map(({ auditEventRecorded: event }) => event as Record<string, unknown>);
    await until(() => namesOf(events(), [x, y]).length === 1);
    expect(namesOf([...seen, ...events()], [x, y])).toEqual([...names(y, 1, 2), ...names(x, 2)]);
  });

  it('takes no position but of its own events', async () => {
    const [x = ''] = newOrganizations(1);
    const token = await operator();
    const client = await tail(token);
    await record(x, 1);
    await until(() => namesOf(client.events, [x]).length === 1);
    for (const id of [
      '5',
      '0',
      'all',
      'all~',
      `${client.lastId}~`,
      `${client.lastId}~x`,
      'all~a.1~',
    ]) {
      const answer = await refusal(token, id);
      expectProblem(answer, 400, 'INVALID_CURSOR');
      expect(answer.json.detail).toContain('the id of one of its own events');
    }
    const named = await refusal(token, client.lastId, `?organization_ids=${x}`);
    expectProblem(named, 400, 'INVALID_CURSOR');
  });
});

describe('a position of all organizations after a loss', () => {
  /** An id that a mark has moved behind the events of an organization. */
  async function idBehind(organization: string, count: number): Promise<string> {
    const client = await tail(await operator());
    await record(organization, count);
    await until(() => namesOf(client.events, [organization]).length === count);
    await untilMarked(client, await microsNow());
    await client.close();
    return client.lastId;
  }

  it('is refused, and says where the log of the last event ends', async () => {
    const [x = ''] = newOrganizations(1);
    const token = await operator();
    const client = await tail(token);
    await record(x, 5);
    await until(() => namesOf(client.events, [x]).length === 5);
    await client.close();
    await loseEventsBehind(admin, x, 2);
    const ahead = await refusal(token, client.lastId);
    expectProblem(ahead, 409, 'TIMELINE_CHANGED');
    expect(ahead.json.detail).toContain(`"${x}"`);
    expect(ahead.json.detail).toContain('Its last event is 2.');
    await record(x, 5, { action: 'given again' });
    const other = await refusal(token, client.lastId);
    expectProblem(other, 409, 'TIMELINE_CHANGED');
    expect(other.json.detail).toContain('Its last event is 7.');
  });

  it('is refused when what was lost is not in the cursor by name', async () => {
    const [x = ''] = newOrganizations(1);
    const token = await operator();
    const id = await idBehind(x, 4);
    await loseEventsBehind(admin, x, 2);
    expectProblem(await refusal(token, id), 409, 'TIMELINE_CHANGED');
    await record(x, 2, { action: 'given again' });
    expectProblem(await refusal(token, id), 409, 'TIMELINE_CHANGED');
  });

  it('is refused when the clock was set back and events would be skipped', async () => {
    const [x = ''] = newOrganizations(1);
    const token = await operator();
    const id = await idBehind(x, 3);
    await record(x, 1);
    await allowEventChanges(admin);
    await admin.query(
      `UPDATE audit_event e SET recorded_at = (SELECT recorded_at + interval '1 microsecond' FROM audit_event
         WHERE organization_id = $1 AND sequence = 3) WHERE organization_id = $1 AND sequence = 4`,
      [x],
    );
    const answer = await refusal(token, id);
    expectProblem(answer, 409, 'TIMELINE_CHANGED');
    expect(answer.json.detail).toContain('its clock was set back');
  });

  it('goes on when retention has removed events', async () => {
    const [x = '', y = ''] = newOrganizations(2);
    const token = await operator();
    await record(y, 4);
    const id = await idBehind(x, 4);
    for (const [organization, from] of [
      [x, 2],
      [y, 1],
    ] as const) {
      await allowEventChanges(admin);
      await admin.query('DELETE FROM audit_event WHERE organization_id = $1 AND sequence >= $2', [
        organization,
        from,
      ]);
      await admin.query(
        `UPDATE audit_organization SET recorded_at = clock_timestamp() WHERE organization_id = $1`,
        [organization],
      );
    }
    const untouched = await tail(token, '', id);
    expect(untouched.response.status).toBe(200);
    await record(x, 1);
    await until(() => namesOf(untouched.events, [x, y]).length === 1);
    expect(namesOf(untouched.events, [x, y])).toEqual(names(x, 5));
  });
});

describe('a feed of more than a hundred named organizations', () => {
  it('goes on where it stopped in each', async () => {
    const organizations = newOrganizations(150);
    const [x = '', y = ''] = [organizations[3], organizations[120]];
    const token = await tokenOf({ sub: randomUUID(), organizations });
    await record(x, 1);
    const first = await tail(token);
    await record(x, 1);
    await until(() => first.messages.length === 1);
    await first.close();
    await record(y, 1);
    await record(x, 2);
    const second = await tail(token, '', first.lastId);
    await until(() => second.messages.length === 3);
    await untilMarkedOf(second, x);
    await second.close();
    await record(y, 1);
    const third = await tail(token, '', second.lastId);
    await until(() => namesOf(third.events, [y]).length === 1);
    const seen = namesOf([...first.events, ...second.events, ...third.events], [x, y]);
    expect(new Set(seen).size).toBe(seen.length);
    expect(namesOf(third.events, [y])).toEqual(names(y, 2));
    const fewer = `?organization_ids=${organizations.slice(0, 120).join(',')}`;
    expectProblem(await refusal(token, second.lastId, fewer), 400, 'INVALID_CURSOR');
    expectProblem(await refusal(await operator(), second.lastId), 400, 'INVALID_CURSOR');
  });

  async function untilMarkedOf(client: TailClient, organization: string): Promise<void> {
    const micros = await microsNow();
    await until(async () => {
      await record(organization, 1);
      return markOf(client.lastId) > micros;
    });
  }
});
