// For the spec of compare-report.mjs, which is TypeScript as all specs are.
import type { MeanRatio } from './student.mjs';

export interface Ratios {
  rate: number[];
  processor: number[];
}
export interface ComparedRow {
  name: string;
  change: 'SLOWER' | 'COSTLIER' | 'better' | '';
  isWorse: boolean;
  rate: MeanRatio;
  processor: MeanRatio;
  pairs: number;
}
export function comparedRow(name: string, ratios: Ratios): ComparedRow;
export function isBeyond(row: ComparedRow, bound: number): boolean;
export function lineOf(row: ComparedRow): string;
export function movesOf(rows: ComparedRow[]): string[];
export function markdownOf(report: {
  before: string;
  after: string;
  load: string[];
  rows: ComparedRow[];
}): string;
