import {
  createTRPCClient,
  httpBatchLink,
  httpBatchStreamLink,
  httpSubscriptionLink,
  splitLink,
  TRPCClientError,
  type TRPCClient,
} from '@trpc/client';
import { EventSource } from 'eventsource';
import type { AppRouter } from '../../src/api/trpc/app-router';

/** A stock client of the service at `url`. Queries and mutations are streamed in batches unless told otherwise. */
export function trpcClient(
  url: string,
  token: string | undefined,
  options: { isStreaming?: boolean; headers?: Record<string, string> } = {},
): TRPCClient<AppRouter> {
  const { isStreaming = true, headers = {} } = options;
  const all = { ...(token === undefined ? {} : { authorization: `Bearer ${token}` }), ...headers };
  const link = { url: `${url}/trpc`, headers: all };
  return createTRPCClient<AppRouter>({
    links: [
      splitLink({
        condition: ({ type }) => type === 'subscription',
        true: httpSubscriptionLink({
          url: link.url,
          EventSource,
          eventSourceOptions: {
            fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, ...all } }),
          },
        }),
        false: isStreaming ? httpBatchStreamLink(link) : httpBatchLink(link),
      }),
    ],
  });
}

/** What a failing call tells its client. */
export async function failureOfCall(call: Promise<unknown>): Promise<{
  message: string;
  data: TRPCClientError<AppRouter>['data'];
}> {
  const error: unknown = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof TRPCClientError)) throw new Error(`No failure, but ${String(error)}`);
  const { message, data } = error as TRPCClientError<AppRouter>;
  return { message, data };
}
