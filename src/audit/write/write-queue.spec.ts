import fc from 'fast-check';
import { type Waiting, WriteQueue } from './write-queue';

const MOST = 100;

function requestOf(flow: string, events: number) {
  return { flow, events: Array.from({ length: events }) } as Waiting['request'];
}

function waitingOf(flow: string, events: number): Waiting {
  return {
    request: requestOf(flow, events),
    returns: 0,
    organizations: new Set([flow]),
    resolve: () => undefined,
    reject: () => undefined,
  };
}

describe('room to wait', () => {
  it('is there for whoever comes while there is less than enough', () => {
    const waiting = new WriteQueue();
    expect(waiting.hasCapacityFor(requestOf('a', MOST), MOST)).toBe(true);
    expect(waiting.hasCapacityFor(requestOf('a', MOST + 1), MOST)).toBe(false);
  });

  it('is refused to the flow that has taken it, not to another one', () => {
    const waiting = new WriteQueue();
    waiting.enqueue(waitingOf('flood', MOST));
    expect(waiting.hasCapacityFor(requestOf('flood', 1), MOST)).toBe(false);
    expect(waiting.hasCapacityFor(requestOf('quiet', MOST), MOST)).toBe(true);
    waiting.enqueue(waitingOf('quiet', 10));
    expect(waiting.hasCapacityFor(requestOf('quiet', 40), MOST)).toBe(true);
    expect(waiting.hasCapacityFor(requestOf('quiet', 41), MOST)).toBe(false);
  });

  it('is found again whatever has been taken, put back or has left', () => {
    const step = fc.record({
      kind: fc.constantFrom('add', 'take', 'putBack', 'leave'),
      flow: fc.constantFrom('a', 'b', 'c'),
      events: fc.integer({ min: 1, max: 60 }),
    });
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const waiting = new WriteQueue();
        const inside = new Set<Waiting>();
        let outside: Waiting[] = [];
        for (const { kind, flow, events } of steps) {
          if (kind === 'add') {
            const one = waitingOf(flow, events);
            waiting.enqueue(one);
            inside.add(one);
          } else if (kind === 'take') {
            const taken = waiting.dequeue((one) => one.request.flow === flow, 2);
            for (const one of taken) inside.delete(one);
            outside.push(...taken);
          } else if (kind === 'putBack') {
            waiting.requeue(outside);
            for (const one of outside) inside.add(one);
            outside = [];
          } else {
            const [one] = inside;
            if (one) expect(waiting.remove(one)).toBe(inside.delete(one));
          }
        }
        const ofFlow = (flow: string) =>
          [...inside]
            .filter(({ request }) => request.flow === flow)
            .reduce((sum, { request }) => sum + request.events.length, 0);
        const flows = ['a', 'b', 'c'].filter((flow) => ofFlow(flow) > 0);
        const all = ofFlow('a') + ofFlow('b') + ofFlow('c');
        expect(waiting.events).toBe(all);
        for (const flow of flows) {
          const isRoom = waiting.hasCapacityFor(requestOf(flow, 1), MOST);
          expect(isRoom).toBe(all + 1 <= MOST || ofFlow(flow) + 1 <= MOST / flows.length);
        }
        expect(waiting.hasCapacityFor(requestOf('new', MOST), MOST)).toBe(true);
      }),
    );
  });
});
