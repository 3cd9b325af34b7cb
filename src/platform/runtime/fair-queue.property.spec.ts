import fc from 'fast-check';
import { FairQueue, type Waiter } from './fair-queue';

interface Model {
  waiter: Waiter;
  flow: string;
  state: 'waiting' | 'granted' | 'removed' | 'evicted';
  /** Grants to others since it was enqueued. */
  passedBy: Map<string, number>;
  waitersBefore: number;
}

const flow = fc.constantFrom('a', 'b', 'c', 'd');
const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('arrive' as const), flow }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('finish' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('remove' as const), index: fc.nat(50) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('resize' as const),
      max: fc.integer({ min: 1, max: 6 }),
    }),
  },
);

/** The queue and a plain list of its waiters; checks the invariants after every step. */
class World {
  readonly queue: FairQueue;
  readonly all: Model[] = [];
  held = 0;

  constructor(
    private max: number,
    private readonly capacity: number,
  ) {
    this.queue = new FairQueue(max, capacity);
  }

  waiting(): Model[] {
    return this.all.filter(({ state }) => state === 'waiting');
  }

  arrive(key: string): void {
    if (this.queue.tryAcquire()) {
      expect(this.waiting()).toEqual([]); // no waiter is overtaken by a newcomer
      this.held += 1;
      return;
    }
    expect(this.held).toBeGreaterThanOrEqual(this.max);
    const waitersBefore = this.waiting().filter((one) => one.flow === key).length;
    const model = {
      flow: key,
      state: 'waiting',
      passedBy: new Map(),
      waitersBefore,
    } as unknown as Model;
    const before = this.waiting();
    const flows = new Set([...before.map((one) => one.flow), key]);
    const isBelowShare = waitersBefore + 1 <= this.capacity / flows.size;
    const hasCapacity = before.length < this.capacity || isBelowShare;
    expect(this.queue.hasCapacityFor(key)).toBe(hasCapacity);
    const waiter = this.queue.enqueue(
      key,
      () => this.granted(model),
      () => this.evicted(model, before),
    );
    if (!waiter) {
      expect(hasCapacity).toBe(false);
      expect(this.waiting()).toHaveLength(this.capacity);
      return;
    }
    expect(hasCapacity).toBe(true);
    expect(this.waiting().length).toBe(Math.min(before.length, this.capacity - 1));
    model.waiter = waiter;
    this.all.push(model);
  }

  /** Once, and only the last of a longest flow. */
  private evicted(model: Model, before: Model[]): void {
    expect(model.state).toBe('waiting');
    const sizeOf = (key: string) => before.filter((one) => one.flow === key).length;
    const sizes = before.map((one) => sizeOf(one.flow));
    expect(sizeOf(model.flow)).toBe(Math.max(...sizes));
    expect(
      this.waiting()
        .filter((one) => one.flow === model.flow)
        .at(-1),
    ).toBe(model);
    model.state = 'evicted';
  }

  private granted(model: Model): void {
    expect(model.state).toBe('waiting'); // never twice, never after its removal
    model.state = 'granted';
    this.held += 1;
    expect(this.held).toBeLessThanOrEqual(this.max);
    for (const other of this.waiting()) {
      other.passedBy.set(model.flow, (other.passedBy.get(model.flow) ?? 0) + 1);
    }
    for (const [key, times] of model.passedBy) {
      const allowed = key === model.flow ? model.waitersBefore : model.waitersBefore + 1;
      expect(times).toBeLessThanOrEqual(allowed);
    }
  }

  finish(): void {
    if (this.held === 0) return;
    this.held -= 1;
    this.queue.release();
  }

  /** With fewer permits than are held none is granted until enough were released. */
  resize(max: number): void {
    this.max = max;
    this.queue.resize(max);
    expect(this.queue.max).toBe(max);
  }

  remove(index: number): void {
    const one = this.all[index % Math.max(1, this.all.length)];
    if (!one) return;
    expect(this.queue.remove(one.waiter)).toBe(one.state === 'waiting');
    if (one.state === 'waiting') one.state = 'removed';
  }

  check(): void {
    expect(this.queue.active).toBe(this.held);
    expect(this.queue.queued).toBe(this.waiting().length);
    expect(this.queue.flowCount).toBe(new Set(this.waiting().map((one) => one.flow)).size);
    if (this.queue.queued > 0) expect(this.held).toBeGreaterThanOrEqual(this.max); // no permit is free while there are waiters
    expect(this.queue.isFull).toBe(this.held >= this.max && this.waiting().length >= this.capacity);
  }
}

describe('FairQueue', () => {
  it('never grants too many, loses or doubles a permit, nor lets a waiter starve', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 0, max: 12 }),
        fc.array(step, { maxLength: 120 }),
        (max, capacity, steps) => {
          const world = new World(max, capacity);
          for (const one of steps) {
            if (one.do === 'arrive') world.arrive(one.flow);
            else if (one.do === 'finish') world.finish();
            else if (one.do === 'resize') world.resize(one.max);
            else world.remove(one.index);
            world.check();
          }
          while (world.held > 0) world.finish();
          world.check();
          expect(world.queue.active).toBe(0);
          expect(world.queue.flowCount).toBe(0);
          expect(world.waiting()).toEqual([]);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('serves a late flow before the second waiter of a flood', () => {
    const queue = new FairQueue(1, 100);
    const served: string[] = [];
    queue.tryAcquire();
    for (let index = 0; index < 5; index += 1) queue.enqueue('flood', () => served.push('flood'));
    queue.enqueue('quiet', () => served.push('quiet'));
    for (let index = 0; index < 6; index += 1) queue.release();
    expect(served).toEqual(['flood', 'quiet', 'flood', 'flood', 'flood', 'flood']);
  });
});
