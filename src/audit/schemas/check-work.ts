/**
 * Work that the checks of one value may do. A client chooses both the schema and the event, and some hundred keywords may each
 * read all of a text of 256 KB. One is some 20 ns: all of it takes 80 ms, and several times as long on a busy machine.
 */
const MAX_WORK = 4_000_000;
export const WORK_PER_MS = 50_000;

let left = MAX_WORK;

/** The checks of a value would take too long. */
export class TooMuchWork extends Error {}

/** Runs the checks of one value, which are synchronous. @throws TooMuchWork */
export function withinWork<T>(check: () => T): T {
  left = MAX_WORK;
  return check();
}

/** Notes work, before it is done where its size is known then. @throws TooMuchWork beyond that of a value. */
export function noteWork(work: number): void {
  left -= work;
  if (left < 0) throw new TooMuchWork();
}
