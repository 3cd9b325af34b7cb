// The operations of a mix: the request of each, and what its answer must be.
import { createHash, randomUUID } from 'node:crypto';
import {
  checkEvents,
  checkFreshness,
  checkFullness,
  checkReceipts,
  checkSuccessor,
  expect,
  jsonOf,
  WrongAnswer,
} from './checks.mjs';
import { differenceOf, exactText, parseExact } from './exact-json.mjs';

const EVENTS = '/api/v1/audit/events';
const JSON_TYPE = { 'content-type': 'application/json' };
const FIELDS = `id timestamp recordedAt sequence organizationId principalId action targetResourceType targetResourceId status
  outcomeDescription dataClassification correlationId sessionContext { sessionId ipAddress userAgent } metadata
  principalType principalName targets { type id name } changes source { service host version } schemaVersion`;
/** Parameters of a list that change which events it has, or their order. */
const SELECTING = /^(?!limit$|include_total$|organization_ids$)/;
/** ETags of a path whose bodies are remembered. */
const REMEMBERED_TAGS = 50;

/**
 * By name: `prepare(run, options)` makes a request `{ method, path, headers, body, check }`. `check(answer)` gets
 * `{ status, headers, trailers, text, bytes }`, and throws WrongAnswer. `options` are the names a profile may give, with their
 * kinds. A run has `own` (OwnEvents) and what operations remember of each other's answers.
 */
export const OPERATIONS = {
  list: { options: { limit: 'limit', query: 'query' }, prepare: list },
  page: { options: { limit: 'limit' }, prepare: page },
  conditional: { options: { limit: 'limit' }, prepare: conditional },
  read: { options: {}, prepare: read },
  write: { options: {}, prepare: write },
  duplicate: { options: {}, prepare: duplicate },
  idempotent: { options: {}, prepare: idempotent },
  bulk: { options: { events: 'events' }, prepare: bulk },
  ingest: { options: { events: 'events' }, prepare: ingest },
  export: { options: { format: 'format' }, prepare: exportEvents },
  'graphql-list': { options: { limit: 'limit' }, prepare: graphqlList },
  'graphql-write': { options: {}, prepare: graphqlWrite },
  'graphql-bulk': { options: { events: 'events' }, prepare: graphqlBulk },
  'trpc-list': { options: { limit: 'limit' }, prepare: trpcList },
  'trpc-bulk': { options: { events: 'events' }, prepare: trpcBulk },
};

/** What operations of a run remember. */
export function newRun(own) {
  return { own, walkers: [], tags: new Map(), repeatable: [], keys: [] };
}

/** The first page of one organization, by timestamp unless `query` asks otherwise. */
function list(run, { limit = 50, query = {} }) {
  const organizationId = anyOrganization(run);
  const path = pathOf(EVENTS, { organization_ids: organizationId, limit, ...query });
  const isPlain = !Object.keys(query).some((name) => SELECTING.test(name));
  const numbers = isPlain ? run.own.latestOf(organizationId) : [];
  const order = {
    field: query.sort_field ?? 'timestamp',
    direction: query.sort_direction ?? 'desc',
  };
  return get(path, (answer) => {
    expectStatus(answer, 200);
    noteTag(run, path, answer);
    const { data, pagination } = pageOf(answer, run);
    checkFullness(data.length, Number(query.limit ?? limit), pagination.hasNext);
    checkEvents(data, { own: run.own, order });
    checkOrganization(data, organizationId);
    if (isPlain) checkFreshness(data, { own: run.own, numbers, hasNext: pagination.hasNext });
  });
}

/** The next page of a walk over one organization by sequence, the newest first. */
function page(run, { limit = 50 }) {
  const walker = run.walkers.pop() ?? { organizationId: anyOrganization(run) };
  const { organizationId, cursor, last } = walker;
  const order = { field: 'sequence', direction: 'desc' };
  const gapless = run.own.firstSequenceOf(organizationId);
  const path = pathOf(EVENTS, {
    organization_ids: organizationId,
    sort_field: order.field,
    sort_direction: order.direction,
    limit,
    cursor,
  });
  return get(path, (answer) => {
    expectStatus(answer, 200);
    const { data, pagination } = pageOf(answer, run);
    checkFullness(data.length, limit, pagination.hasNext);
    checkEvents(data, { own: run.own, order, gapless });
    checkOrganization(data, organizationId);
    if (last !== undefined && data.length > 0) checkSuccessor(last, data[0], order, gapless);
    expect(
      pagination.hasNext === (typeof pagination.nextCursor === 'string'),
      `hasNext is ${pagination.hasNext}, and nextCursor is ${pagination.nextCursor}`,
    );
    if (!pagination.hasNext) return;
    const { id, sequence } = data.at(-1);
    run.walkers.push({ organizationId, cursor: pagination.nextCursor, last: { id, sequence } });
  });
}

/** A page with the ETag that it had: 304 without a body, or 200 with another ETag. */
function conditional(run, { limit = 50 }) {
  const path = pathOf(EVENTS, { organization_ids: run.own.organizations[0], limit });
  const tag = run.tags.get(path)?.at(-1)?.tag;
  const headers = tag === undefined ? {} : { 'if-none-match': tag };
  return get(
    path,
    (answer) => {
      expectStatus(answer, ...(tag === undefined ? [200] : [200, 304]));
      if (answer.status === 304) {
        expect(answer.headers.etag === tag, `304 to ${tag} has the ETag ${answer.headers.etag}`);
        expect(answer.bytes === 0, `304 has a body of ${answer.bytes} bytes`);
        return;
      }
      expect(answer.headers.etag !== tag, `200 to If-None-Match ${tag}, which is its ETag`);
      noteTag(run, path, answer);
      pageOf(answer, run);
    },
    headers,
  );
}

/** An event that was acknowledged; any of the first page, as long as there is none. */
function read(run) {
  const { own } = run;
  const known = own.readable[Math.floor(Math.random() * own.readable.length)];
  if (known === undefined) return list(run, { limit: 1 });
  const { id, organizationId, number } = known;
  return get(pathOf(`${EVENTS}/${id}`, { organization_ids: organizationId }), (answer) => {
    expectStatus(answer, 200);
    const event = jsonOf(answer, own);
    expect(event.id === id, `the id is ${event.id}`);
    expect(own.numberOf(event) === number, `correlationId is ${event.correlationId}`);
    const difference = own.differenceOf(event);
    expect(difference === undefined, difference);
  });
}

function write(run) {
  const [number] = run.own.take();
  return post(EVENTS, run.own.textOf(number), (answer) => {
    expectStatus(answer, 201);
    checkWritten(run.own, number, jsonOf(answer, run.own));
  });
}

/** An event with an id of the client, and later the same again: 200, and the event as it was stored. */
function duplicate(run) {
  const { own } = run;
  const stored = run.repeatable.pop();
  if (stored === undefined) {
    const [number] = own.take();
    const text = own.textOf(number, { id: randomUUID() });
    return post(EVENTS, text, (answer) => {
      expectStatus(answer, 201);
      checkWritten(own, number, jsonOf(answer, own));
      run.repeatable.push({ text, answer: answer.text });
    });
  }
  return post(EVENTS, stored.text, (answer) => {
    expectStatus(answer, 200);
    const difference = differenceOf(parseExact(stored.answer), jsonOf(answer, own));
    expect(difference === undefined, () => `a duplicate is not as it was stored: ${difference}`);
  });
}

/** An event with an Idempotency-Key, and later the same again: the first answer, byte for byte. */
function idempotent(run) {
  const { own } = run;
  const first = run.keys.pop();
  if (first !== undefined) {
    const headers = { 'idempotency-key': first.key };
    return post(
      EVENTS,
      first.text,
      (answer) => {
        expectStatus(answer, 201);
        expect(
          answer.headers['idempotency-replayed'] === 'true',
          'Idempotency-Replayed is not true',
        );
        expect(answer.text === first.answer, 'the replayed answer is not the first one');
      },
      headers,
    );
  }
  const [number] = own.take();
  const [text, key] = [own.textOf(number), own.prefix + randomUUID()];
  return post(
    EVENTS,
    text,
    (answer) => {
      expectStatus(answer, 201);
      checkWritten(own, number, jsonOf(answer, own));
      run.keys.push({ text, key, answer: answer.text });
    },
    { 'idempotency-key': key },
  );
}

function bulk(run, { events = 100 }) {
  const { own } = run;
  const numbers = own.take(events);
  return post(`${EVENTS}/bulk`, bulkText(own, numbers), (answer) => {
    expectStatus(answer, 201);
    acknowledgeBulk(own, numbers, jsonOf(answer, own));
  });
}

function ingest(run, { events = 100 }) {
  const { own } = run;
  const numbers = own.take(events);
  const text = numbers.map((number) => `${own.textOf(number)}\n`).join('');
  const headers = { 'content-type': 'application/x-ndjson' };
  return post(
    `${EVENTS}/bulk`,
    text,
    (answer) => {
      expectStatus(answer, 200);
      const lines = linesOf(answer);
      const { summary } = lines.pop() ?? {};
      checkReceipts(lines, numbers, own);
      lines.forEach(({ line }, index) =>
        expect(line === index + 1, `line ${line} is not ${index + 1}`),
      );
      expect(summary?.created === events, `the summary says ${JSON.stringify(summary)}`);
      lines.forEach((receipt, index) => own.acknowledge(numbers[index], receipt));
    },
    headers,
  );
}

/** All events since the first one of this run, of one organization. */
function exportEvents(run, { format = 'ndjson' }) {
  const { own } = run;
  const organizationId = anyOrganization(run);
  const stored = own.acknowledged.get(organizationId)?.size ?? 0;
  const query = { format, organization_ids: organizationId, start_date: own.timestampOf(0) };
  return get(pathOf(`${EVENTS}/stream`, query), (answer) => {
    expectStatus(answer, 200);
    const { 'x-export-rows': rows, 'x-export-complete': isComplete } = answer.trailers;
    expect(isComplete === 'true', `the trailer X-Export-Complete is ${isComplete}`);
    if (format === 'csv') {
      expect(Number(rows) >= stored, `${rows} rows, and ${stored} events were acknowledged before`);
      return;
    }
    const events = format === 'json' ? jsonOf(answer, own) : linesOf(answer, own);
    expect(events.length === Number(rows), `${events.length} events, and X-Export-Rows is ${rows}`);
    checkEvents(events, { own, order: { field: 'timestamp', direction: 'desc' } });
    checkOrganization(events, organizationId);
    const count = events.filter((event) => own.numberOf(event) !== undefined).length;
    expect(count >= stored, `${count} events of ${stored} that were acknowledged before`);
  });
}

function graphqlList(run, { limit = 50 }) {
  const organizationId = anyOrganization(run);
  const numbers = run.own.latestOf(organizationId);
  const query = `query ($filter: AuditEventFilter, $limit: Int!) { optimizedAuditEvents(filter: $filter, pagination: { limit: $limit }) {
    edges { node { ${FIELDS} } } pageInfo { hasNextPage } } }`;
  const variables = { filter: { organizationIds: [organizationId] }, limit };
  return post('/graphql', JSON.stringify({ query, variables }), (answer) => {
    const { edges, pageInfo } = graphqlData(answer, run.own).optimizedAuditEvents;
    const events = edges.map(({ node }) => withoutAbsent(node));
    checkFullness(events.length, limit, pageInfo.hasNextPage);
    const order = { field: 'timestamp', direction: 'desc' };
    checkEvents(events, { own: run.own, order, isGraphql: true });
    checkOrganization(events, organizationId);
    checkFreshness(events, { own: run.own, numbers, hasNext: pageInfo.hasNextPage });
  });
}

function graphqlWrite(run) {
  const { own } = run;
  const [number] = own.take();
  const query = `mutation ($event: CreateAuditEventInput!) { createAuditEvent(event: $event) { ${FIELDS} } }`;
  const body = `{"query":${JSON.stringify(query)},"variables":{"event":${own.textOf(number, { isGraphql: true })}}}`;
  return post('/graphql', body, (answer) => {
    const event = withoutAbsent(graphqlData(answer, own).createAuditEvent);
    checkWritten(own, number, event, true);
  });
}

function graphqlBulk(run, { events = 100 }) {
  const { own } = run;
  const numbers = own.take(events);
  const query = `mutation ($events: [CreateAuditEventInput!]!) { bulkCreateAuditEvents(events: $events) {
    created duplicates results { index id sequence status } } }`;
  const list = numbers.map((number) => own.textOf(number, { isGraphql: true })).join(',');
  const body = `{"query":${JSON.stringify(query)},"variables":{"events":[${list}]}}`;
  return post('/graphql', body, (answer) => {
    const result = graphqlData(answer, own).bulkCreateAuditEvents;
    const results = result.results.map((one) => ({ ...one, status: one.status.toLowerCase() }));
    acknowledgeBulk(own, numbers, { ...result, results });
  });
}

function trpcList(run, { limit = 50 }) {
  const organizationId = anyOrganization(run);
  const numbers = run.own.latestOf(organizationId);
  const input = {
    filter: { organizationIds: [organizationId] },
    pagination: { limit, includeTotal: false },
  };
  const query = { input: JSON.stringify(input) };
  return get(pathOf('/trpc/performance.getOptimizedAuditEvents', query), (answer) => {
    const { data, pagination } = trpcData(answer, run.own);
    checkFullness(data.length, limit, pagination.hasNext);
    checkEvents(data, { own: run.own, order: { field: 'timestamp', direction: 'desc' } });
    checkOrganization(data, organizationId);
    checkFreshness(data, { own: run.own, numbers, hasNext: pagination.hasNext });
  });
}

function trpcBulk(run, { events = 100 }) {
  const { own } = run;
  const numbers = own.take(events);
  return post('/trpc/performance.bulkCreateAuditEvents', bulkText(own, numbers), (answer) => {
    acknowledgeBulk(own, numbers, trpcData(answer, own));
  });
}

function get(path, check, headers = {}) {
  return { method: 'GET', path, headers, check };
}

function post(path, body, check, headers = {}) {
  return { method: 'POST', path, headers: { ...JSON_TYPE, ...headers }, body, check };
}

function pathOf(path, query) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  return `${path}?${new URLSearchParams(given)}`;
}

function anyOrganization({ own }) {
  return own.organizations[Math.floor(Math.random() * own.organizations.length)];
}

function bulkText(own, numbers) {
  return `{"events":[${numbers.map((number) => own.textOf(number)).join(',')}]}`;
}

function expectStatus({ status, text }, ...allowed) {
  expect(
    allowed.includes(status),
    `the status is ${status} and not ${allowed.join(' or ')}: ${text.slice(0, 300)}`,
  );
}

function pageOf(answer, { own }) {
  const json = jsonOf(answer, own);
  const isPage = Array.isArray(json.data) && typeof json.pagination?.hasNext === 'boolean';
  expect(isPage, `the body is no page: ${answer.text.slice(0, 100)}`);
  return json;
}

function checkOrganization(events, organizationId) {
  const stranger = events.find((event) => event.organizationId !== organizationId);
  expect(
    stranger === undefined,
    () => `event ${stranger.id} of ${stranger.organizationId} in an answer for ${organizationId}`,
  );
}

/** The event that the answer to its write holds, which is thereby acknowledged. */
function checkWritten(own, number, event, isGraphql = false) {
  expect(typeof event.id === 'string' && /^[1-9]\d*$/.test(event.sequence), 'no id or sequence');
  expect(own.numberOf(event) === number, `correlationId is ${event.correlationId}`);
  const difference = own.differenceOf(event, isGraphql);
  expect(difference === undefined, difference);
  own.acknowledge(number, event);
}

function acknowledgeBulk(own, numbers, { created, results }) {
  checkReceipts(results, numbers, own);
  const count = Number(String(created).replace('\u0000', ''));
  expect(count === numbers.length, `created is ${count}, of ${numbers.length} events`);
  results.forEach((receipt, index) => own.acknowledge(numbers[index], receipt));
}

/** Each line of NDJSON. */
function linesOf({ text }, own) {
  expect(text === '' || text.endsWith('\n'), 'the last line of NDJSON is not complete');
  const parse = own === undefined ? JSON.parse : parseExact;
  return text
    .split('\n')
    .slice(0, -1)
    .map((line, index) => {
      try {
        return parse(line);
      } catch (error) {
        throw new WrongAnswer(`line ${index + 1} of NDJSON: ${error.message}`);
      }
    });
}

/** The same ETag on the same path stands for the same bytes. */
function noteTag(run, path, { headers, text }) {
  const tag = headers.etag;
  if (tag === undefined) return;
  const digest = createHash('sha256').update(text).digest('base64');
  const known = run.tags.get(path) ?? [];
  const same = known.find((one) => one.tag === tag);
  expect(same === undefined || same.digest === digest, `two bodies have the ETag ${tag}`);
  if (same === undefined) run.tags.set(path, [...known, { tag, digest }].slice(-REMEMBERED_TAGS));
}

function graphqlData(answer, own) {
  expectStatus(answer, 200);
  const { data, errors } = jsonOf(answer, own);
  expect(errors === undefined, () => `GraphQL has errors: ${exactText(errors).slice(0, 300)}`);
  return data;
}

/** GraphQL fills members of an object that were not sent with null. */
function withoutAbsent(node) {
  if (!node.sessionContext) return node;
  const given = Object.entries(node.sessionContext).filter(([, value]) => value !== null);
  return { ...node, sessionContext: Object.fromEntries(given) };
}

function trpcData(answer, own) {
  expectStatus(answer, 200);
  const { result } = jsonOf(answer, own);
  expect(result?.data !== undefined, `tRPC has no result: ${answer.text.slice(0, 100)}`);
  return result.data;
}
