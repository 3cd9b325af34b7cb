/**
 * Figures of the last slots of a clock that only goes forward. Recording costs the same however much is recorded, and
 * old slots are forgotten by being written over.
 */
export class RollingWindow<Slot> {
  private readonly slots: Slot[];
  /** The number of each slot on the clock, counted from the clock's zero. */
  private readonly numbers: Float64Array;

  constructor(
    readonly slotSeconds: number,
    readonly slotCount: number,
    make: () => Slot,
    private readonly reset: (slot: Slot) => void,
  ) {
    this.slots = Array.from({ length: slotCount }, make);
    this.numbers = new Float64Array(slotCount).fill(-Infinity);
  }

  /** The slot to record in at this moment. */
  current(nowSeconds: number): Slot {
    const number = Math.floor(nowSeconds / this.slotSeconds);
    const at = number % this.slotCount;
    const slot = this.slots[at];
    if (this.numbers[at] !== number) {
      this.numbers[at] = number;
      this.reset(slot);
    }
    return slot;
  }

  /** The slots of the last `count` on the clock that hold anything, the one under way included; in no order. */
  recent(nowSeconds: number, count = this.slotCount): Slot[] {
    const oldest = this.oldest(nowSeconds, count);
    return this.slots.filter((_, at) => this.numbers[at] >= oldest);
  }

  /** When the oldest of the last `count` slots began, in seconds of the clock. */
  beginSeconds(nowSeconds: number, count = this.slotCount): number {
    return this.oldest(nowSeconds, count) * this.slotSeconds;
  }

  private oldest(nowSeconds: number, count: number): number {
    return Math.floor(nowSeconds / this.slotSeconds) - count + 1;
  }
}
