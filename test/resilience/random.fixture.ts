/** Random choices that the same seed repeats (mulberry32). */
export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = seed >>> 0;
  }

  /** From 0 up to but not including `bound`. */
  int(bound: number): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let mixed = this.state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * bound);
  }

  chance(probability: number): boolean {
    return this.int(1_000_000) < probability * 1_000_000;
  }

  /** @throws Error when there is nothing to pick from. */
  pick<T>(list: readonly T[]): T {
    const picked = list[this.int(list.length)];
    if (picked === undefined) throw new Error('Nothing to pick from');
    return picked;
  }

  /** At least one of them, in their order. */
  some<T>(list: readonly T[]): T[] {
    const chosen = list.filter(() => this.chance(0.4));
    return chosen.length > 0 ? chosen : [this.pick(list)];
  }

  uuid(): string {
    const digits = Array.from({ length: 32 }, () => this.int(16).toString(16)).join('');
    const [a, b, c, d] = [
      digits.slice(0, 8),
      digits.slice(8, 12),
      digits.slice(13, 16),
      digits.slice(17, 20),
    ];
    return `${a}-${b}-4${c}-a${d}-${digits.slice(20)}`;
  }

  /** Choices of its own for somebody who works at the same time as others. */
  fork(): Random {
    return new Random(this.int(2 ** 32));
  }
}
