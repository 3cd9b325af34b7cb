/*
 * A tRPC client of the audit service, to copy and adapt: writes, pages, entire queries, and a live feed. It needs the
 * packages @trpc/client, @trpc/server and eventsource (the EventSource of Node.js takes no headers), and audit-server for
 * the type of its router. The test suite of the service runs this file.
 */
import {
  createTRPCClient,
  httpBatchStreamLink,
  httpSubscriptionLink,
  splitLink,
  TRPCClientError,
  type TRPCClient,
} from '@trpc/client';
import type { inferRouterInputs, inferRouterOutputs } from '@trpc/server';
import type { AppRouter } from 'audit-server/trpc';
import { EventSource } from 'eventsource';
import { randomUUID } from 'node:crypto';

export type AuditClient = TRPCClient<AppRouter>;
type Inputs = inferRouterInputs<AppRouter>['performance'];
type Outputs = inferRouterOutputs<AppRouter>['performance'];
export type NewAuditEvent = Inputs['bulkCreateAuditEvents']['events'][number];
export type AuditEvent = Outputs['getOptimizedAuditEvents']['data'][number];
type Search = Exclude<Inputs['getOptimizedAuditEvents'], void>;
export type AuditEventFilter = NonNullable<Search['filter']>;

/** `url` is the base URL of the service, such as http://localhost:3000; `token` returns a valid token. */
export function auditClient(url: string, token: () => string): AuditClient {
  const endpoint = `${url}/trpc`;
  const headers = () => ({ authorization: `Bearer ${token()}` });
  return createTRPCClient<AppRouter>({
    links: [
      splitLink({
        condition: ({ type }) => type === 'subscription',
        true: httpSubscriptionLink({
          url: endpoint,
          EventSource,
          eventSourceOptions: {
            // Called for each connection, so that a later one has a current token.
            fetch: (input, init) =>
              fetch(input, { ...init, headers: { ...init.headers, ...headers() } }),
          },
        }),
        // Simultaneous calls share a request. The service accepts ten.
        false: httpBatchStreamLink({ url: endpoint, headers, maxItems: 10 }),
      }),
    ],
  });
}

/**
 * Records events, all or none. Each gets an id before it is sent: after a lost response, a retry with the same events
 * stores nothing twice, and `duplicates` counts them.
 */
export async function record(
  client: AuditClient,
  events: NewAuditEvent[],
): Promise<Outputs['bulkCreateAuditEvents']> {
  const identified = events.map((event) => ({ ...event, id: event.id ?? randomUUID() }));
  const send = () => client.performance.bulkCreateAuditEvents.mutate({ events: identified });
  try {
    return await send();
  } catch (error) {
    // Without a kind there was no response of the service: it may or may not have received the events.
    if (kindOf(error) !== undefined) throw error;
    return send();
  }
}

/** Pages of events, the newest first. A deep page costs as much as the first one. */
export async function* pages(
  client: AuditClient,
  filter: AuditEventFilter,
  limit = 100,
): AsyncGenerator<AuditEvent[]> {
  let cursor: string | undefined;
  do {
    const { data, pagination } = await client.performance.getOptimizedAuditEvents.query({
      filter,
      pagination: { limit, cursor, includeTotal: false },
    });
    yield data;
    cursor = pagination.nextCursor;
  } while (cursor !== undefined);
}

/** Every event that matches the filter, as it arrives; needs the scope `audit:export`. */
export async function* all(
  client: AuditClient,
  filter: AuditEventFilter,
): AsyncGenerator<AuditEvent> {
  yield* await client.performance.streamAuditEvents.query({
    filter,
    pagination: { limit: 1000, sort: { field: 'sequence', direction: 'asc' } },
  });
}

export interface Follower {
  /** Store `id` once the event has been processed: a later `follow` resumes after it. */
  onEvent: (event: AuditEvent, id: string) => void;
  /** The reason why the feed ended, such as an expired token. */
  onError: (error: unknown) => void;
  /** The id stored by an earlier run. Without it the feed begins now. */
  after?: string;
}

/**
 * Delivers events as they are recorded, on whichever replica, until it is stopped. A broken connection is re-established
 * and resumes after the last event, without gaps or duplicates.
 */
export function follow(
  client: AuditClient,
  filter: AuditEventFilter,
  { onEvent, onError, after }: Follower,
): () => void {
  const subscription = client.performance.auditEventRecorded.subscribe(
    { filter, lastEventId: after },
    { onData: ({ id, data }) => onEvent(data, id), onError },
  );
  return () => subscription.unsubscribe();
}

/** The kind of a failure, such as `FORBIDDEN`; undefined without a response of the service. */
export function kindOf(error: unknown) {
  if (!(error instanceof TRPCClientError)) return undefined;
  return (error as TRPCClientError<AppRouter>).data?.kind;
}
