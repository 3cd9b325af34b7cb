/** What a flow is taken from; a principal has it. */
export interface FlowOwner {
  subject: string;
  organizations: readonly string[] | '*';
}

/**
 * The flow in which somebody waits: that of his organization, so that all who work for it share its turns; for one of
 * several or of all organizations a flow of his own, as none of them is to wait for what he does with the others.
 */
export function flowKey({ subject, organizations }: FlowOwner): string {
  const [only, ...others] = organizations === '*' ? [] : organizations;
  return only !== undefined && others.length === 0 ? `org:${only}` : `sub:${subject}`;
}

const HAS_LARGE_BODY_PERMIT = Symbol('has a large turn');

/** A request in whose flow somebody waits. */
export interface FlowRequest {
  principal?: FlowOwner;
  [HAS_LARGE_BODY_PERMIT]?: boolean;
}

/** Notes that a request has one of the few turns for large ones (LargeBodyLimiter). */
export function noteLargeBodyPermit(request: FlowRequest): void {
  request[HAS_LARGE_BODY_PERMIT] = true;
}

/** Whether a request has such a turn already, as all calls of a batch have that of their request. */
export function hasLargeBodyPermit({ [HAS_LARGE_BODY_PERMIT]: isLarge }: FlowRequest): boolean {
  return isLarge === true;
}

/** Both flows of a holder: that of its requests, and the one beside it (flowOfRequest). */
export function flowsOf(holder: FlowOwner): [string, string] {
  const flow = flowKey(holder);
  return [flow, `large ${flow}`];
}

/**
 * The flow of a request. One that has a large turn waits in a flow beside that of all others of its organization: others
 * wait for its large turn, and are not to wait for a thousand reads that stand before it.
 */
export function flowOfRequest({
  principal,
  [HAS_LARGE_BODY_PERMIT]: isLarge,
}: FlowRequest): string {
  const flow = principal ? flowKey(principal) : '';
  return isLarge ? `large ${flow}` : flow;
}
