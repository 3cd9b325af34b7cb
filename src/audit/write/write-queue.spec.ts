import fc from 'fast-check';
import { type Waiting, WaitingWrites } from './write-queue';

const MOST = 100;

function requestOf(lane: string, events: number) {
  return { lane, events: Array.from({ length: events }) } as Waiting['request'];
}

function waitingOf(lane: string, events: number): Waiting {
  return {
    request: requestOf(lane, events),
    returns: 0,
    organizations: new Set([lane]),
    resolve: () => undefined,
    reject: () => undefined,
  };
}

describe('room to wait', () => {
  it('is there for whoever comes while there is less than enough', () => {
    const waiting = new WaitingWrites();
    expect(waiting.hasRoomFor(requestOf('a', MOST), MOST)).toBe(true);
    expect(waiting.hasRoomFor(requestOf('a', MOST + 1), MOST)).toBe(false);
  });

  it('is refused to the lane that has taken it, not to another one', () => {
    const waiting = new WaitingWrites();
    waiting.add(waitingOf('flood', MOST));
    expect(waiting.hasRoomFor(requestOf('flood', 1), MOST)).toBe(false);
    expect(waiting.hasRoomFor(requestOf('quiet', MOST), MOST)).toBe(true);
    waiting.add(waitingOf('quiet', 10));
    expect(waiting.hasRoomFor(requestOf('quiet', 40), MOST)).toBe(true);
    expect(waiting.hasRoomFor(requestOf('quiet', 41), MOST)).toBe(false);
  });

  it('is found again whatever has been taken, put back or has left', () => {
    const step = fc.record({
      kind: fc.constantFrom('add', 'take', 'putBack', 'leave'),
      lane: fc.constantFrom('a', 'b', 'c'),
      events: fc.integer({ min: 1, max: 60 }),
    });
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const waiting = new WaitingWrites();
        const inside = new Set<Waiting>();
        let outside: Waiting[] = [];
        for (const { kind, lane, events } of steps) {
          if (kind === 'add') {
            const one = waitingOf(lane, events);
            waiting.add(one);
            inside.add(one);
          } else if (kind === 'take') {
            const taken = waiting.take((one) => one.request.lane === lane, 2);
            for (const one of taken) inside.delete(one);
            outside.push(...taken);
          } else if (kind === 'putBack') {
            waiting.putBack(outside);
            for (const one of outside) inside.add(one);
            outside = [];
          } else {
            const [one] = inside;
            if (one) expect(waiting.remove(one)).toBe(inside.delete(one));
          }
        }
        const ofLane = (lane: string) =>
          [...inside]
            .filter(({ request }) => request.lane === lane)
            .reduce((sum, { request }) => sum + request.events.length, 0);
        const lanes = ['a', 'b', 'c'].filter((lane) => ofLane(lane) > 0);
        const all = ofLane('a') + ofLane('b') + ofLane('c');
        expect(waiting.events).toBe(all);
        for (const lane of lanes) {
          const isRoom = waiting.hasRoomFor(requestOf(lane, 1), MOST);
          expect(isRoom).toBe(all + 1 <= MOST || ofLane(lane) + 1 <= MOST / lanes.length);
        }
        expect(waiting.hasRoomFor(requestOf('new', MOST), MOST)).toBe(true);
      }),
    );
  });
});
