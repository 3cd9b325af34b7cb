import {
  createTRPCClient,
  httpBatchStreamLink,
  httpSubscriptionLink,
  TRPCClientError,
} from '@trpc/client';
import type { inferRouterInputs, inferRouterOutputs } from '@trpc/server';
import type { AppRouter, SubscriptionRouter } from 'audit-server/trpc';

/* Compiled by `npm run typecheck:client` where @trpc/client and @trpc/server alone are installed. */

const url = 'http://localhost:3000/trpc';
const client = createTRPCClient<AppRouter>({ links: [httpBatchStreamLink({ url })] });
const feeds = createTRPCClient<SubscriptionRouter>({ links: [httpSubscriptionLink({ url })] });

type Inputs = inferRouterInputs<AppRouter>['performance'];
type Outputs = inferRouterOutputs<AppRouter>['performance'];
type AuditEvent = Outputs['getOptimizedAuditEvents']['data'][number];

const bulk: Inputs['bulkCreateAuditEvents'] = {
  events: [{ organizationId: 'org-1', action: 'user.login', status: 'success' }],
};

export async function record(): Promise<number> {
  try {
    const { created } = await client.performance.bulkCreateAuditEvents.mutate(bulk);
    return created;
  } catch (error) {
    if (!(error instanceof TRPCClientError)) throw error;
    return (error as TRPCClientError<AppRouter>).data?.kind === 'CONFLICT' ? 0 : -1;
  }
}

export async function list(): Promise<AuditEvent[]> {
  const { data, pagination } = await client.performance.getOptimizedAuditEvents.query({
    filter: { actions: ['user.login'], statuses: ['failure'] },
    pagination: { limit: 2 },
  });
  const cursor: string | undefined = pagination.nextCursor;
  return cursor === undefined ? data : [];
}

export async function all(): Promise<string[]> {
  const sequences: string[] = [];
  for await (const { sequence } of await client.performance.streamAuditEvents.query()) {
    sequences.push(sequence);
  }
  return sequences;
}

export function follow(onEvent: (event: AuditEvent, id: string) => void): void {
  feeds.performance.streamAuditEvents.subscribe(undefined, {
    onData: ({ id, data }) => onEvent(data, id),
  });
}

export async function wrong(): Promise<void> {
  // @ts-expect-error the input of a bulk write has `events`
  await client.performance.bulkCreateAuditEvents.mutate(bulk.events);
  // @ts-expect-error a status is one of three
  await client.performance.getOptimizedAuditEvents.query({ filter: { statuses: ['odd'] } });
  // @ts-expect-error there is no such procedure
  await client.performance.getEverything.query();
}
