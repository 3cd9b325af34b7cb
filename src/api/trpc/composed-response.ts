import type { ServerResponse } from 'node:http';
import { ComposedAnswer } from '../../audit/read/response-composition';

const ANSWER = Symbol('answer');
type Answering = ServerResponse & { [ANSWER]?: ComposedAnswer };

/** The answer that all calls of a request are parts of. */
export function answerOf(response: Answering): ComposedAnswer {
  response[ANSWER] ??= new ComposedAnswer();
  return response[ANSWER];
}

/** Whether memory is held for what its calls have read. */
export function isAnswerHeld(response: Answering): boolean {
  return response[ANSWER]?.isHeld === true;
}

/** Ends it, where a call has asked for it. */
export function endAnswerOf(response: Answering): void {
  response[ANSWER]?.end();
}
