// For the spec of student.mjs, which is TypeScript as all specs are.
export interface MeanRatio {
  mean: number;
  low: number;
  high: number;
  differs: boolean;
}
export function meanRatio(ratios: number[]): MeanRatio;
