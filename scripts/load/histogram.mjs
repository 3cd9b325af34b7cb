// Response times in buckets that grow geometrically: bounded memory, and percentiles that are off by at most 1 %. (hdr-histogram-js
// does the same with more code; its last release is of 2021.) Pure.

const LEAST_MS = 0.001;
/** Bounds of a bucket are this factor apart, so that its geometric middle is within 1 % of each value in it. */
const GROWTH = 1.02;
const LOG_GROWTH = Math.log(GROWTH);

/** Counts of values from a microsecond to any time. */
export class Histogram {
  count = 0;
  /** The greatest value, exactly; 0 of none. */
  max = 0;
  #buckets = [];

  /** Adds a time in milliseconds. */
  add(ms) {
    const index = Math.max(0, Math.floor(Math.log(Math.max(ms, LEAST_MS) / LEAST_MS) / LOG_GROWTH));
    this.#buckets[index] = (this.#buckets[index] ?? 0) + 1;
    this.count += 1;
    this.max = Math.max(this.max, ms);
  }

  /** Adds all values of another histogram. */
  merge(other) {
    other.#buckets.forEach((count, index) => {
      this.#buckets[index] = (this.#buckets[index] ?? 0) + count;
    });
    this.count += other.count;
    this.max = Math.max(this.max, other.max);
  }

  /** The time in milliseconds that `percent` of the values do not exceed; undefined of none. */
  percentile(percent) {
    if (this.count === 0) return undefined;
    const rank = Math.max(1, Math.ceil((percent / 100) * this.count));
    let seen = 0;
    const index = this.#buckets.findIndex((count) => (seen += count ?? 0) >= rank);
    return Math.min(this.max, LEAST_MS * GROWTH ** (index + 0.5));
  }
}
