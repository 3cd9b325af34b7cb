import { randomInt } from 'node:crypto';
import { canonicalJson, elementTexts } from '../support/json-text';
import { type ProtocolSearch, protocolsOf } from '../support/protocols';
import { fetchExport, linesOf, readPages } from '../support/export-client';
import { type Askable, askable, EVENTS } from '../support/test-service';
import { trpcClient } from '../support/trpc-client';
import type { StoredRow } from './stored-rows.fixture';

type Field = 'timestamp' | 'sequence';
type Direction = 'asc' | 'desc';

/** Every order of a list. */
export const ORDERS: readonly [Field, Direction][] = [
  ['timestamp', 'asc'],
  ['timestamp', 'desc'],
  ['sequence', 'asc'],
  ['sequence', 'desc'],
];

/** The rows of one organization, in the order of a list. */
export function inOrder(
  rows: readonly StoredRow[],
  [field, direction]: readonly [Field, Direction],
): StoredRow[] {
  const key = (row: StoredRow) =>
    field === 'sequence'
      ? String(row.sequence).padStart(20, '0')
      : `${row.micros.padStart(20, '0')} ${row.id}`;
  const sign = direction === 'asc' ? 1 : -1;
  return [...rows].sort((one, other) => sign * (key(one) < key(other) ? -1 : 1));
}

/** A few pages for each list, so that there are cursors to go on with. */
const PAGES = 4;
/** Single events that are asked for one by one, the newest among them. */
const SINGLES = 10;
/** What is asked past the cache. */
const FRESH = { 'cache-control': 'no-cache' };

/**
 * Fails unless pages of all protocols in all orders, exports in all formats, the stream of tRPC and single events of this
 * organization are what PostgreSQL has: the same events in the same order, with the same content everywhere.
 */
export async function expectViewsAgree(
  url: string,
  token: string,
  all: readonly StoredRow[],
  organization: string,
): Promise<void> {
  const service = askable(url);
  const rows = all.filter((row) => row.organization === organization);
  const limit = Math.max(1, Math.ceil(rows.length / PAGES));
  const contents = await contentsOf(service, token, organization);
  // Each event by its place in an order, with its whole content.
  const expected = (order: readonly [Field, Direction]) =>
    inOrder(rows, order).map(({ id, sequence }) => contents.get(id) ?? `${sequence} ${id}`);
  expect([...contents.keys()].sort()).toEqual(rows.map(({ id }) => id).sort());
  for (const order of ORDERS) {
    const events = expected(order);
    for (const [name, find] of Object.entries(
      listsOf(service, token, organization, order, limit),
    )) {
      const found = await find();
      expect({ name, order, found }).toEqual({ name, order, found: events });
    }
    const csv = await csvIds(service, token, organization, order);
    expect({ order, csv }).toEqual({ order, csv: inOrder(rows, order).map(idAndSequence) });
  }
  await expectSinglesAgree(service, token, rows, contents);
}

/** The canonical content of every event by its id, as an export has it. */
async function contentsOf(
  service: Askable,
  token: string,
  organization: string,
): Promise<Map<string, string>> {
  const query = { organization_ids: organization, format: 'ndjson' };
  const { text, isWhole } = await fetchExport(service, token, query);
  expect(isWhole).toBe(true);
  return new Map(
    linesOf(text).map((line) => [(JSON.parse(line) as { id: string }).id, canonicalJson(line)]),
  );
}

/** Every way to read a whole list. */
function listsOf(
  service: Askable,
  token: string,
  organization: string,
  [field, direction]: readonly [Field, Direction],
  limit: number,
): Record<string, () => Promise<string[]>> {
  const sorted = { sort_field: field, sort_direction: direction };
  const query = { ...sorted, organization_ids: organization };
  const canonical = (texts: string[]) => texts.map(canonicalJson);
  const exported = async (format: string) => {
    const { text, isWhole } = await fetchExport(service, token, { ...query, format });
    expect(isWhole).toBe(true);
    return canonical(format === 'json' ? elementTexts(text) : linesOf(text));
  };
  const search = (cursor?: string): ProtocolSearch => ({
    filter: { organizationIds: [organization] },
    pagination: { limit, cursor, sort: { field, direction } },
  });
  const walks = Object.entries(protocolsOf(service)).map(([name, { find }]) => [
    `pages of ${name}`,
    async () => {
      const found: string[] = [];
      for (let cursor: string | undefined, isFirst = true; isFirst || cursor; isFirst = false) {
        const page = await find(search(cursor), token);
        if (!page.events) throw new Error(`A page of ${name} is refused: ${page.kind}`);
        found.push(...page.events);
        cursor = page.cursor;
      }
      return found;
    },
  ]);
  return {
    ...(Object.fromEntries(walks) as Record<string, () => Promise<string[]>>),
    'pages of REST, backward': () => backward(service, token, { ...query, limit: String(limit) }),
    'large pages of REST': async () => canonical(await readPages(service, token, query)),
    'an export as ndjson': () => exported('ndjson'),
    'an export as json': () => exported('json'),
    'the stream of tRPC': async () => {
      const stream = await trpcClient(service.url, token).performance.streamAuditEvents.query({
        filter: { organizationIds: [organization] },
        pagination: { limit, sort: { field, direction } },
      });
      const found: string[] = [];
      for await (const event of stream) found.push(canonicalJson(JSON.stringify(event)));
      return found;
    },
  };
}

/** All events, read from the last page to the first by `previousCursor`. */
async function backward(
  service: Askable,
  token: string,
  query: Record<string, string>,
): Promise<string[]> {
  const page = async (cursor: string | undefined) => {
    const asked = new URLSearchParams({ ...query, ...(cursor === undefined ? {} : { cursor }) });
    const answer = await service.get(`${EVENTS}?${asked.toString()}`, token, FRESH);
    if (answer.status !== 200) throw new Error(answer.text);
    return answer;
  };
  const textsOf = ({ text }: { text: string }) =>
    elementTexts(text.slice(text.indexOf('['), text.lastIndexOf(']') + 1)).map(canonicalJson);
  let last = await page(undefined);
  while (last.json.pagination.nextCursor) last = await page(last.json.pagination.nextCursor);
  const found = textsOf(last);
  while (last.json.pagination.previousCursor) {
    last = await page(last.json.pagination.previousCursor);
    found.unshift(...textsOf(last));
  }
  return found;
}

/** Identifiers and numbers out of a CSV export; the drills write nothing into these columns that would be quoted. */
async function csvIds(
  service: Askable,
  token: string,
  organization: string,
  [sort_field, sort_direction]: readonly [Field, Direction],
): Promise<string[]> {
  const query = { organization_ids: organization, format: 'csv', sort_field, sort_direction };
  const { text, isWhole } = await fetchExport(service, token, query);
  expect(isWhole).toBe(true);
  const [header = '', ...lines] = text.split(/\r?\n/).filter((line) => line !== '');
  const columns = header.split(',');
  const [id, sequence] = [columns.indexOf('id'), columns.indexOf('sequence')];
  return lines.map((line) => {
    const cells = line.split(',');
    return `${cells[sequence]} ${cells[id]}`;
  });
}

function idAndSequence({ id, sequence }: StoredRow): string {
  return `${sequence} ${id}`;
}

async function expectSinglesAgree(
  service: Askable,
  token: string,
  rows: readonly StoredRow[],
  contents: ReadonlyMap<string, string>,
): Promise<void> {
  const some = Array.from({ length: SINGLES }, () => rows[randomInt(rows.length)]);
  for (const row of [...rows.slice(-SINGLES), ...some]) {
    if (!row) continue;
    const { id } = row;
    for (const headers of [{}, FRESH]) {
      const { status, text } = await service.get(`${EVENTS}/${id}`, token, headers);
      const content = status === 200 ? canonicalJson(text) : text;
      expect({ id, status, content }).toEqual({ id, status: 200, content: contents.get(id) });
    }
    const query = 'query ($id: ID!) { auditEvent(id: $id) { id sequence correlationId } }';
    const { json } = await service.request('POST', '/graphql', {
      token,
      body: { query, variables: { id } },
    });
    const { sequence, mark } = row;
    const found = { id, sequence: String(sequence), correlationId: mark };
    expect(json.data.auditEvent).toEqual(found);
  }
}
