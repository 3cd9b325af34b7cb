import type { ServerResponse } from 'node:http';
import { ComposedResponse } from '../../audit/read/response-composition';

const RESPONSE = Symbol('answer');
type RespondingRequest = ServerResponse & { [RESPONSE]?: ComposedResponse };

/** The answer that all calls of a request are parts of. */
export function composedResponseOf(response: RespondingRequest): ComposedResponse {
  response[RESPONSE] ??= new ComposedResponse();
  return response[RESPONSE];
}

/** Whether memory is held for what its calls have read. */
export function isResponseHeld(response: RespondingRequest): boolean {
  return response[RESPONSE]?.isHeld === true;
}

/** Ends it, where a call has asked for it. */
export function endResponseOf(response: RespondingRequest): void {
  response[RESPONSE]?.end();
}
