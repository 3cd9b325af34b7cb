import { type ProtocolSearch, protocolsOf } from '../support/protocols';
import { fetchExport, linesOf } from '../support/export-client';
import { askable, EVENTS } from '../support/test-service';
import { failureOfCall, trpcClient } from '../support/trpc-client';
import type { StoredRow } from './stored-rows.fixture';
import { inOrder, ORDERS } from './views.fixture';

type Order = (typeof ORDERS)[number];

/** What came of going on with a cursor: the numbers and ids of events, or the code of a refusal. */
type Continued = { events: string[] } | { refusal: string };

/** A cursor that a client holds while the fault happens. */
interface HeldCursor {
  name: string;
  order: Order;
  /** The event that it stands behind. */
  position: { id: string };
  resume(): Promise<Continued>;
}

/** Refusals that name the reason: the position is of another past. */
const REFUSALS = new Set(['TIMELINE_CHANGED', 'INVALID_CURSOR']);

/**
 * Cursors of pages of every protocol in every order, two of each: at an old event, and at the newest but one, which a
 * fault may lose. With them clients go on: in pages, in an export, in a stream.
 */
export class HeldCursors {
  private constructor(private readonly cursors: readonly HeldCursor[]) {}

  /** Takes them from an organization with so many events. */
  static async take(
    url: string,
    token: string,
    organization: string,
    rows: readonly StoredRow[],
  ): Promise<HeldCursors> {
    const own = rows.filter((row) => row.organization === organization);
    const found: HeldCursor[] = [];
    for (const order of ORDERS) {
      const isNewestFirst = order[1] === 'desc';
      const newest = isNewestFirst ? 1 : own.length - 2;
      const oldest = isNewestFirst ? own.length - 4 : 3;
      for (const offset of [newest, oldest]) {
        found.push(...(await cursorsAt(url, token, organization, order, offset)));
      }
    }
    return new HeldCursors(found);
  }

  /**
   * Fails unless going on behind an event that is still stored gives exactly what follows it, and behind one that was
   * lost is refused with an error that says why; by time, where a position means the same in every past, it may go on.
   */
  async expectExplicit(rows: readonly StoredRow[], organization: string): Promise<void> {
    const own = rows.filter((row) => row.organization === organization);
    const faults: object[] = [];
    for (const cursor of this.cursors) {
      const { name, order, position } = cursor;
      const sorted = inOrder(own, order);
      const at = sorted.findIndex(({ id }) => id === position.id);
      const outcome = await cursor.resume();
      if (at === -1) {
        const isRefused = 'refusal' in outcome && REFUSALS.has(outcome.refusal);
        const isAllowed = isRefused || ('events' in outcome && order[0] === 'timestamp');
        if (!isAllowed)
          faults.push({ name, order, behind: 'a lost event', outcome: brief(outcome) });
        continue;
      }
      const owed = sorted.slice(at + 1).map(({ sequence, id }) => `${sequence} ${id}`);
      const had = 'events' in outcome ? outcome.events : [outcome.refusal];
      if (had.join() !== owed.join()) {
        const [shown, expected] = [had, owed].map((events) => brief({ events }));
        faults.push({ name, order, behind: sorted[at]?.sequence, shown, expected });
      }
    }
    expect(faults).toEqual([]);
  }
}

async function cursorsAt(
  url: string,
  token: string,
  organization: string,
  order: Order,
  offset: number,
): Promise<HeldCursor[]> {
  const service = askable(url);
  const [field, direction] = order;
  const sort = { field, direction };
  const filter = { organizationIds: [organization] };
  const search = (
    page: { cursor: string } | { offset: number; limit: number },
  ): ProtocolSearch => ({
    filter,
    pagination: { limit: 1000, ...page, sort },
  });
  const held: HeldCursor[] = [];
  for (const [name, { find }] of Object.entries(protocolsOf(service))) {
    const { events, cursor } = await find(search({ offset, limit: 1 }), token);
    const [text] = events ?? [];
    if (cursor === undefined || text === undefined) throw new Error(`${name} gave no cursor`);
    const position = JSON.parse(text) as { id: string };
    const base = { order, position };
    held.push({
      ...{ ...base, name: `pages of ${name}` },
      resume: async () => {
        const page = await find(search({ cursor }), token);
        return page.events ? { events: page.events.map(nameOf) } : { refusal: page.kind ?? '' };
      },
    });
    if (name !== 'REST') continue;
    held.push({
      ...{ ...base, name: 'an export that is resumed' },
      resume: async () => {
        const query = {
          ...{ organization_ids: organization, sort_field: field, sort_direction: direction },
          ...{ format: 'ndjson', cursor },
        };
        const answer = await fetchExport(service, token, query);
        if (answer.status === 200) return { events: linesOf(answer.text).map(nameOf) };
        return { refusal: (JSON.parse(answer.text) as { code: string }).code };
      },
    });
  }
  const [last] = held.filter(({ name }) => name === 'pages of tRPC');
  if (last) held.push({ ...last, ...(await streamAt(url, token, filter, sort, last.position)) });
  return held;
}

/** A stream of tRPC that is read until this event, and goes on with the id of its message. */
async function streamAt(
  url: string,
  token: string,
  filter: { organizationIds: string[] },
  sort: { field: Order[0]; direction: Order[1] },
  position: { id: string },
): Promise<Pick<HeldCursor, 'name' | 'resume'>> {
  const client = trpcClient(url, token);
  const pagination = { limit: 1000, sort };
  const [service, query] = [askable(url), new URLSearchParams()];
  query.set('organization_ids', filter.organizationIds.join());
  query.set('sort_field', sort.field);
  query.set('sort_direction', sort.direction);
  query.set('limit', '1000');
  // The id of a message is a cursor of the same list: that of the page which ends with this event.
  const page = await service.get(`${EVENTS}?${query.toString()}`, token);
  const at = (page.json.data as { id: string }[]).findIndex(({ id }) => id === position.id);
  query.set('limit', String(at + 1));
  const upTo = await service.get(`${EVENTS}?${query.toString()}`, token);
  const lastEventId = upTo.json.pagination.nextCursor as string;
  return {
    name: 'a stream of tRPC that is resumed',
    resume: async () => {
      const events: string[] = [];
      const reading = (async () => {
        const stream = await client.performance.streamAuditEvents.query({
          filter,
          pagination,
          lastEventId,
        });
        for await (const event of stream) events.push(nameOf(JSON.stringify(event)));
      })();
      const failed = await reading.then(
        () => false,
        () => true,
      );
      if (!failed) return { events };
      const { data } = await failureOfCall(reading);
      return { refusal: data?.kind ?? '' };
    },
  };
}

/** An outcome in one line. */
function brief(outcome: Continued): string {
  if ('refusal' in outcome) return outcome.refusal;
  const { length } = outcome.events;
  return `${length} events: ${outcome.events.slice(0, 2).join(', ')} …`;
}

function nameOf(text: string): string {
  const { sequence, id } = JSON.parse(text) as { sequence: string; id: string };
  return `${sequence} ${id}`;
}
