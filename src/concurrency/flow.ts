/** What a lane is taken from; a principal has it. */
export interface LaneHolder {
  subject: string;
  organizations: readonly string[] | '*';
}

/**
 * The lane in which somebody waits: that of his organization, so that all who work for it share its turns; for one of
 * several or of all organizations a lane of his own, as none of them is to wait for what he does with the others.
 */
export function laneOf({ subject, organizations }: LaneHolder): string {
  const [only, ...others] = organizations === '*' ? [] : organizations;
  return only !== undefined && others.length === 0 ? `org:${only}` : `sub:${subject}`;
}

const HAS_LARGE_TURN = Symbol('has a large turn');

/** A request in whose lane somebody waits. */
export interface LanedRequest {
  principal?: LaneHolder;
  [HAS_LARGE_TURN]?: boolean;
}

/** Notes that a request has one of the few turns for large ones (LargeTurns). */
export function noteLargeTurn(request: LanedRequest): void {
  request[HAS_LARGE_TURN] = true;
}

/** Whether a request has such a turn already, as all calls of a batch have that of their request. */
export function hasLargeTurn({ [HAS_LARGE_TURN]: isLarge }: LanedRequest): boolean {
  return isLarge === true;
}

/** Both lanes of a holder: that of its requests, and the one beside it (laneOfRequest). */
export function lanesOf(holder: LaneHolder): [string, string] {
  const lane = laneOf(holder);
  return [lane, `large ${lane}`];
}

/**
 * The lane of a request. One that has a large turn waits in a lane beside that of all others of its organization: others
 * wait for its large turn, and are not to wait for a thousand reads that stand before it.
 */
export function laneOfRequest({ principal, [HAS_LARGE_TURN]: isLarge }: LanedRequest): string {
  const lane = principal ? laneOf(principal) : '';
  return isLarge ? `large ${lane}` : lane;
}
