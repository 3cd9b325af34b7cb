/** Figures of the last slots of a monotonic clock, at a constant cost; old slots are overwritten. */
export class RollingWindow<Slot> {
  private readonly slots: Slot[];
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

  /** The slot for this moment. */
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

  /** Non-empty slots of the last `count`, the current one included, unordered. */
  recent(nowSeconds: number, count = this.slotCount): Slot[] {
    const oldest = this.oldest(nowSeconds, count);
    return this.slots.filter((_, at) => this.numbers[at] >= oldest);
  }

  /** Begin of the oldest of the last `count` slots, in clock seconds. */
  beginSeconds(nowSeconds: number, count = this.slotCount): number {
    return this.oldest(nowSeconds, count) * this.slotSeconds;
  }

  private oldest(nowSeconds: number, count: number): number {
    return Math.floor(nowSeconds / this.slotSeconds) - count + 1;
  }
}
