import { createTRPCClient, httpSubscriptionLink } from '@trpc/client';
import { EventSource } from 'eventsource';
import { randomUUID } from 'node:crypto';
import { get } from 'node:http';
import { setTimeout } from 'node:timers/promises';
import { AuditEventStream } from '../../src/audit/feed/audit-event-stream';
import { EventTailer } from '../../src/audit/feed/event-tailer';
import type { SubscriptionRouter } from '../../src/api/trpc/app-router';
import { until } from '../integration/until.fixture';
import { BreakablePath } from '../support/breakable-path';
import { TestService, tokenOf } from '../support/test-service';
import { failureOfCall, trpcClient } from '../support/trpc-client';

let service: TestService;
let token: string;
const organization = `org-${randomUUID()}`;
const TOTAL = 250;
const PATH = '/trpc/performance.streamAuditEvents';

beforeAll(async () => {
  service = await TestService.start({ STREAMING_MAX_CONCURRENT: '4' });
  token = await tokenOf({
    organizations: [organization],
    scope: 'audit:read audit:write audit:export',
  });
  await trpcClient(service.url, token).performance.bulkCreateAuditEvents.mutate({
    events: Array.from({ length: TOTAL }, (_, index) => ({
      organizationId: organization,
      action: index % 2 ? 'odd' : 'even',
      status: 'success' as const,
      metadata: { index },
    })),
  });
});

afterAll(() => service.stop());

const IN_ORDER = { limit: 40, sort: { field: 'sequence', direction: 'asc' } } as const;
const ALL = Array.from({ length: TOTAL }, (_, index) => String(index + 1));

const EMPTY = { startDate: '2026-02-01', endDate: '2026-02-01' };

/** A client that resumes, and the headers of the connections it has made. */
function subscriber(own = token, url = service.url) {
  const requests: Headers[] = [];
  const client = createTRPCClient<SubscriptionRouter>({
    links: [
      httpSubscriptionLink({
        url: `${url}/trpc`,
        EventSource,
        eventSourceOptions: {
          fetch: (input, init) => {
            const headers = new Headers({ ...init.headers, authorization: `Bearer ${own}` });
            requests.push(headers);
            return fetch(input, { ...init, headers });
          },
        },
      }),
    ],
  });
  return { client, requests };
}

describe('streamAuditEvents as an async iterable', () => {
  const stream = (input: object = {}) =>
    trpcClient(service.url, token).performance.streamAuditEvents.query(input);

  it('gives all events, page after page, each once and in order', async () => {
    const sequences: string[] = [];
    for await (const { sequence } of await stream({ pagination: IN_ORDER }))
      sequences.push(sequence);
    expect(sequences).toEqual(ALL);
  });

  it.each([
    { format: 'json', chunkSize: 100, compression: true },
    { format: 'ndjson', chunkSize: 10_000, compression: false },
    { format: null, chunkSize: null },
  ])('takes %j', async (streaming) => {
    const sequences: string[] = [];
    const input = { pagination: IN_ORDER, streaming };
    for await (const { sequence } of await stream(input)) sequences.push(sequence);
    expect(sequences).toEqual(ALL);
  });

  it.each([
    [{ format: 'csv' }, 'streaming.format', /json, ndjson/],
    [{ chunkSize: 99 }, 'streaming.chunkSize', /100/],
    [{ compression: 'gzip' }, 'streaming.compression', /true or false|boolean/],
    [{ chunks: 100 }, 'streaming.chunks', /./],
  ])('refuses %j', async (streaming, path, message) => {
    const { data } = await failureOfCall(stream({ streaming }));
    expect(data?.errors).toEqual([{ path, message: expect.stringMatching(message) }]);
  });

  it('gives those that the filter means, the newest first by default', async () => {
    const filter = { actions: ['odd'] };
    const indexes: unknown[] = [];
    for await (const { metadata } of await stream({ filter, pagination: { limit: 100 } })) {
      indexes.push(metadata?.index);
    }
    expect(indexes).toHaveLength(TOTAL / 2);
    expect(indexes.every((index) => Number(index) % 2 === 1)).toBe(true);
  });

  it('begins before everything is read, and stops reading when its client does', async () => {
    const headers = { authorization: `Bearer ${token}`, 'trpc-accept': 'application/jsonl' };
    const input = encodeURIComponent('{"0":{"pagination":{"limit":1}}}');
    const url = `${service.url}${PATH}?batch=1&input=${input}`;
    await new Promise<void>((resolve, reject) => {
      get(url, { headers }, (response) => {
        response.once('data', () => response.destroy());
        response.once('close', resolve);
      }).once('error', reject);
    });
    // Both places are free again: two others have room.
    const first = async () => {
      for await (const event of await stream({ pagination: IN_ORDER })) return event.sequence;
      return undefined;
    };
    await until(async () =>
      (await Promise.allSettled([first(), first()])).every(({ status }) => status === 'fulfilled'),
    );
  });

  it('refuses one stream too many, and has room again when one ends', async () => {
    // Taken inside the process: what a socket holds could be all there is, and the place free again.
    // Two principals, as one has at most half of the places.
    const openFor = (subject: string) => {
      const scopes = new Set<string>();
      const holder = { subject, scopes, organizations: [organization], expiresAtMs: 0 };
      return service.provider(AuditEventStream).open(holder, {}, new AbortController().signal);
    };
    const iterators: ReturnType<typeof openFor>[] = [];
    for (const subject of ['a', 'a', 'b', 'b']) {
      await until(async () => {
        const iterator = openFor(subject); // places of streams before this one may only just be given back
        const isOpen = await iterator.next().then(Boolean, () => false);
        if (isOpen) iterators.push(iterator);
        return isOpen;
      });
    }
    await expect(openFor('a').next()).rejects.toMatchObject({ code: 'TOO_MANY_REQUESTS' });
    const third = async () => {
      for await (const event of await stream()) return event;
      return undefined;
    };
    const { data } = await failureOfCall(third());
    expect(data).toMatchObject({ kind: 'TOO_MANY_REQUESTS', retryAfterSeconds: 5 });
    for (const iterator of iterators) await iterator.return(undefined);
    await until(() => third().then(Boolean, () => false));
  });

  it.each([
    ['without the scope for exports', 'audit:read', {}, 'FORBIDDEN'],
    [
      'of another organization',
      'audit:export',
      { filter: { organizationIds: ['other'] } },
      'FORBIDDEN',
    ],
    ['behind nonsense', 'audit:export', { lastEventId: 'x' }, 'INVALID_CURSOR'],
    ['with a bad input', 'audit:export', { pagination: { limit: 0 } }, 'VALIDATION_FAILED'],
    ['of an empty range', 'audit:export', { filter: { dateRange: EMPTY } }, 'VALIDATION_FAILED'],
  ])('is refused %s', async (_case, scope, input, kind) => {
    const own = await tokenOf({ scope, organizations: [organization] });
    const call = trpcClient(service.url, own).performance.streamAuditEvents.query(input);
    expect((await failureOfCall(call)).data?.kind).toBe(kind);
  });

  it('names the requirement to a client that cannot stream', async () => {
    const answer = await service.get(PATH, token);
    expect(answer.status).toBe(415);
    expect(answer.json.error.message).toContain('httpBatchStreamLink');
  });
});

describe('streamAuditEvents as a subscription', () => {
  it('gives all events and says that it is done', async () => {
    const { client } = subscriber();
    const sequences: string[] = [];
    await new Promise<void>((resolve, reject) => {
      client.performance.streamAuditEvents.subscribe(
        { pagination: IN_ORDER },
        {
          onData: ({ data }) => sequences.push(data.sequence),
          onComplete: resolve,
          onError: reject,
        },
      );
    });
    expect(sequences).toEqual(ALL);
  });

  it('goes on behind the last event when the connection breaks', async () => {
    const way = new BreakablePath(service.port);
    const { client, requests } = subscriber(token, await way.open());
    const sequences: string[] = [];
    await new Promise<void>((resolve, reject) => {
      client.performance.streamAuditEvents.subscribe(
        { pagination: { ...IN_ORDER, limit: 1 } },
        {
          onData: ({ data }) => {
            sequences.push(data.sequence);
            if (sequences.length === 5) way.cut();
          },
          onComplete: resolve,
          onError: reject,
        },
      );
    });
    expect(sequences).toEqual(ALL);
    expect(requests.length).toBeGreaterThan(1);
    expect(requests.at(-1)?.get('last-event-id')).toEqual(expect.any(String));
    await way.close();
  });

  it('starts after the given event', async () => {
    const { client } = subscriber();
    const first = await new Promise<{ id: string; sequence: string }>((resolve, reject) => {
      const subscription = client.performance.streamAuditEvents.subscribe(
        { pagination: IN_ORDER },
        {
          onData: ({ id, data }) => {
            subscription.unsubscribe();
            resolve({ id, sequence: data.sequence });
          },
          onError: reject,
        },
      );
    });
    const rest: string[] = [];
    await new Promise<void>((resolve, reject) => {
      client.performance.streamAuditEvents.subscribe(
        { pagination: IN_ORDER, lastEventId: first.id },
        { onData: ({ data }) => rest.push(data.sequence), onComplete: resolve, onError: reject },
      );
    });
    expect([first.sequence, ...rest]).toEqual(ALL);
  });

  it('is refused without the scope', async () => {
    const { client } = subscriber(await tokenOf({ scope: 'audit:read' }));
    const failed = new Promise((_resolve, reject) => {
      client.performance.streamAuditEvents.subscribe({}, { onError: reject });
    });
    expect((await failureOfCall(failed)).data?.kind).toBe('FORBIDDEN');
  });
});

describe('auditEventRecorded', () => {
  const filter = { actions: ['live'] };
  const record = (index: number) =>
    trpcClient(service.url, token).performance.bulkCreateAuditEvents.mutate({
      events: [
        { organizationId: organization, action: 'live', status: 'success', metadata: { index } },
        { organizationId: organization, action: 'other', status: 'success' },
      ],
    });

  it('has begun when it says so, however long that takes', async () => {
    const live = service.provider(EventTailer);
    const begin = live.follow.bind(live);
    const slow = jest.spyOn(live, 'follow').mockImplementationOnce(async (...followed) => {
      await setTimeout(200);
      return begin(...followed);
    });
    const { client } = subscriber();
    const seen: unknown[] = [];
    await new Promise<void>((resolve) => {
      const subscription = client.performance.auditEventRecorded.subscribe(
        { filter },
        { onStarted: () => resolve(), onData: ({ data }) => seen.push(data.metadata?.index) },
      );
      closing.push(() => subscription.unsubscribe());
    });
    for (const index of [1, 2, 3]) await record(index);
    await until(() => seen.includes(3));
    expect(seen).toEqual([1, 2, 3]);
    for (const close of closing.splice(0)) close();
    slow.mockRestore();
  });

  it('delivers events as they are recorded, and of those meanwhile when the connection breaks', async () => {
    const way = new BreakablePath(service.port);
    const { client, requests } = subscriber(token, await way.open());
    const seen: unknown[] = [];
    const started = new Promise<void>((resolve) => {
      const subscription = client.performance.auditEventRecorded.subscribe(
        { filter },
        {
          onStarted: () => resolve(),
          onData: ({ data }) => seen.push(data.metadata?.index),
        },
      );
      closing.push(() => subscription.unsubscribe());
    });
    await started;
    await record(1);
    await until(() => seen.includes(1));
    way.cut();
    await record(2);
    await record(3);
    await until(() => seen.includes(3));
    expect(seen).toEqual([1, 2, 3]);
    expect(requests.at(-1)?.get('last-event-id')).toEqual(expect.any(String));
    for (const close of closing.splice(0)) close();
    await way.close();
  });

  it.each([
    ['a lacking scope', 'audit:write', {}, 'FORBIDDEN'],
    ['a foreign organization', 'audit:read', { organizationIds: ['other'] }, 'FORBIDDEN'],
    ['a bad filter', 'audit:read', { actions: [] }, 'VALIDATION_FAILED'],
    ['an empty range', 'audit:read', { dateRange: EMPTY }, 'VALIDATION_FAILED'],
  ])('is refused for %s', async (_case, scope, wanted, kind) => {
    const { client } = subscriber(await tokenOf({ scope, organizations: [organization] }));
    const failed = new Promise((_resolve, reject) => {
      client.performance.auditEventRecorded.subscribe({ filter: wanted }, { onError: reject });
    });
    expect((await failureOfCall(failed)).data?.kind).toBe(kind);
  });
});

const closing: (() => void)[] = [];
