// For the spec of figures.mjs, which is TypeScript as all specs are.
export interface Run {
  ours: number;
  reference: number;
  ratio: number;
}
export interface Row {
  bench: string;
  ours: number;
  reference: number;
  ratio: number;
  spread?: [number, number];
  wanted: number | null;
  holds: boolean | null;
  runs?: Run[];
}
export interface Comparison {
  compared: number;
  moved: { bench: string; before: number; now: number; change: number }[];
  added: string[];
  absent: string[];
}
export function measured(ours: number, reference: number): Run;
export function summary(runs: Run[], wanted?: number): Omit<Row, 'bench' | 'runs'>;
export function median(values: number[]): number;
export function percentile(values: number[], percent: number): number | undefined;
export function compare(before: Row[], now: Row[]): Comparison;
export function tableOf(rows: Row[]): string;
