import { Logger } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { Client } from 'pg';
import { EventFeed, type FeedEvent } from '../../src/audit/feed/event-feed';
import { EventTailer } from '../../src/audit/feed/event-tailer';
import type { AppError } from '../../src/platform/errors/app-error';
import { newEvent, openReplica, writeRequest } from '../integration/replica.fixture';
import { until } from '../integration/until.fixture';
import { loseEventsBehind } from '../support/lost-commits';
import { TailClient } from '../support/tail-client';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';

let service: TestService;

beforeAll(async () => {
  service = await TestService.start({ REDIS_URL: '' });
});

afterAll(async () => {
  await service?.stop();
});

const newOrganization = () => `org-${randomUUID()}`;

async function tail(organizations: string[]) {
  const token = await tokenOf({ organizations });
  return TailClient.open(`${service.url}${EVENTS}/tail`, { authorization: `Bearer ${token}` });
}

async function record(organizationId: string, count: number) {
  const token = await tokenOf({ organizations: [organizationId] });
  const events = Array.from({ length: count }, () => eventWith({ organizationId }));
  const answer = await service.post(`${EVENTS}/bulk`, token, { events });
  expect(answer.status).toBe(201);
}

const upTo = (last: number) => Array.from({ length: last }, (_, index) => 1 + index);

describe('a reader that takes nothing', () => {
  it('is cut when more waits for it than is kept, and goes on from its cursor', async () => {
    const organization = newOrganization();
    const principal = {
      subject: randomUUID(),
      scopes: new Set(['audit:read']),
      organizations: [organization],
      expiresAtMs: Date.now() + 3_600_000,
    };
    const feed = service.provider(EventFeed);
    const { signal } = new AbortController();
    const slow = feed.follow(principal, { filter: {}, signal, kind: 'sse' });
    await slow.begun;
    await record(organization, 10);
    const first = await slow.next();
    for (let round = 0; round < 6; round += 1) await record(organization, 1000);
    await until(() => feed.statistics().delivered > 0);
    const taken: (string | null)[] = [(first.value as FeedEvent).cursor];
    await expect(
      (async () => {
        for (;;) {
          await new Promise((resolve) => setTimeout(resolve, 20)); // slower than events come
          const { done, value } = await slow.next();
          if (done) throw new Error('it ended as if nothing were wrong');
          taken.push(value.cursor);
        }
      })(),
    ).rejects.toMatchObject({ code: 'SLOW_CONSUMER' });
    const rest = feed.follow(principal, {
      filter: {},
      after: taken.at(-1) ?? '',
      signal,
      kind: 'sse',
    });
    const cursors: (string | null)[] = [];
    for await (const { cursor } of rest) {
      cursors.push(cursor);
      if (cursor?.startsWith('6010.')) break;
    }
    expect([...taken, ...cursors].map((cursor) => Number(cursor?.split('.')[0]))).toEqual(
      upTo(6010),
    );
  });
});

describe('a process that stops', () => {
  it('ends its tails at once', async () => {
    const other = await TestService.start({ REDIS_URL: '' });
    const url = `${other.url}${EVENTS}/tail`;
    const client = await TailClient.open(url, { authorization: `Bearer ${await tokenOf()}` });
    const feed = other.provider(EventFeed);
    await other.stop();
    await until(() => client.isOver);
    expect(feed.statistics().ends).toMatchObject({ shutdown: 1, left: 0 });
    expect(client.messages).toEqual([]);
  });
});

describe('events that cannot be read', () => {
  it('end each feed with the error, when to wait does not help', async () => {
    const organization = newOrganization();
    const [mine, all] = [await tail([organization]), await tail(['*'])];
    await record(organization, 1);
    await until(() => mine.events.length === 1 && all.events.length > 0);
    const admin = new Client({ connectionString: service.databaseUrl });
    await admin.connect();
    try {
      await admin.query('ALTER TABLE audit_event RENAME COLUMN action TO gone');
      await admin.query('UPDATE audit_organization SET last_sequence = last_sequence + 1');
      for (const client of [mine, all]) {
        await until(() => client.isOver);
        const { event, data } = client.messages.at(-1) ?? { data: '{}' };
        expect(event).toBe('error');
        expect(JSON.parse(data)).toMatchObject({ status: 500, code: 'INTERNAL' });
      }
    } finally {
      await admin.query('UPDATE audit_organization SET last_sequence = last_sequence - 1');
      await admin.query('ALTER TABLE audit_event RENAME COLUMN gone TO action');
      await admin.end();
    }
    const again = await tail([organization]);
    await record(organization, 1);
    await until(() => again.events.length === 1);
    await again.close();
  });
});

describe('a tail of everything', () => {
  it('has the first events of an organization that another client follows first', async () => {
    const organization = newOrganization();
    const all = await tail(['*']);
    // Recorded behind the back of this process, as on another replica that nobody hears of.
    const replica = await openReplica(service.databaseUrl);
    await replica.writer.write(writeRequest([newEvent({ organizationId: organization })]));
    const mine = await tail([organization]);
    await record(organization, 1);
    const own = () => all.events.filter((event) => event.organizationId === organization);
    await until(() => own().length === 2);
    expect(own().map(({ sequence }) => sequence)).toEqual(['1', '2']);
    await replica.close();
    for (const client of [all, mine]) await client.close();
  });
});

describe('a reader that leaves while a backlog is read', () => {
  it('leaves nothing behind that goes on reading', async () => {
    const organization = newOrganization();
    const live = service.provider(EventTailer);
    let given = 0;
    const following = await live.follow([organization], {
      onEvent: () => {
        given += 1;
        following.unsubscribe();
      },
      onEnd: () => undefined,
    });
    await record(organization, 300); // more than one statement reads
    await until(() => given > 0);
    await until(() => !live['isReading']);
    expect([given, live['due'].size]).toEqual([1, 0]);
  });
});

describe('a look at the heads', () => {
  const errors = jest.spyOn(Logger.prototype, 'error');
  const saidLost = () => errors.mock.calls.flat().some((line) => /went back/.test(String(line)));
  afterEach(() => errors.mockClear());
  afterAll(() => errors.mockRestore());

  /** The numbers that a listener of its own is told, and how it ends. */
  async function follow(organization: string) {
    const sequences: number[] = [];
    const ends: AppError[] = [];
    const { unsubscribe: leave } = await service.provider(EventTailer).follow([organization], {
      onEvent: ({ sequence }) => sequences.push(Number(sequence)),
      onEnd: (error) => ends.push(error),
    });
    return { sequences, ends, leave };
  }

  it('that is overtaken by events finds nothing lost, and gives none twice', async () => {
    const organization = newOrganization();
    const live = service.provider(EventTailer);
    const { sequences, leave } = await follow(organization);
    const reads = live['log'];
    const headsOf = reads.headsOf.bind(reads);
    let looks = 0;
    const overtaken = jest.spyOn(reads, 'headsOf').mockImplementation(async (organizations) => {
      const heads = await headsOf(organizations);
      const given = sequences.length;
      await record(organization, 1);
      await until(() => sequences.length > given);
      looks += 1;
      return heads;
    });
    await until(() => looks === 2);
    overtaken.mockRestore();
    await record(organization, 1);
    await until(() => sequences.includes(3));
    expect(sequences).toEqual(upTo(3));
    expect(saidLost()).toBe(false);
    leave();
  });

  it('finds that the database has lost commits, and gives nothing more of that log', async () => {
    const organization = newOrganization();
    const { sequences, ends, leave } = await follow(organization);
    await record(organization, 3);
    await until(() => sequences.length === 3);
    const admin = await service.connect();
    await loseEventsBehind(admin, organization, 1);
    await admin.end();
    await until(() => ends.length > 0);
    await until(saidLost);
    const again = await follow(organization);
    await record(organization, 1);
    await until(() => again.sequences.length === 1);
    expect([sequences, again.sequences]).toEqual([[1, 2, 3], [2]]);
    expect(ends.map(({ code }) => code)).toEqual(['TIMELINE_CHANGED']);
    leave();
    again.leave();
  });
});

describe('a reader that takes no byte', () => {
  it('does not hold up a process that stops', async () => {
    const other = await TestService.start({ REDIS_URL: '' });
    const socket = connect(other.port, '127.0.0.1');
    socket.on('error', () => undefined);
    const token = await tokenOf();
    socket.write(
      `GET ${EVENTS}/tail HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`,
    );
    await once(socket, 'readable'); // the head; nothing is read from here on
    const metadata = { text: 'x'.repeat(200_000) };
    for (let round = 0; round < 60; round += 1) {
      await other.post(EVENTS, token, eventWith({ metadata }));
    }
    const feed = other.provider(EventFeed);
    const warnings = jest.spyOn(Logger.prototype, 'warn');
    await other.stop();
    expect(feed.statistics().ends).toMatchObject({ shutdown: 1 });
    expect(warnings.mock.calls.flat()).not.toContainEqual(expect.stringContaining('have been cut'));
    warnings.mockRestore();
    socket.destroy();
  });
});
