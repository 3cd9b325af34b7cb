// For the spec of mix.mjs, which is TypeScript as all specs are.
import type { Histogram } from './histogram.mjs';

export class MixError extends Error {}
export interface Entry {
  name: string;
  operation: string;
  weight: number;
  options: Record<string, unknown>;
  recorded?: Histogram;
}
export interface Mix {
  entries: Entry[];
  perSecond: number | undefined;
  leftOut: Map<string, number>;
}
export function readProfile(text: string): { entries: Entry[] };
export class Recording {
  add(line: string): void;
  mix(): Mix;
}
export function textOf(counts: Map<string, number>): string;
