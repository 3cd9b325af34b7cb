/** The part of a principal that decides its flow. */
export interface FlowOwner {
  subject: string;
  organizations: readonly string[] | '*';
}

/**
 * The flow of a principal: that of its organization, which all who work for it share; for several or all organizations a
 * flow of the subject's own, as no single organization should wait for such requests.
 */
export function flowKey({ subject, organizations }: FlowOwner): string {
  const [only, ...others] = organizations === '*' ? [] : organizations;
  return only !== undefined && others.length === 0 ? `org:${only}` : `sub:${subject}`;
}

const HAS_LARGE_BODY_PERMIT = Symbol('has a permit for a large body');

/** A request that waits in a flow. */
export interface FlowRequest {
  principal?: FlowOwner;
  [HAS_LARGE_BODY_PERMIT]?: boolean;
}

/** Notes that a request has one of the few permits for large bodies (LargeBodyLimiter). */
export function noteLargeBodyPermit(request: FlowRequest): void {
  request[HAS_LARGE_BODY_PERMIT] = true;
}

/** Whether a request has such a permit; the calls of a batch share that of their request. */
export function hasLargeBodyPermit(request: FlowRequest): boolean {
  return request[HAS_LARGE_BODY_PERMIT] === true;
}

/** Both flows of a holder: that of its requests, and that of those with large bodies. */
export function flowsOf(holder: FlowOwner): [string, string] {
  const flow = flowKey(holder);
  return [flow, `large ${flow}`];
}

/**
 * The flow of a request. One that has a permit for a large body waits in a second flow of its organization: others wait for
 * that permit, and should not wait for a thousand reads before it.
 */
export function flowOfRequest(request: FlowRequest): string {
  const flow = request.principal ? flowKey(request.principal) : '';
  return hasLargeBodyPermit(request) ? `large ${flow}` : flow;
}
