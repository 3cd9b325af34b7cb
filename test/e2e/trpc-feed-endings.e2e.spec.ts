import { createTRPCClient, httpSubscriptionLink, retryLink } from '@trpc/client';
import { EventSource } from 'eventsource';
import { randomUUID } from 'node:crypto';
import { EventFeed } from '../../src/audit/feed/event-feed';
import { EventTailer } from '../../src/audit/feed/event-tailer';
import { SubscriptionLimiter } from '../../src/concurrency/subscription-limiter';
import { AppError } from '../../src/platform/errors/app-error';
import type { AppRouter } from '../../src/api/trpc/app-router';
import { until } from '../integration/until.fixture';
import { TestService, tokenOf } from '../support/test-service';
import { trpcClient } from '../support/trpc-client';

const organization = `org-${randomUUID()}`;
const SETTINGS = { REDIS_URL: '' };

/** The stock client, which asks for a token with each connection that it makes. */
function follow(urlOf: () => string, tokenFor: () => Promise<string>) {
  const seen: string[] = [];
  const client = createTRPCClient<AppRouter>({
    links: [
      retryLink({ retry: ({ error }) => error.data?.code === 'UNAUTHORIZED' }),
      httpSubscriptionLink({
        url: () => `${urlOf()}/trpc`,
        EventSource,
        eventSourceOptions: {
          fetch: async (input, init) => {
            const authorization = `Bearer ${await tokenFor()}`;
            const target = new URL(String(input));
            const url = `${urlOf()}${target.pathname}${target.search}`;
            return fetch(url, { ...init, headers: { ...init.headers, authorization } });
          },
        },
      }),
    ],
  });
  let start = (): void => undefined;
  const started = new Promise<void>((resolve) => (start = resolve));
  const subscription = client.performance.auditEventRecorded.subscribe(undefined, {
    onStarted: () => start(),
    onData: ({ data }) => seen.push(data.sequence),
  });
  return { seen, started, close: () => subscription.unsubscribe() };
}

const write = async (service: TestService) => {
  const token = await tokenOf({ organizations: [organization] });
  await trpcClient(service.url, token).performance.bulkCreateAuditEvents.mutate({
    events: [{ organizationId: organization, action: 'live', status: 'success' }],
  });
};

it('a feed whose token expires ends, and the stock client goes on with a new one', async () => {
  const service = await TestService.start(SETTINGS);
  const feed = service.provider(EventFeed);
  let asked = 0;
  const tokenFor = () => {
    asked += 1;
    const seconds = asked === 1 ? 4 : 3600;
    return tokenOf({ organizations: [organization], exp: Math.floor(Date.now() / 1000) + seconds });
  };
  const reader = follow(() => service.url, tokenFor);
  await reader.started;
  await write(service);
  await until(() => reader.seen.length === 1);
  await until(() => feed.statistics().ends['expired'] === 1);
  await write(service); // while nobody follows
  const { sequence } = await lastOf(service);
  await until(() => reader.seen.at(-1) === sequence);
  const first = Number(reader.seen[0]);
  expect(reader.seen.map(Number)).toEqual(reader.seen.map((_, index) => first + index));
  expect(asked).toBeGreaterThan(1);
  reader.close();
  await service.stop();
});

it('a feed of a process that stops ends at once, and the stock client goes on at another', async () => {
  const two = await TestService.start(SETTINGS);
  const one = await TestService.start(SETTINGS, () => Promise.resolve(two.databaseUrl));
  let current = one;
  const tokenFor = () => tokenOf({ organizations: [organization] });
  const reader = follow(() => current.url, tokenFor);
  await reader.started;
  await write(one);
  await until(() => reader.seen.length === 1);
  const feed = one.provider(EventFeed);
  current = two;
  const stopped = one.stop();
  await until(() => feed.statistics().ends['shutdown'] === 1);
  await stopped;
  await write(two);
  const { sequence } = await lastOf(two);
  await until(() => reader.seen.at(-1) === sequence);
  const first = Number(reader.seen[0]);
  expect(reader.seen.map(Number)).toEqual(reader.seen.map((_, index) => first + index));
  reader.close();
  await two.stop();
});

it('a feed that cannot begin releases its permit without a reader', async () => {
  const service = await TestService.start(SETTINGS);
  const live = service.provider(EventTailer);
  jest.spyOn(live, 'follow').mockRejectedValueOnce(new AppError('DATABASE_UNAVAILABLE', 'away'));
  const principal = { subject: 'a', scopes: new Set<string>(), expiresAtMs: Date.now() + 60_000 };
  const { begun } = service
    .provider(EventFeed)
    .follow(
      { ...principal, organizations: [organization] },
      { filter: {}, signal: new AbortController().signal, kind: 'trpc' },
    );
  const limiter = service.provider(SubscriptionLimiter);
  expect(limiter.active).toBe(1);
  await expect(begun).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
  await until(() => limiter.active === 0);
  await service.stop();
});

async function lastOf(service: TestService): Promise<{ sequence: string }> {
  const token = await tokenOf({ organizations: [organization] });
  const page = await trpcClient(service.url, token).performance.getOptimizedAuditEvents.query({
    pagination: { limit: 1, sort: { field: 'sequence' } },
    useCache: false,
  });
  return page.data[0];
}
