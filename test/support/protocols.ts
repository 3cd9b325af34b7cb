import type { PageInfo } from '../../src/pagination/page';
import { canonicalJson, elementTexts, memberTexts } from './json-text';
import { type Answer, type Askable, EVENTS, listText } from './test-service';

/** A search as tRPC spells it; the other protocols get it in their spelling. */
export interface ProtocolSearch {
  filter?: Record<string, string | string[] | Record<string, string>>;
  pagination?: {
    limit?: number;
    offset?: number;
    cursor?: string;
    sort?: { field?: string; direction?: string };
  };
}

/** What came of a request, independent of the protocol. */
export interface SearchOutcome {
  /** The kind of failure; absent when it went well. */
  kind?: string;
  /** Each event as canonical JSON text, every digit as it came. */
  events?: string[];
  total?: number;
  totalIsExact?: boolean;
  /** The time for the search was over. */
  partial?: boolean;
  hasNext?: boolean;
  hasPrevious?: boolean;
  /** From where the list goes on; another text each time. */
  cursor?: string;
}

/** What came of a bulk write. */
export interface WriteOutcome {
  kind?: string;
  created?: number;
  duplicates?: number;
  batches?: number;
  results?: { index: number; id: string; sequence: string; status: string }[];
}

/** One way into the service. `events` of a write are JSON text, as numbers have to arrive as they are. */
export interface Protocol {
  find: (search: ProtocolSearch, token?: string) => Promise<SearchOutcome>;
  write: (events: string, token?: string, batchSize?: number) => Promise<WriteOutcome>;
}

const MEMBERS = `id timestamp recordedAt sequence organizationId principalId action targetResourceType
  targetResourceId status outcomeDescription dataClassification correlationId
  sessionContext { sessionId ipAddress userAgent geolocation } metadata principalType principalName
  targets { type id name } changes source { service host version } schemaVersion`;
/** Members that an event need not have: the others leave them out, GraphQL says null. */
const SPARSE = ['principalType', 'principalName', 'targets', 'changes', 'source', 'schemaVersion'];
const SEARCH = `query ($filter: AuditEventFilter, $pagination: PaginationInput) {
  optimizedAuditEvents(filter: $filter, pagination: $pagination) {
    edges { node { ${MEMBERS} } } totalCount
    pageInfo { hasNextPage hasPreviousPage endCursor partial totalIsExact }
  }
}`;
const WRITE = `mutation ($events: [CreateAuditEventInput!]!, $batchSize: Int) {
  bulkCreateAuditEvents(events: $events, batchSize: $batchSize) {
    created duplicates batches results { index id sequence status }
  }
}`;

/** The three protocols of a service. */
export function protocolsOf(service: Askable): Record<'REST' | 'GraphQL' | 'tRPC', Protocol> {
  const post = (path: string, body: string, token?: string) =>
    service.request('POST', path, { body, token });
  return {
    REST: {
      find: async (search, token) => restPage(await service.get(restPath(search), token)),
      write: async (events, token, batchSize) => {
        const answer = await post(`${EVENTS}/bulk`, bulkText(events, batchSize), token);
        return answer.status >= 400 ? { kind: answer.json.code } : writeOf(answer.json);
      },
    },
    GraphQL: {
      find: async (search, token) => {
        const body = { query: SEARCH, variables: upperCased(search) };
        return graphqlPage(await post('/graphql', JSON.stringify(body), token));
      },
      write: async (events, token, batchSize) => {
        const variables = bulkText(upperStatuses(events), batchSize);
        const body = `{"query":${JSON.stringify(WRITE)},"variables":${variables}}`;
        const { json } = await post('/graphql', body, token);
        if (json.errors) return { kind: json.errors[0].extensions.code };
        return writeOf(json.data.bulkCreateAuditEvents);
      },
    },
    tRPC: {
      find: async (search, token) => {
        const input = encodeURIComponent(JSON.stringify(search));
        const path = `/trpc/performance.getOptimizedAuditEvents?input=${input}`;
        return trpcPage(await service.get(path, token));
      },
      write: async (events, token, batchSize) => {
        const path = '/trpc/performance.bulkCreateAuditEvents';
        const { json } = await post(path, bulkText(events, batchSize), token);
        return json.error ? { kind: json.error.data.kind } : writeOf(json.result.data);
      },
    },
  };
}

function bulkText(events: string, batchSize: number | undefined): string {
  return `{"events":${events}${batchSize === undefined ? '' : `,"batchSize":${batchSize}`}}`;
}

function writeOf({ created, duplicates, batches, results }: Required<WriteOutcome>): WriteOutcome {
  const lower = results.map((one) => ({ ...one, status: one.status.toLowerCase() }));
  return { created, duplicates, batches, results: lower };
}

function member(text: string, ...path: string[]): string {
  return path.reduce((inner, name) => memberTexts(inner).get(name) ?? 'null', text);
}

function eventTexts(list: string): string[] {
  return elementTexts(list).map(canonicalJson);
}

function restPath({ filter = {}, pagination = {} }: ProtocolSearch): string {
  const parameters = new URLSearchParams({ include_total: 'true' });
  for (const [name, value] of Object.entries(filter)) {
    const entries =
      typeof value === 'string'
        ? [[name, value]]
        : Array.isArray(value)
          ? [[name, listText(value)]]
          : Object.entries(value);
    for (const [key, text] of entries) parameters.set(snakeCased(key ?? ''), text ?? '');
  }
  const { sort = {}, ...page } = pagination;
  const plain = { ...page, sort_field: sort.field, sort_direction: sort.direction };
  for (const [name, value] of Object.entries(plain)) {
    // A cursor beside an offset of 0 is how the other protocols spell their defaults.
    const isDefault = name === 'offset' && value === 0 && page.cursor !== undefined;
    if (value !== undefined && !isDefault) parameters.set(name, String(value));
  }
  return `${EVENTS}?${parameters.toString()}`;
}

function snakeCased(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function restPage({ status, text, json }: Answer): SearchOutcome {
  if (status >= 400) return { kind: json.code };
  return { events: eventTexts(member(text, 'data')), ...pageOf(json.pagination) };
}

function trpcPage({ text, json }: Answer): SearchOutcome {
  if (json.error) return { kind: json.error.data.kind };
  const events = eventTexts(member(text, 'result', 'data', 'data'));
  return { events, ...pageOf(json.result.data.pagination) };
}

/** What the two protocols say alike of a page. */
function pageOf({ partial, nextCursor, ...page }: PageInfo): Omit<SearchOutcome, 'events'> {
  const { total, totalIsExact, hasNext, hasPrevious } = page;
  const isPartial = partial === true;
  return { total, totalIsExact, partial: isPartial, hasNext, hasPrevious, cursor: nextCursor };
}

function graphqlPage({ text, json }: Answer): SearchOutcome {
  if (json.errors) return { kind: json.errors[0].extensions.code };
  const { totalCount, pageInfo } = json.data.optimizedAuditEvents;
  const nodes = elementTexts(member(text, 'data', 'optimizedAuditEvents', 'edges')).map((edge) =>
    withoutSparse(member(edge, 'node')).replace(/"status":"([A-Z]+)"/, (whole) =>
      whole.toLowerCase(),
    ),
  );
  const { hasNextPage: hasNext, hasPreviousPage: hasPrevious, endCursor, ...others } = pageInfo;
  const cursor = hasNext ? endCursor : undefined;
  const events = nodes.map(canonicalJson);
  return { events, total: totalCount, hasNext, hasPrevious, cursor, ...others };
}

function withoutSparse(event: string): string {
  const members = [...memberTexts(event)].filter(
    ([name, text]) => text !== 'null' || !SPARSE.includes(name),
  );
  return `{${members.map(([name, text]) => `${JSON.stringify(name)}:${text}`).join(',')}}`;
}

/** Enums of GraphQL are upper case. */
function upperCased({ filter, pagination }: ProtocolSearch): object {
  const upper = (value: string | undefined) => value?.toUpperCase();
  const statuses = filter?.['statuses'];
  const { sort, ...page } = pagination ?? {};
  return {
    filter: filter && {
      ...filter,
      ...(Array.isArray(statuses) ? { statuses: statuses.map(upper) } : {}),
    },
    pagination: pagination && {
      ...page,
      ...(sort ? { sort: { field: upper(sort.field), direction: upper(sort.direction) } } : {}),
    },
  };
}

/** Of members of events, not of what stands in their metadata. */
function upperStatuses(events: string): string {
  return events.replace(/"status":"(\w+)"/g, (_whole, status: string) => {
    return `"status":"${status.toUpperCase()}"`;
  });
}
