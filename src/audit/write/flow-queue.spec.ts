import fc from 'fast-check';
import { FlowQueue, type FlowShare } from './flow-queue';

const MOST = 100;

const queueOf = (): FlowQueue<FlowShare> => new FlowQueue((entry) => entry);
const entry = (flow: string, size: number): FlowShare => ({ flow, size });

describe('room to wait', () => {
  it('is there for every flow below the limit', () => {
    const waiting = queueOf();
    expect(waiting.hasCapacityFor(entry('a', MOST), MOST)).toBe(true);
    expect(waiting.hasCapacityFor(entry('a', MOST + 1), MOST)).toBe(false);
  });

  it('is refused to the flow that has taken it, not to another one', () => {
    const waiting = queueOf();
    waiting.enqueue(entry('flood', MOST));
    expect(waiting.hasCapacityFor(entry('flood', 1), MOST)).toBe(false);
    expect(waiting.hasCapacityFor(entry('quiet', MOST), MOST)).toBe(true);
    waiting.enqueue(entry('quiet', 10));
    expect(waiting.hasCapacityFor(entry('quiet', 40), MOST)).toBe(true);
    expect(waiting.hasCapacityFor(entry('quiet', 41), MOST)).toBe(false);
  });

  it('is found again whatever has been taken, put back or has left', () => {
    const step = fc.record({
      kind: fc.constantFrom('add', 'take', 'requeue', 'leave'),
      flow: fc.constantFrom('a', 'b', 'c'),
      events: fc.integer({ min: 1, max: 60 }),
    });
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const waiting = queueOf();
        const inside = new Set<FlowShare>();
        let outside: FlowShare[] = [];
        for (const { kind, flow, events } of steps) {
          if (kind === 'add') {
            const one = entry(flow, events);
            waiting.enqueue(one);
            inside.add(one);
          } else if (kind === 'take') {
            const taken = waiting.dequeue((one) => one.flow === flow, 2);
            for (const one of taken) inside.delete(one);
            outside.push(...taken);
          } else if (kind === 'requeue') {
            waiting.requeue(outside);
            for (const one of outside) inside.add(one);
            outside = [];
          } else {
            const [one] = inside;
            if (one) expect(waiting.remove(one)).toBe(inside.delete(one));
          }
        }
        const ofFlow = (flow: string) =>
          [...inside].filter((one) => one.flow === flow).reduce((sum, { size }) => sum + size, 0);
        const flows = ['a', 'b', 'c'].filter((flow) => ofFlow(flow) > 0);
        const all = ofFlow('a') + ofFlow('b') + ofFlow('c');
        expect(waiting.size).toBe(all);
        for (const flow of flows) {
          const isRoom = waiting.hasCapacityFor(entry(flow, 1), MOST);
          expect(isRoom).toBe(all + 1 <= MOST || ofFlow(flow) + 1 <= MOST / flows.length);
        }
        expect(waiting.hasCapacityFor(entry('new', MOST), MOST)).toBe(true);
      }),
    );
  });
});
