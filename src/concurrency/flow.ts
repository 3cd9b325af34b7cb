/** Part of a principal that decides its flow. */
export interface FlowOwner {
  subject: string;
  organizations: readonly string[] | '*';
}

/**
 * Flow of a principal: its organization's; for several or all organizations one of the subject's own, as no single
 * organization should wait for such requests.
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

/** Marks a request that has a permit of LargeBodyLimiter. */
export function noteLargeBodyPermit(request: FlowRequest): void {
  request[HAS_LARGE_BODY_PERMIT] = true;
}

/** True with such a permit; the calls of a batch share that of their request. */
export function hasLargeBodyPermit(request: FlowRequest): boolean {
  return request[HAS_LARGE_BODY_PERMIT] === true;
}

/** Flows of a holder: that of its requests, and that of those with large bodies. */
export function flowsOf(holder: FlowOwner): [string, string] {
  const flow = flowKey(holder);
  return [flow, `large ${flow}`];
}

/**
 * Flow of a request. A holder of a large-body permit has a second flow of its organization: others wait for that
 * permit, and should not wait for a thousand reads before it.
 */
export function flowOfRequest(request: FlowRequest): string {
  const flow = request.principal ? flowKey(request.principal) : '';
  return hasLargeBodyPermit(request) ? `large ${flow}` : flow;
}
