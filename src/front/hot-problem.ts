import type { IncomingMessage, ServerResponse } from 'node:http';
import { toAppError } from '../errors/problem';
import { logFailure, pathOf, problemAnswer } from '../errors/problem.filter';
import { requestIdOf, writeStamped } from './request-context';

/**
 * `writeProblem` for an answer in front of express on which no header has been set: the same answer, written at once. In
 * an overload most answers are refusals, and what each costs is missing for the requests that are served.
 */
export function writeHotProblem(
  thrown: unknown,
  request: IncomingMessage,
  response: ServerResponse,
  moreHeaders: readonly string[] = [],
): void {
  const error = toAppError(thrown);
  const requestId = requestIdOf(request);
  const path = pathOf(request);
  logFailure(error, `${request.method ?? ''} ${path}`, requestId);
  if (response.headersSent) {
    response.destroy(); // nobody must take a part for the whole
    return;
  }
  const { headers, body } = problemAnswer(error, path, requestId);
  headers.push(...moreHeaders);
  writeStamped(request, response, error.status, headers, [body]);
}
