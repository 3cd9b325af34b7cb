/*
 * A client of the audit service by tRPC, to be copied and cut to size: records, pages, everything, and what is recorded
 * from now on. It needs the packages @trpc/client, @trpc/server and eventsource (Node.js has no EventSource that
 * takes headers), and audit-server for the type of its router. The suite of the service runs it as it stands here.
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

/** `url` is that of the service, as in http://localhost:3000; `token` gives one that has not expired. */
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
            // Called for each connection anew, so that one made later has the token of then.
            fetch: (input, init) =>
              fetch(input, { ...init, headers: { ...init.headers, ...headers() } }),
          },
        }),
        // Calls made at the same moment share a request. The service takes ten.
        false: httpBatchStreamLink({ url: endpoint, headers, maxItems: 10 }),
      }),
    ],
  });
}

/**
 * Records events, all or none. Each is given an id before it is sent: when the answer is lost, sending the same ones
 * again stores nothing twice, and `duplicates` tells.
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
    // Without a kind it is no answer of the service: it may or may not have got the events.
    if (kindOf(error) !== undefined) throw error;
    return send();
  }
}

/** Events page after page, the newest first. A page costs the same however far back it is. */
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

/** Every event that the filter means, as it comes from the service; the scope is `audit:export`. */
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
  /** Keep `id` once the event is dealt with: behind it a later `follow` goes on. */
  onEvent: (event: AuditEvent, id: string) => void;
  /** Why nothing more comes, as when the token has expired. */
  onError: (error: unknown) => void;
  /** The id that an earlier run has kept. Left out: from now on. */
  after?: string;
}

/**
 * Tells of events as they are recorded, by whomever and on whichever replica, until it is told to stop. A connection that
 * breaks is made again, and goes on behind the last event that came: nothing is missing and nothing comes twice.
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

/** The kind of a failure, as in `FORBIDDEN`; undefined for what the service has not answered. */
export function kindOf(error: unknown) {
  if (!(error instanceof TRPCClientError)) return undefined;
  return (error as TRPCClientError<AppRouter>).data?.kind;
}
