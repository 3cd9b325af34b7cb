import type { Answer } from './test-service';

/** What must never be in an answer: stacks, SQL, file paths, names of our tables and libraries. */
const LEAK =
  /\\n\s*at |node_modules|\.[cm]?[jt]s\b|\/(?:home|root|src|usr|var|work)\/|\b(?:SELECT|INSERT INTO|UPDATE|DELETE FROM) |audit_event\b|pg_|postgres|typeorm|SQLSTATE|syntax error/i;

const MEMBERS = ['type', 'title', 'status', 'detail', 'instance', 'code', 'requestId'];

/** Everything that is true of every error answer (RFC 9457 and the headers of all answers). */
export function expectProblem(answer: Answer, status: number, code: string): void {
  const { json, headers, text } = answer;
  expect({ status: answer.status, code: json?.code, text }).toEqual({ status, code, text });
  expect(headers.get('content-type')).toMatch(/^application\/problem\+json\b/);
  expect(Object.keys(json).filter((name) => name !== 'errors')).toEqual(MEMBERS);
  expect(json.status).toBe(status);
  expect(json.requestId).toBe(headers.get('x-request-id'));
  expect(json.requestId).not.toBe('');
  expectTimed(answer);
  expect(text).not.toMatch(LEAK);
  for (const error of json.errors ?? []) {
    expect(error).toEqual({ path: expect.any(String), message: expect.stringMatching(/\S/) });
  }
}

/** The headers that every answer has. */
export function expectTimed({ headers }: Answer): void {
  expect(headers.get('x-request-id')).toMatch(/^\S{1,128}$/);
  expect(headers.get('x-response-time')).toMatch(/^\d+(\.\d+)?ms$/);
  expect(headers.get('server-timing')).toMatch(/^total;dur=\d/);
}

/** The paths that a 400 or 409 names. */
export function pathsOf({ json }: Answer): string[] {
  const errors: { path: string }[] = json.errors ?? [];
  return errors.map(({ path }) => path);
}
