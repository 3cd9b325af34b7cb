import type { EventPage, ViewerEvent } from '../../packages/viewer/src/audit-api';
import { EventPages } from '../../packages/viewer/src/event-pages';

const PAGE = 100;

function eventAt(index: number): ViewerEvent {
  return { id: `id-${index}`, organizationId: 'org-1', text: '' } as unknown as ViewerEvent;
}

/** A list of `length` events; cursors are positions. */
class Log {
  readonly cursors: (string | undefined)[] = [];
  failure: Error | undefined;
  private pending: (() => void)[] = [];

  constructor(private readonly length: number) {}

  readonly load = (cursor: string | undefined): Promise<EventPage> =>
    new Promise((resolve, reject) => {
      this.cursors.push(cursor);
      const { failure } = this;
      const start = Number(cursor ?? 0);
      const end = Math.min(start + PAGE, this.length);
      const events = Array.from({ length: end - start }, (_, index) => eventAt(start + index));
      const nextCursor = end < this.length ? String(end) : undefined;
      this.pending.push(() => (failure ? reject(failure) : resolve({ events, nextCursor })));
    });

  /** Answers all requests, also those that answers cause. */
  async answer(): Promise<void> {
    while (this.pending.length > 0) {
      for (const send of this.pending.splice(0)) send();
      await new Promise(setImmediate);
    }
  }
}

async function scrolledTo(row: number, log: Log, pages: EventPages): Promise<void> {
  while (pages.count <= row && !pages.isAtEnd) {
    pages.show(pages.count, pages.count);
    await log.answer();
  }
  pages.show(row, row + 20);
  await log.answer();
}

describe('pages of events', () => {
  it('hold any length in bounded memory, and every row is the same when it comes back', async () => {
    const log = new Log(10_050);
    const pages = new EventPages(log.load, () => undefined);
    await scrolledTo(10_049, log, pages);
    expect([pages.count, pages.isAtEnd]).toEqual([10_050, true]);
    expect([...pages.loaded()].length).toBeLessThanOrEqual(20 * PAGE);
    expect(pages.at(0)).toBeUndefined();
    for (const row of [0, 5000, 150, 10_049]) {
      await scrolledTo(row, log, pages);
      expect(pages.at(row)?.id).toBe(`id-${row}`);
    }
    expect(pages.count).toBe(10_050);
    expect(pages.at(10_050)).toBeUndefined();
  });

  it('load a page once, however often it is asked for', async () => {
    const log = new Log(250);
    const pages = new EventPages(log.load, () => undefined);
    for (let time = 0; time < 5; time += 1) pages.show(0, 20);
    await log.answer();
    for (let time = 0; time < 5; time += 1) pages.show(0, 20);
    await log.answer();
    expect(log.cursors).toEqual([undefined, '100']);
  });

  it('put new events on top once', async () => {
    const log = new Log(150);
    const pages = new EventPages(log.load, () => undefined);
    pages.extend();
    await log.answer();
    const fresh = [eventAt(-1), eventAt(-2)];
    expect(pages.prepend([...fresh, eventAt(0)])).toBe(2);
    expect(pages.prepend(fresh)).toBe(0);
    expect([pages.count, pages.at(0)?.id, pages.at(2)?.id]).toEqual([102, 'id--1', 'id-0']);
    expect(pages.rowOf(({ id }) => id === 'id-5')).toBe(7);
  });

  it('keep what they have when a page fails, and go on', async () => {
    const log = new Log(250);
    let changes = 0;
    const pages = new EventPages(log.load, () => (changes += 1));
    pages.extend();
    await log.answer();
    log.failure = new Error('offline');
    pages.extend();
    await log.answer();
    expect([pages.failure, pages.count, changes]).toEqual([log.failure, 100, 2]);
    pages.show(90, 99);
    expect(log.cursors).toHaveLength(2);
    log.failure = undefined;
    pages.extend();
    await log.answer();
    expect([pages.failure, pages.count]).toEqual([undefined, 200]);
  });

  it('say nothing after their end', async () => {
    const log = new Log(250);
    let changes = 0;
    const pages = new EventPages(log.load, () => (changes += 1));
    pages.extend();
    pages.close();
    await log.answer();
    pages.extend();
    expect([changes, pages.count, log.cursors.length]).toEqual([0, 0, 1]);
  });
});
