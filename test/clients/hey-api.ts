import {
  createEvent,
  createEvents,
  exportEvents,
  followEvents,
  getEvent,
  ingestEvents,
  listEvents,
  type CreateEventsResponse,
  type ProblemDto,
} from './generated';

/* Compiled by `npm run typecheck:client` with the client that @hey-api/openapi-ts makes. */

const event = { organizationId: 'org-1', action: 'user.login', status: 'success' } as const;

export async function record(): Promise<[created: number, sequences: string[]]> {
  const { data, error } = await createEvents({ body: { events: [event] } });
  if (!data) {
    const problem: ProblemDto | undefined = error;
    throw new Error(problem?.detail);
  }
  // @ts-expect-error a result has no line: that is a receipt of NDJSON
  void data.line;
  const result: CreateEventsResponse = data;
  return [result.created, data.results.map(({ sequence }) => sequence)];
}

export async function recordOne(): Promise<string> {
  const { data } = await createEvent({ body: event, throwOnError: true });
  return data.sequence;
}

export async function ingest(lines: string): Promise<string | undefined> {
  return (await ingestEvents({ body: lines })).data;
}

export async function list(): Promise<string[]> {
  const { data } = await listEvents({
    query: { actions: ['a', 'b'], limit: 5 },
    throwOnError: true,
  });
  return data.data.map(({ id }) => id);
}

export async function show(id: string): Promise<string | null | undefined> {
  return (await getEvent({ path: { id } })).data?.principalId;
}

export async function exported(): Promise<number | undefined> {
  return (await exportEvents({ query: { format: 'json' } })).data?.length;
}

export async function follow(): Promise<void> {
  const { stream } = await followEvents();
  for await (const message of stream) void message;
}

export async function wrong(): Promise<void> {
  // @ts-expect-error the body of a bulk write has `events`
  await createEvents({ body: event });
}
