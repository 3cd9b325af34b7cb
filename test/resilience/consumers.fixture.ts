import { createTRPCClient, httpSubscriptionLink, TRPCClientError } from '@trpc/client';
import { EventSource } from 'eventsource';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AppRouter } from '../../src/api/trpc/app-router';
import { tokenFor } from '../integration/service.fixture';
import { GraphqlSubscriber } from '../support/graphql-subscriber';
import { TailClient } from '../support/tail-client';
import { EVENTS } from '../support/test-service';
import {
  type Connect,
  type Connection,
  Consumer,
  type Delivery,
  PAGE_CHANGED,
} from './consumer.fixture';

const POLL_MS = 40;
const PAGE = 20;

/** A reader of each kind for each organization, and one tail of all of them together. */
export async function startConsumers(
  urls: readonly string[],
  organizations: readonly string[],
): Promise<Consumer[]> {
  const kinds: [string, Connect][] = [
    ['a tail', overTail('0')],
    ['a GraphQL subscription', overSocket],
    ['a tRPC subscription', overTrpc],
    ['a reader of pages by sequence', overPages],
  ];
  const token = (own: readonly string[]) =>
    tokenFor({ organizations: [...own], subject: randomUUID() });
  const each = organizations.map(async (organization, index) => {
    // Half of them begin at either replica.
    const order = index % 2 === 0 ? urls : [...urls].reverse();
    const own = { urls: order, token: await token([organization]), hasBeginning: true };
    return kinds.map(([name, connect]) => new Consumer(name, [organization], { ...own, connect }));
  });
  const ofAll = { urls, token: await token(organizations), hasBeginning: false };
  const together = { ...ofAll, connect: overTail(undefined) };
  const all = [
    ...(await Promise.all(each)).flat(),
    new Consumer('a tail of several organizations', organizations, together),
  ];
  await Promise.all(all.map(({ begun }) => begun));
  return all;
}

/** One that never came about. */
function refused(refusal: string | undefined): Connection {
  return {
    ...{ deliveries: [], position: undefined, refusal, isOver: true },
    close: () => Promise.resolve(),
  };
}

function codeOf(text: string): string | undefined {
  try {
    return (JSON.parse(text) as { code?: string }).code;
  } catch {
    return undefined;
  }
}

/** Server-sent events; `beginning` is the position before the first event, where there is one. */
function overTail(beginning: string | undefined): Connect {
  return async (url, token, position = beginning) => {
    const headers: Record<string, string> = { authorization: `Bearer ${token}` };
    if (position !== undefined) headers['last-event-id'] = position;
    const client = await TailClient.open(`${url}${EVENTS}/tail`, headers).catch(() => undefined);
    if (!client) return refused(undefined);
    if (client.response.status !== 200) {
      const text = await client.textOfRefusal();
      return refused(codeOf(text));
    }
    return {
      get deliveries() {
        return client.events as unknown as Delivery[];
      },
      get position() {
        return client.lastId === '' ? undefined : client.lastId;
      },
      get refusal() {
        const failure = client.messages.find(({ event }) => event === 'error');
        return failure && codeOf(failure.data);
      },
      get isOver() {
        return client.isOver;
      },
      close: () => client.close(),
    };
  };
}

const RECORDED = `subscription ($after: String, $recordedAt: String) {
  auditEventRecorded(afterSequence: $after, afterRecordedAt: $recordedAt) {
    id sequence organizationId recordedAt
  }
}`;

/** Its position is the number of the last event and when that was recorded, which no event of another past shares. */
const overSocket: Connect = (url, token, position = '0') => {
  const params = { authorization: `Bearer ${token}` };
  const [after, recordedAt] = position.split(' ');
  const subscriber = GraphqlSubscriber.open(url, params, RECORDED, { after, recordedAt });
  const deliveries = () =>
    subscriber.data.map(
      ({ auditEventRecorded }) => auditEventRecorded as Delivery & { recordedAt: string },
    );
  return Promise.resolve({
    get deliveries() {
      return deliveries();
    },
    get position() {
      const last = deliveries().at(-1);
      return last && `${last.sequence} ${last.recordedAt}`;
    },
    get refusal() {
      return subscriber.codes.map(String).at(0);
    },
    get isOver() {
      return subscriber.isOver;
    },
    close: () => subscriber.close(),
  });
};

/** The stock client, which connects again by itself with the id of the last event. */
const overTrpc: Connect = (url, token, position = '0') => {
  const client = createTRPCClient<AppRouter>({
    links: [
      httpSubscriptionLink({
        url: `${url}/trpc`,
        EventSource,
        eventSourceOptions: {
          fetch: (input, init) =>
            fetch(input, {
              ...init,
              headers: { ...init.headers, authorization: `Bearer ${token}` },
            }),
        },
      }),
    ],
  });
  const deliveries: Delivery[] = [];
  const state: { position?: string; refusal?: string; isOver: boolean } = { isOver: false };
  const subscription = client.performance.auditEventRecorded.subscribe(
    { lastEventId: position },
    {
      onData: ({ id, data }) => {
        deliveries.push(data);
        state.position = id;
      },
      onError: (error) => {
        if (error instanceof TRPCClientError) {
          state.refusal = (error as TRPCClientError<AppRouter>).data?.kind;
        }
        state.isOver = true;
      },
      onComplete: () => (state.isOver = true),
    },
  );
  return Promise.resolve({
    deliveries,
    get position() {
      return state.position;
    },
    get refusal() {
      return state.refusal;
    },
    get isOver() {
      return state.isOver;
    },
    close: () => {
      subscription.unsubscribe();
      return Promise.resolve();
    },
  });
};

interface Page {
  data: Delivery[];
  pagination: { nextCursor?: string };
}

/**
 * Pages by sequence, the last one again and again until there is more. It sees by itself when an event of that page is
 * another one than before; of the pages before it, their cursors have to tell.
 */
const overPages: Connect = (url, token, position) => {
  const deliveries: Delivery[] = [];
  const state: { refusal?: string; isOver: boolean } = { isOver: false };
  // The last page has no cursor behind it, so what was taken of it is part of the position.
  let [cursor = '', ...taken] = position?.split(' ') ?? [];
  const read = async (): Promise<void> => {
    const sort = `sort_field=sequence&sort_direction=asc&limit=${PAGE}`;
    const query = cursor === '' ? sort : `${sort}&cursor=${encodeURIComponent(cursor)}`;
    const response = await fetch(`${url}${EVENTS}?${query}`, {
      headers: { authorization: `Bearer ${token}` },
    });
    const text = await response.text();
    if (response.status !== 200) {
      state.refusal = codeOf(text);
      state.isOver = true;
      return;
    }
    const { data, pagination } = JSON.parse(text) as Page;
    const ids = data.map(({ id }) => id);
    if (taken.some((id, index) => ids[index] !== id)) {
      state.refusal = PAGE_CHANGED;
      state.isOver = true;
      return;
    }
    deliveries.push(...data.slice(taken.length));
    taken = ids;
    if (pagination.nextCursor === undefined) return;
    cursor = pagination.nextCursor;
    taken = [];
  };
  const running = (async () => {
    while (!state.isOver) {
      await read().catch(() => (state.isOver = true));
      await sleep(POLL_MS);
    }
  })();
  return Promise.resolve({
    deliveries,
    get position() {
      return [cursor, ...taken].join(' ');
    },
    get refusal() {
      return state.refusal;
    },
    get isOver() {
      return state.isOver;
    },
    close: async () => {
      state.isOver = true;
      await running;
    },
  });
};
