import type { IncomingMessage, ServerResponse } from 'node:http';
import { beginProblem } from '../platform/errors/problem-response';
import { requestIdOf, writeStamped } from './request-context';

/**
 * `writeProblem` for an answer in front of express on which no header has been set: the same answer, written at once. In
 * an overload most answers are refusals, and what each costs is missing for the requests that are served.
 */
export function writeFastProblem(
  thrown: unknown,
  request: IncomingMessage,
  response: ServerResponse,
  moreHeaders: readonly string[] = [],
): void {
  const answer = beginProblem(thrown, request, response, requestIdOf(request));
  if (!answer) return;
  const { status, headers, body } = answer;
  writeStamped(request, response, status, [...headers, ...moreHeaders], [body]);
}
