import fc from 'fast-check';
import { type Creation, PartitionQueue } from './partition-queue';

const TABLE = 'audit_event';

/** Creates a queue, and a function that creates one partition; `made` has the months so far. */
function queueOf(urgent: string[] = []) {
  const made = new Set<string>();
  const queue = new PartitionQueue(
    (_, month) => made.has(month),
    () => urgent,
  );
  const add = (flow: string, months: string[], signal?: AbortSignal) => {
    const ended = queue.add({ table: TABLE, months: new Set(months), flow, signal });
    ended.catch(() => undefined);
    return ended;
  };
  const start = (flow: string, months: string[]): void => {
    add(flow, months).catch(() => undefined);
  };
  /** Creates one partition; returns its flow and month. */
  const makeOne = (): [string, string] | undefined => {
    const creation = queue.dequeue();
    if (!creation) return undefined;
    const month = queue.firstOf(creation);
    made.add(month);
    queue.requeue(creation);
    return [creation.flow, month];
  };
  return { queue, add, start, makeOne, made };
}

const years = (from: number, count: number) =>
  Array.from({ length: count }, (_, index) => `${from + index}-06`);

describe('callers that wait for partitions', () => {
  it('get one partition each in rotation, so that a small request does not wait for all of a large one', async () => {
    const { add, makeOne } = queueOf();
    const large = add('attacker', years(1900, 50));
    makeOne();
    const small = add('other', ['2001-01']);
    expect([makeOne(), makeOne(), makeOne()].map((made) => made?.[0])).toEqual([
      'other',
      'attacker',
      'attacker',
    ]);
    await small;
    while (makeOne());
    await large;
  });

  it('gain nothing by two requests in one flow', () => {
    const { start, makeOne } = queueOf();
    for (const from of [1700, 1750, 1800, 1850, 1900]) start('attacker', years(from, 50));
    makeOne();
    start('other', ['2001-01', '2002-01']);
    const turns = Array.from({ length: 4 }, makeOne).map((made) => made?.[0]);
    expect(turns).toEqual(['other', 'attacker', 'other', 'attacker']);
  });

  it('of this month and the next come first', () => {
    const { start, makeOne } = queueOf(['2026-11', '2026-12']);
    start('one', years(1900, 3));
    start('two', [...years(1950, 2), '2026-12']);
    expect([makeOne(), makeOne()]).toEqual([
      ['two', '2026-12'],
      ['one', '1900-06'],
    ]);
  });

  it('are notified when their partitions were created for others', async () => {
    const { add, makeOne, made, queue } = queueOf();
    const both = [add('one', ['1990-01']), add('two', ['1990-01'])];
    makeOne();
    expect(queue.dequeue()).toBeUndefined();
    await Promise.all(both);
    expect([...made]).toEqual(['1990-01']);
  });

  it('are removed when their signal aborts, also after their turn', async () => {
    const { add, queue } = queueOf();
    const [first, second] = [new AbortController(), new AbortController()];
    const reason = new Error('nobody waits');
    const [running, waiting] = [
      add('one', ['1990-01'], first.signal),
      add('two', ['1991-01'], second.signal),
    ];
    const taken = queue.dequeue() as Creation;
    second.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    first.abort(reason);
    queue.requeue(taken);
    await expect(running).rejects.toBe(reason);
    expect(queue.dequeue()).toBeUndefined();
  });

  it('all end, and no flow gets two partitions in a row while another waits', async () => {
    const months = fc.uniqueArray(
      fc.integer({ min: 1000, max: 1060 }).map((year) => `${year}-01`),
      { minLength: 1, maxLength: 12 },
    );
    const request = fc.record({ flow: fc.constantFrom('a', 'b', 'c', 'd'), months });
    await fc.assert(
      fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 12 }), async (requests) => {
        const { add, makeOne, made } = queueOf();
        const ends = requests.map((one) => add(one.flow, one.months));
        const openOf = (flow: string) =>
          requests.some((one) => one.flow !== flow && one.months.some((month) => !made.has(month)));
        let last: string | undefined;
        for (;;) {
          const areOthersWaiting = last !== undefined && openOf(last);
          const turn = makeOne();
          if (!turn) break;
          if (areOthersWaiting) expect(turn[0]).not.toBe(last);
          [last] = turn;
        }
        await Promise.all(ends);
        expect(made).toEqual(new Set(requests.flatMap((one) => one.months)));
      }),
    );
  });
});
