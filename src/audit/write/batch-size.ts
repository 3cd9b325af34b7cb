/** Requests up to this many events share a transaction; larger ones have their own, so that small ones do not wait for them. */
export const SMALL_REQUEST_EVENTS = 100;
/** Events of one shared transaction: more only make its first request wait longer. */
const GROUP_EVENTS = 1000;
/**
 * Events of one lane in it while several crowd the event loop. All of a group are answered at once, so that all of a flood
 * ask at once again: what they cost the loop is what anybody else waits for. 32 singles take it some milliseconds. Where
 * commits are what takes long the loop has time, and groups are as large as they can be.
 */
const LANE_EVENTS = 32;

/** How many events a shared transaction may have, in all and of one lane. */
export interface GroupSize {
  all: number;
  mostOfLane: number;
}

/** The size of the next group; `isCrowded` when several lanes wait for an event loop without time (LoopContention). */
export function groupSize(isCrowded: boolean): GroupSize {
  return { all: GROUP_EVENTS, mostOfLane: isCrowded ? LANE_EVENTS : GROUP_EVENTS };
}

/** Whether a request of so many events still fits; the first one of a lane does in any case, if the group has room. */
export function hasPlace(
  size: GroupSize,
  events: number,
  taken: number,
  takenOfLane: number,
): boolean {
  if (taken + events > size.all) return false;
  return takenOfLane === 0 || takenOfLane + events <= size.mostOfLane;
}
