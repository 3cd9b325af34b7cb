// For the spec of histogram.mjs, which is TypeScript as all specs are.
export class Histogram {
  readonly count: number;
  readonly max: number;
  add(ms: number): void;
  merge(other: Histogram): void;
  percentile(percent: number): number | undefined;
}
