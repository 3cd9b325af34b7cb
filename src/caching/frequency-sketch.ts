/** Rows of counters; an estimate is the smallest of the four counters of a key. */
const ROWS = 4;
const MAX_COUNT = 0xffff;
/** Requests for each cached entry after which counts halve: keys without requests have to lose their places. */
const SAMPLE_FACTOR = 5;
/** Minimum of a sample: a nearly empty cache evicts nothing. */
const MIN_SAMPLE = 1000;
/** Time after which counts halve as well, so that a quiet service does not use the popularity of yesterday. */
const MAX_PERIOD_MS = 3_600_000;

/**
 * Counts recent requests of many keys in fixed memory: a count-min sketch with conservative update, whose counts are
 * halved after a sample of requests (TinyLFU: Einziger, Friedman, Manes, ACM ToS 2017). An estimate is
 * never below the true count of the sample, unless that exceeds 65 535. Counters have 16 bits rather than the 4 of the
 * paper, as they also serve as rates, which have to tell 15 requests from 1500.
 */
export class FrequencySketch {
  private readonly counters: Uint16Array;
  private readonly mask: number;
  private sample: number;
  private readonly maxSample: number;
  private counted = 0;
  private startedMs: number;

  /**
   * @param width counters of a row, a power of two.
   * @param nowMs on the clock of performance.now(), as for all methods.
   */
  constructor(width: number, nowMs: number) {
    this.counters = new Uint16Array(ROWS * width);
    this.mask = width - 1;
    this.sample = SAMPLE_FACTOR * width;
    this.maxSample = this.sample;
    this.startedMs = nowMs;
  }

  /** Counts a request for the key with this hash (32 bits, well mixed). */
  increment(hash: number, nowMs: number): void {
    const { counters, mask } = this;
    const step = stepOf(hash);
    const first = (hash & mask) * ROWS;
    const second = ((hash + step) & mask) * ROWS + 1;
    const third = ((hash + 2 * step) & mask) * ROWS + 2;
    const fourth = ((hash + 3 * step) & mask) * ROWS + 3;
    const least = this.estimate(hash);
    if (least < MAX_COUNT) {
      if (counters[first] === least) counters[first] = least + 1;
      if (counters[second] === least) counters[second] = least + 1;
      if (counters[third] === least) counters[third] = least + 1;
      if (counters[fourth] === least) counters[fourth] = least + 1;
    }
    this.counted += 1;
    if (this.counted >= this.sample || nowMs - this.startedMs >= MAX_PERIOD_MS) this.halve(nowMs);
  }

  /** Estimates the requests for a key in a period; keys with the same counters may add to it. */
  estimate(hash: number): number {
    const { counters, mask } = this;
    const step = stepOf(hash);
    return Math.min(
      counters[(hash & mask) * ROWS] ?? 0,
      counters[((hash + step) & mask) * ROWS + 1] ?? 0,
      counters[((hash + 2 * step) & mask) * ROWS + 2] ?? 0,
      counters[((hash + 3 * step) & mask) * ROWS + 3] ?? 0,
    );
  }

  /** Adapts the sample to the number of cached entries. */
  fitTo(entries: number): void {
    this.sample = Math.min(this.maxSample, Math.max(MIN_SAMPLE, SAMPLE_FACTOR * entries));
  }

  /** Milliseconds in which the requests were counted; at least 1. */
  periodMs(nowMs: number): number {
    return Math.max(1, nowMs - this.startedMs);
  }

  private halve(nowMs: number): void {
    const { counters } = this;
    for (let at = 0; at < counters.length; at += 1) counters[at] = (counters[at] ?? 0) >>> 1;
    this.counted >>>= 1;
    this.startedMs += (nowMs - this.startedMs) / 2;
  }
}

/** Distance between the counters of a key in two rows: odd, so that all counters are reachable. */
function stepOf(hash: number): number {
  return (Math.imul(hash, 0x9e3779b1) >>> 15) | 1;
}

/** Hash of 32 bits (FNV-1a, then the finalizer of MurmurHash3). A secret seed keeps clients from making collisions. */
export function seededHash(text: string, seed: number): number {
  let hash = seed;
  for (let at = 0; at < text.length; at += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
