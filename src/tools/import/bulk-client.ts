/** What became of one request. Only `ImportStopped` is thrown, for what no retry and no other chunk can cure. */
export type BulkOutcome =
  | { kind: 'stored'; created: number; duplicates: number; replayed: boolean }
  /** Some events are at fault: their position in the request and what is wrong. Nothing was stored. */
  | { kind: 'faulty'; faults: Map<number, string[]> }
  /** The request is refused without saying which event is at fault: fewer events may pass. Nothing was stored. */
  | { kind: 'divisible'; reason: string }
  /** It may pass later. `mayHaveRun`: the service may have stored the events without us hearing of it. */
  | { kind: 'later'; reason: string; retryAfterMs: number | undefined; mayHaveRun: boolean };

/** The import cannot go on; the message says why and what to do about it. */
export class ImportStopped extends Error {}

/** The part of an RFC 9457 problem document that the import reads. */
interface Problem {
  code?: unknown;
  detail?: unknown;
  errors?: unknown;
}

/** Longer than the service lets a request run, so that its own answer is heard first. */
const REQUEST_TIMEOUT_MS = 120_000;

/** The service, or what stands before it, is away or busy; 500 is among them as the key makes a retry harmless. */
const MAY_PASS_LATER = new Set([408, 425, 429, 500, 502, 503, 504]);

const EVENT_PATH = /^events\[(\d+)\]/;

/** How to get a token that may write, for the messages that ask for one. */
export const TOKEN_HINT = `npm run token -- --sub importer --organizations '*' --scope "audit:write"`;

/** Sends events to the bulk route of the service: one method, one HTTP request, no retries. */
export class BulkClient {
  private readonly route: string;

  constructor(
    serviceUrl: string,
    private readonly token: string,
  ) {
    this.route = `${serviceUrl.replace(/\/+$/, '')}/api/v1/audit/events/bulk`;
  }

  /** Posts one body of `count` events under this idempotency key and says what became of it. */
  async post(body: string, count: number, idempotencyKey: string): Promise<BulkOutcome> {
    let response: Response;
    let text: string;
    try {
      response = await fetch(this.route, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${this.token}`,
          'content-type': 'application/json',
          'idempotency-key': idempotencyKey,
        },
        body,
        redirect: 'manual',
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      });
      text = await response.text();
    } catch (error) {
      const reason = `${this.route}: ${networkReason(error)}`;
      return { kind: 'later', reason, retryAfterMs: undefined, mayHaveRun: true };
    }
    return response.ok
      ? this.storedOf(response, text, count)
      : this.failureOf(response, text, count);
  }

  private storedOf(response: Response, text: string, count: number): BulkOutcome {
    const { created, duplicates } = jsonObject(text) as { created?: unknown; duplicates?: unknown };
    if (
      typeof created !== 'number' ||
      typeof duplicates !== 'number' ||
      created + duplicates !== count
    ) {
      throw new ImportStopped(
        `${this.route} answered ${response.status} without accounting for all ${count} events: is this the audit service?`,
      );
    }
    const replayed = response.headers.get('idempotency-replayed') === 'true';
    return { kind: 'stored', created, duplicates, replayed };
  }

  private failureOf(response: Response, text: string, count: number): BulkOutcome {
    const problem: Problem = jsonObject(text);
    const detail =
      typeof problem.detail === 'string' ? `: ${problem.detail.replace(/\.$/, '')}` : '';
    const reason = `the service answered ${response.status}${detail}`;
    const { status } = response;
    const retryAfterMs = retryAfterOf(response.headers.get('retry-after'));
    if (status === 401) {
      throw new ImportStopped(`${reason}. Get a valid token with: ${TOKEN_HINT}`);
    }
    if (status === 403) {
      // Some lines of organizations that the token does not cover are refused like bad ones; all of them is a wrong token.
      const faults = faultsOf(problem.errors, count);
      if (faults.size > 0 && faults.size < count) return { kind: 'faulty', faults };
      throw new ImportStopped(
        `${reason}. The token must hold the scope audit:write and every organization of the file; get one with: ${TOKEN_HINT}`,
      );
    }
    if (status === 413) return { kind: 'divisible', reason };
    if (status === 400 || status === 409) {
      const faults = faultsOf(problem.errors, count);
      if (faults.size > 0) return { kind: 'faulty', faults };
      if (status === 400) return { kind: 'divisible', reason };
      // A conflict that names no event: a request with the same key is still under way.
      return { kind: 'later', reason, retryAfterMs, mayHaveRun: true };
    }
    if (MAY_PASS_LATER.has(status)) {
      // Only these say for sure that nothing was begun; after any other the work may have been done all the same.
      const mayHaveRun = status !== 429 && status !== 503;
      return { kind: 'later', reason, retryAfterMs, mayHaveRun };
    }
    throw new ImportStopped(`${reason} at ${this.route}: is this the URL of the audit service?`);
  }
}

/** The faults by event, from `[{ path: "events[3].action", message }]`; entries that name no event are left out. */
function faultsOf(errors: unknown, count: number): Map<number, string[]> {
  const faults = new Map<number, string[]>();
  for (const error of Array.isArray(errors) ? (errors as unknown[]) : []) {
    const { path, message } = (error ?? {}) as { path?: unknown; message?: unknown };
    if (typeof path !== 'string') continue;
    const index = Number(EVENT_PATH.exec(path)?.[1] ?? NaN);
    if (!(index < count)) continue;
    const place = path.replace(EVENT_PATH, '').replace(/^\./, '');
    const text = typeof message === 'string' ? message : 'is refused';
    faults.set(index, [...(faults.get(index) ?? []), `${place} ${text}`.trim()]);
  }
  return faults;
}

/** `Retry-After` in milliseconds: a number of seconds or an HTTP date. */
function retryAfterOf(header: string | null): number | undefined {
  if (header === null) return undefined;
  const seconds = Number(header);
  const waitMs = Number.isNaN(seconds) ? Date.parse(header) - Date.now() : seconds * 1000;
  return Number.isNaN(waitMs) ? undefined : Math.max(0, waitMs);
}

function jsonObject(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}

/** What fetch hides behind "fetch failed": the code and message of its cause. */
function networkReason(error: unknown): string {
  const cause: unknown = error instanceof Error ? (error.cause ?? error) : error;
  if (!(cause instanceof Error)) return String(cause);
  const { code } = cause as NodeJS.ErrnoException;
  return cause.message || code || cause.name;
}
