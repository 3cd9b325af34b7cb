/** Part of a principal that decides its flow. */
export interface FlowOwner {
  subject: string;
  organizations: readonly string[] | '*';
}

/**
 * Organization's flow; for several or all organizations one of the subject's own, as no single organization should wait
 * for such requests.
 */
export function flowKey({ subject, organizations }: FlowOwner): string {
  const [only, ...others] = organizations === '*' ? [] : organizations;
  return only !== undefined && others.length === 0 ? `org:${only}` : `sub:${subject}`;
}

const HAS_LARGE_BODY_PERMIT = Symbol('has a permit for a large body');

export interface FlowRequest {
  principal?: FlowOwner;
  [HAS_LARGE_BODY_PERMIT]?: boolean;
}

/** Marks a request with a permit of LargeBodyLimiter. */
export function noteLargeBodyPermit(request: FlowRequest): void {
  request[HAS_LARGE_BODY_PERMIT] = true;
}

/** Calls of a batch share the permit of their request. */
export function hasLargeBodyPermit(request: FlowRequest): boolean {
  return request[HAS_LARGE_BODY_PERMIT] === true;
}

/** Flows of a holder's requests, and of those with large bodies. */
export function flowsOf(holder: FlowOwner): [string, string] {
  const flow = flowKey(holder);
  return [flow, `large ${flow}`];
}

/**
 * Requests with a large-body permit have a second flow: others wait for that permit, and should not wait for a thousand
 * reads before it.
 */
export function flowOfRequest(request: FlowRequest): string {
  const flow = request.principal ? flowKey(request.principal) : '';
  return hasLargeBodyPermit(request) ? `large ${flow}` : flow;
}
