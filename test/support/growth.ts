const TURNS = 7;
const REPETITIONS = 50;

/** What work costs that grows with its input, eight times as much on an input eight times as long; its square is 64. */
export const LINEAR_GROWTH = 24;

/** Measurements beyond LINEAR_GROWTH are repeated: a busy machine may be in the way of all turns of one. */
const MEASUREMENTS = 4;

/**
 * How many times as long `work` takes on an input made eight times as long, up to `size`. The quickest of several turns
 * of each, in alternation, so that whatever else the machine does is left out.
 */
export function growthOf<T>(
  size: number,
  make: (size: number) => T,
  work: (input: T) => void,
): number {
  const sizes = [make(size / 8), make(size)] as const;
  let growth = Infinity;
  for (let count = 0; count < MEASUREMENTS && growth >= LINEAR_GROWTH; count += 1) {
    growth = Math.min(growth, measuredGrowth(sizes, work));
  }
  return growth;
}

function measuredGrowth<T>(sizes: readonly [T, T], work: (input: T) => void): number {
  const quickestMs = sizes.map(() => Infinity);
  for (let turn = 0; turn < TURNS; turn += 1) {
    for (const [index, input] of sizes.entries()) {
      const startMs = performance.now();
      for (let count = 0; count < REPETITIONS; count += 1) work(input);
      quickestMs[index] = Math.min(quickestMs[index] ?? Infinity, performance.now() - startMs);
    }
  }
  const [shortMs = 0, longMs = 0] = quickestMs;
  return longMs / shortMs;
}
