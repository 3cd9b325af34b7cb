/** Requests up to this many events share a transaction; larger ones have their own, so that small ones do not wait for them. */
export const SMALL_REQUEST_EVENTS = 100;
/** Events of one shared transaction: more only make its first request wait longer. */
const BATCH_EVENTS = 1000;
/**
 * Events of one flow in it while several crowd the event loop. All of a group are answered at once, so that all of a flood
 * ask at once again: what they cost the loop is what anybody else waits for. 32 singles take it some milliseconds. Where
 * commits are what takes long the loop has time, and groups are as large as they can be.
 */
const FLOW_EVENTS = 32;

/** How many events a shared transaction may have, in all and of one flow. */
export interface BatchSize {
  all: number;
  maxOfFlow: number;
}

/** The size of the next group; `isCrowded` when several flows wait for an event loop without time (EventLoopPressure). */
export function batchSizeLimit(isCrowded: boolean): BatchSize {
  return { all: BATCH_EVENTS, maxOfFlow: isCrowded ? FLOW_EVENTS : BATCH_EVENTS };
}

/** Whether a request of so many events still fits; the first one of a flow does in any case, if the group has room. */
export function fitsBatch(
  size: BatchSize,
  events: number,
  taken: number,
  takenOfFlow: number,
): boolean {
  if (taken + events > size.all) return false;
  return takenOfFlow === 0 || takenOfFlow + events <= size.maxOfFlow;
}
