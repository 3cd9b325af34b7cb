import * as fc from 'fast-check';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { formatFineInstant } from '../../platform/runtime/instant';
import { eventTest, recordedEventOf } from '../event/event-test';
import { FeedBuffer, FeedMemory } from './feed-buffer';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const eventOf = (sequence: number, more: object = {}) =>
  recordedEventOf(JSON.stringify({ organizationId: 'org-1', sequence: String(sequence), ...more }));

describe('FeedBuffer', () => {
  it('returns events in order, and retains few that a slow subscriber has taken', async () => {
    const buffer = new FeedBuffer(new FeedMemory());
    const added: WeakRef<object>[] = [];
    const add = (sequence: number) => {
      const event = eventOf(sequence);
      added.push(new WeakRef(event));
      buffer.add(event);
    };
    for (let sequence = 1; sequence <= 3; sequence += 1) add(sequence);
    for (let sequence = 4; sequence <= 3000; sequence += 1) {
      add(sequence);
      expect(buffer.take()?.sequence).toBe(BigInt(sequence - 3));
    }
    await sleep(1); // until then what has a WeakRef is kept
    collect();
    expect(added.filter((event) => event.deref() !== undefined).length).toBeLessThanOrEqual(40);
    expect(buffer.take()?.sequence).toBe(2998n); // the buffer itself is still there
  });

  it('overflows beyond 5000 events, and begins again when it is cleared', () => {
    const buffer = new FeedBuffer(new FeedMemory());
    for (let sequence = 1; sequence <= 5000; sequence += 1) buffer.add(eventOf(sequence));
    expect(buffer.hasOverflowed).toBe(false);
    buffer.add(eventOf(5001));
    expect([buffer.hasOverflowed, buffer.take()]).toEqual([true, undefined]);
    buffer.clear();
    buffer.add(eventOf(1));
    expect(buffer.take()?.sequence).toBe(1n);
  });
});

it('a buffered event has its text and the values of filters, and no objects of its metadata', () => {
  expect(eventOf(1, { metadata: { a: {} } }).members).not.toHaveProperty('metadata');
});

describe('the filter of a feed', () => {
  it('asks for one target that fits, the first or another', () => {
    const name = fc.constantFrom('a', 'b', 'c');
    const target = fc.record({ type: fc.option(name), id: fc.option(name) });
    const names = fc.option(fc.uniqueArray(name, { minLength: 1 }), { nil: undefined });
    const filter = fc.record({
      resourceTypes: names,
      resourceIds: names,
      targetTypes: names,
      targetIds: names,
    });
    fc.assert(
      fc.property(target, fc.option(fc.array(target)), filter, (first, others, wanted) => {
        const targets = others && [first, ...others];
        const event = eventOf(1, {
          targetResourceType: first.type,
          targetResourceId: first.id,
          ...(targets ? { targets } : {}),
        });
        const one = (types?: string[], ids?: string[]) =>
          (targets ?? [first]).some(
            ({ type, id }) =>
              (types?.includes(type ?? '') ?? true) && (ids?.includes(id ?? '') ?? true),
          );
        expect(eventTest(wanted)(event)).toBe(
          one(wanted.resourceTypes, wanted.resourceIds) &&
            one(wanted.targetTypes, wanted.targetIds),
        );
      }),
      { numRuns: 500 },
    );
  });

  it('takes dates as half-open, to the nanosecond', () => {
    const instant = fc
      .record({
        micros: fc.integer({ min: 0, max: 2 }),
        submicros: fc.constantFrom('', '001', '01', '1', '12', '999'),
      })
      .map((at) => ({
        at,
        nanos: BigInt(at.micros) * 1000n + BigInt(at.submicros.padEnd(3, '0')),
      }));
    const bound = fc.option(instant, { nil: undefined });
    fc.assert(
      fc.property(instant, bound, bound, (one, start, end) => {
        const timestamp = formatFineInstant(one.at);
        const wanted =
          (start === undefined || one.nanos >= start.nanos) &&
          (end === undefined || one.nanos < end.nanos);
        const test = eventTest({ startDate: start?.at, endDate: end?.at });
        expect(test(eventOf(1, { timestamp }))).toBe(wanted);
      }),
      { numRuns: 500 },
    );
  });
});
