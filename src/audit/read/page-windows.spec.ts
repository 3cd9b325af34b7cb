import * as fc from 'fast-check';
import { addMonths, type Month } from '../../platform/database/partitions';
import { parseFineInstant } from '../../platform/runtime/instant';
import type { PageRequest } from './page-statement';
import { PageWindows, type PageWindow } from './page-windows';

const month = fc
  .record({ year: fc.integer({ min: 1971, max: 2200 }), number: fc.integer({ min: 1, max: 12 }) })
  .map(({ year, number }): Month => `${year}-${String(number).padStart(2, '0')}`);
const instantIn = (name: Month, rest = '17T12:34:56.789012Z') => `${name}-${rest}`;
const date = fc.option(
  month.map((name) => parseFineInstant(instantIn(name))),
  { nil: undefined },
);

function request(changes: Partial<PageRequest> = {}): PageRequest {
  return {
    organizations: ['org-1'],
    filter: {},
    sort: { field: 'timestamp', direction: 'desc' },
    limit: 2,
    offset: 0,
    ...changes,
  };
}

const requests: fc.Arbitrary<PageRequest> = fc
  .record({
    organizations: fc.constantFrom<PageRequest['organizations']>(['org-1'], ['org-1', 'b'], '*'),
    field: fc.constantFrom('timestamp', 'timestamp', 'timestamp', 'sequence'),
    direction: fc.constantFrom('asc', 'desc'),
    startDate: date,
    endDate: date,
    after: fc.option(month, { nil: undefined }),
    offset: fc.constantFrom(0, 0, 0, 7),
  })
  .map(({ organizations, field, direction, startDate, endDate, after, offset }) =>
    request({
      organizations,
      filter: { startDate, endDate },
      sort: { field, direction },
      after: after === undefined ? undefined : positionIn(after),
      offset,
    }),
  );

function positionIn(name: Month) {
  return { timestamp: instantIn(name), sequence: '1', id: 'an-id', organizationId: 'org-1' };
}

/** An event of that month as the database gives it. */
function eventIn(name: Month): string {
  return JSON.stringify({ ...positionIn(name), principalId: null });
}

const holds = ({ from, to }: PageWindow, at: string) =>
  (from === undefined || at >= from) && (to === undefined || at < to);

/** Where the windows meet; a cursor's month is an edge of the first one besides. */
function splitOf(windows: PageWindow[]): PageWindow[] {
  const [first, second] = windows;
  if (!first || !second) return windows;
  return second.to === undefined
    ? [{ to: first.to }, { from: second.from }]
    : [{ from: first.from }, { to: second.to }];
}

/** Whether an instant is on the side of the cursor that is asked for. */
function isWanted({ after, sort }: PageRequest, at: string): boolean {
  if (!after) return true;
  return sort.direction === 'desc' ? at <= after.timestamp : at >= after.timestamp;
}

/** Instants at and around every end of a window, and far from all. */
function instantsAround(windows: PageWindow[]): string[] {
  const ends = windows.flatMap(({ from, to }) => [from, to]).flatMap((end) => end ?? []);
  const before = ends.map((end) =>
    instantIn(addMonths(end.slice(0, 7), -1), '28T23:59:59.999999Z'),
  );
  return [...ends, ...before, '1970-01-01T00:00:00.000000Z', '9999-12-31T23:59:59.999999Z'];
}

describe('the windows of time in which a page is looked for', () => {
  it('cover everything, do not overlap and come in the order of the page, whatever was learnt', () => {
    const learnt = fc.array(fc.tuple(requests, fc.array(month, { maxLength: 3 })), {
      maxLength: 6,
    });
    fc.assert(
      fc.property(requests, learnt, fc.array(month), (asked, lessons, months) => {
        const pages = new PageWindows();
        for (const [one, found] of lessons) {
          const list = found.length % 2 ? { ...one, after: asked.after } : asked;
          pages.learn(list, found.map(eventIn));
        }
        const windows = pages.of(asked);
        const instants = [
          ...instantsAround(windows),
          ...months.map((name) => instantIn(name)),
        ].filter((at) => isWanted(asked, at));
        for (const at of instants) {
          expect(windows.filter((window) => holds(window, at))).toHaveLength(1);
        }
        const order = instants.sort().map((at) => windows.findIndex((window) => holds(window, at)));
        if (asked.sort.direction === 'desc') order.reverse();
        expect(order).toEqual([...order].sort((a, b) => a - b));
      }),
    );
  });

  it('begin with the month of the page and are cut where the last page of the list ended', () => {
    const pages = new PageWindows();
    const down = request({ after: positionIn('2024-03') });
    expect(splitOf(pages.of(down))).toEqual(cutDown('2024-03'));
    pages.learn(down, [eventIn('2024-02'), eventIn('2023-11')]);
    expect(splitOf(pages.of(down))).toEqual(cutDown('2023-11'));
    // The next page of the list is expected to cover as much.
    expect(splitOf(pages.of(request({ after: positionIn('2023-11') })))).toEqual(
      cutDown('2023-07'),
    );
    pages.learn(down, [eventIn('2024-03'), eventIn('2024-03')]);
    expect(splitOf(pages.of(down))).toEqual(cutDown('2024-03'));

    const up: PageRequest = { ...down, sort: { field: 'timestamp', direction: 'asc' } };
    expect(splitOf(pages.of(up))).toEqual(cutUp('2024-04'));
    pages.learn(up, [eventIn('2024-04'), eventIn('2024-12')]);
    expect(splitOf(pages.of(up))).toEqual(cutUp('2025-01'));
  });

  it('are one when the list ended before its page was full, until it fills one again', () => {
    const pages = new PageWindows();
    const list = request({ after: positionIn('2024-03') });
    for (const found of [[], [eventIn('2024-03')]]) {
      pages.learn(list, found);
      expect(splitOf(pages.of(list))).toEqual([{}]);
    }
    pages.learn(list, [eventIn('2024-03'), eventIn('2024-02')]);
    expect(splitOf(pages.of(list))).toEqual(cutDown('2024-02'));
  });

  it('begin where the filter does, and are one where nothing tells the month', () => {
    const pages = new PageWindows();
    const endDate = parseFineInstant(instantIn('2021-06'));
    const startDate = parseFineInstant(instantIn('2020-02'));
    const asc = { field: 'timestamp', direction: 'asc' } as const;
    expect(splitOf(pages.of(request({ filter: { endDate } })))).toEqual(cutDown('2021-06'));
    expect(splitOf(pages.of(request({ filter: { startDate }, sort: asc })))).toEqual(
      cutUp('2020-03'),
    );
    const now = new Date().toISOString().slice(0, 7);
    expect([now, addMonths(now, 1)].map(cutDown)).toContainEqual(splitOf(pages.of(request())));
    for (const untold of [
      request({ sort: asc }),
      request({ offset: 1 }),
      request({ sort: { field: 'sequence', direction: 'desc' } }),
    ]) {
      expect(splitOf(pages.of(untold))).toEqual([{}]);
    }
  });

  it('know lists apart by organizations, filter and sort', () => {
    const pages = new PageWindows();
    const after = positionIn('2024-03');
    const startDate = parseFineInstant(instantIn('2020-02'));
    pages.learn(request({ after }), []);
    expect(splitOf(pages.of(request({ after })))).toEqual([{}]);
    for (const other of [
      request({ after, organizations: ['org-2'] }),
      request({ after, organizations: '*' }),
      request({ after, filter: { actions: ['read'] } }),
      request({ after, filter: { startDate } }),
    ]) {
      expect(splitOf(pages.of(other))).toEqual(cutDown('2024-03'));
    }
  });

  it('remember ten thousand lists and forget the oldest', () => {
    const pages = new PageWindows();
    const list = (index: number) =>
      request({ organizations: [`org-${index}`], after: positionIn('2024-03') });
    for (let index = 0; index < 10_001; index += 1) pages.learn(list(index), []);
    expect(splitOf(pages.of(list(0)))).toEqual(cutDown('2024-03'));
    for (const index of [1, 10_000]) expect(splitOf(pages.of(list(index)))).toEqual([{}]);
  });
});

function cutDown(name: Month): PageWindow[] {
  const cut = instantIn(name, '01T00:00:00.000000Z');
  return [{ from: cut }, { to: cut }];
}

function cutUp(name: Month): PageWindow[] {
  const cut = instantIn(name, '01T00:00:00.000000Z');
  return [{ to: cut }, { from: cut }];
}
