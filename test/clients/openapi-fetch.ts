import createClient from 'openapi-fetch';
import type { operations, paths } from './generated/api';

/* Compiled by `npm run typecheck:client` with the types that openapi-typescript makes. */

const client = createClient<paths>({ baseUrl: 'http://localhost:3000' });
const event = { organizationId: 'org-1', action: 'user.login', status: 'success' } as const;

export async function record(): Promise<[created: number, sequences: string[]]> {
  const { data, error } = await client.POST('/api/v1/audit/events/bulk', {
    body: { events: [event] },
    params: { header: { 'Idempotency-Key': 'key' } },
  });
  if (!data) throw new Error(`${error.code}: ${error.detail}`);
  // @ts-expect-error a result has no line: that is a receipt of NDJSON
  void data.line;
  return [data.created, data.results.map(({ sequence }) => sequence)];
}

export async function recordOne(): Promise<string> {
  const { data } = await client.POST('/api/v1/audit/events', { body: event });
  return data?.sequence ?? '';
}

export async function ingest(lines: string): Promise<string | undefined> {
  const { data } = await client.POST('/api/v1/audit/events/ingest', {
    body: lines,
    bodySerializer: (body) => body,
    headers: { 'Content-Type': 'application/x-ndjson' },
    parseAs: 'text',
  });
  return data;
}

export async function list(): Promise<string[]> {
  const query: operations['listEvents']['parameters']['query'] = { actions: ['a', 'b'], limit: 5 };
  const { data, error } = await client.GET('/api/v1/audit/events', { params: { query } });
  if (!data) throw new Error(error.errors?.map(({ path }) => path).join());
  return data.data.map(({ id }) => id);
}

export async function show(id: string): Promise<string | null | undefined> {
  const { data } = await client.GET('/api/v1/audit/events/{id}', { params: { path: { id } } });
  return data?.principalId;
}

export async function wrong(): Promise<void> {
  // @ts-expect-error the body of a bulk write has `events`
  await client.POST('/api/v1/audit/events/bulk', { body: event });
  // @ts-expect-error there is no such route
  await client.GET('/api/v1/audit/event');
}
