import { setTimeout as delay } from 'node:timers/promises';
import type { Chunk, EventLine, RefusedLine } from './record-reader';
import { wallClockMs } from '../platform/runtime/clocks';

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30_000;
const GIVE_UP_AFTER_MS = 5 * 60_000;

/** When all lines of a chunk, and so many, are refused without an index, it is not the lines. */
const SUSPICIOUS_LINES = 10;

export interface Clock {
  now: () => number;
  /** Rejects as soon as the signal is aborted. */
  sleep: (ms: number, signal: AbortSignal) => Promise<void>;
}

export const SYSTEM_CLOCK: Clock = {
  now: () => performance.now(),
  sleep: async (ms, signal) => {
    await delay(ms, undefined, { signal });
  },
};

export interface ChunkResult {
  created: number;
  duplicates: number;
  refused: RefusedLine[];
}

type Outcome<K extends BulkOutcome['kind']> = Extract<BulkOutcome, { kind: K }>;

/**
 * Brings the events of a chunk into the service: bad lines are taken out, those that shared a transaction with them are
 * sent again, requests that are too large are halved, a service that is away is retried for GIVE_UP_AFTER_MS.
 */
export class ChunkSender {
  /** `signal` ends the wait for a retry, not a request under way. */
  constructor(
    private readonly client: BulkClient,
    private readonly clock: Clock,
    private readonly signal: AbortSignal,
    private readonly onWait: (reason: string, waitMs: number) => void,
  ) {}

  /** The refused lines of the result are in the order of the file. @throws ImportStopped */
  async send(chunk: Chunk): Promise<ChunkResult> {
    const result: ChunkResult = { created: 0, duplicates: 0, refused: [...chunk.refused] };
    const waiting = chunk.events.length > 0 ? [chunk.events] : [];
    let refusedBlindly = 0;
    for (let events = waiting.pop(); events !== undefined; events = waiting.pop()) {
      const outcome = await this.post(events);
      if (outcome.kind !== 'divisible') {
        result.created += outcome.created;
        result.duplicates += outcome.duplicates;
      } else if (events.length === 1) refusedBlindly += 1;
      if (outcome.kind !== 'stored') waiting.push(...remainderOf(events, outcome, result.refused));
    }
    if (refusedBlindly >= SUSPICIOUS_LINES && refusedBlindly === chunk.events.length) {
      const last = result.refused.at(-1);
      throw new ImportStopped(
        `none of the ${refusedBlindly} lines up to line ${last?.line}${last?.file ? ` of ${last.file}` : ''} is taken: ${last?.reason.join('; ')}`,
      );
    }
    result.refused.sort((a, b) => a.position - b.position);
    return result;
  }

  private async post(
    events: readonly EventLine[],
  ): Promise<Outcome<'stored' | 'faulty' | 'divisible'>> {
    // The events joined as text: serialising them again would re-spell their numbers.
    const body = events.map(({ event }) => `${event}\n`).join('');
    const startedAtMs = this.clock.now();
    for (let attempt = 0; ; attempt += 1) {
      const outcome = await this.client.post(body, events.length);
      if (outcome.kind !== 'later') return outcome;
      const { reason, retryAfterMs = 0 } = outcome;
      const waitMs = Math.max(retryAfterMs, backoffMs(attempt));
      if (this.clock.now() + waitMs - startedAtMs > GIVE_UP_AFTER_MS) {
        throw new ImportStopped(`${reason}. Gave up after ${attempt + 1} attempts.`);
      }
      if (!this.signal.aborted) this.onWait(reason, waitMs);
      await this.clock.sleep(waitMs, this.signal);
    }
  }
}

/** From half a second to half a minute, the upper half random, so that importers do not retry in step. */
function backoffMs(attempt: number): number {
  const full = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** attempt);
  return full / 2 + (full / 2) * Math.random();
}

/** Returns the chunks that are left to send; adds lines that are refused finally to `refused`. */
function remainderOf(
  events: EventLine[],
  outcome: Outcome<'faulty' | 'divisible'>,
  refused: RefusedLine[],
): EventLine[][] {
  if (outcome.kind === 'faulty') {
    const { faults, settled } = outcome;
    for (const [index, reason] of faults) {
      const bad = events[index];
      if (bad) refused.push(refusalOf(bad, reason));
    }
    const good = events.filter((_, index) => !faults.has(index) && !settled.has(index));
    return good.length > 0 ? [good] : [];
  }
  const [only] = events;
  if (events.length === 1 && only) {
    refused.push(refusalOf(only, [outcome.reason]));
    return [];
  }
  const middle = Math.ceil(events.length / 2);
  // The last one is sent first: the order of the file is kept.
  return [events.slice(middle), events.slice(0, middle)];
}

function refusalOf({ event: _, ...place }: EventLine, reason: string[]): RefusedLine {
  return { ...place, reason };
}

export type BulkOutcome =
  | { kind: 'stored'; created: number; duplicates: number }
  /**
   * `faults` by index in the request. Events in `settled` are stored (`created` or `duplicates`); the others shared a
   * transaction with one at fault, or with a passing failure.
   */
  | {
      kind: 'faulty';
      faults: Map<number, string[]>;
      settled: Set<number>;
      created: number;
      duplicates: number;
    }
  /** No event is named, nothing is stored: fewer events may pass. */
  | { kind: 'divisible'; reason: string }
  /** Events of a lost response are duplicates then. */
  | { kind: 'later'; reason: string; retryAfterMs: number | undefined };

/** Neither a retry nor another chunk would help. The message says why and what to do. */
export class ImportStopped extends Error {}

/** Longer than the service lets a request run, so that its own response comes first. */
const REQUEST_TIMEOUT_MS = 120_000;

/** The service or a proxy is away or busy; ids of events make a retry after 500 harmless. */
const PASSING_STATUSES = new Set([408, 425, 429, 500, 502, 503, 504]);

/** Lines with these codes are not at fault: sent again they may pass. */
const PASSING_CODES = new Set([
  'TRANSACTION_REJECTED',
  'DATABASE_UNAVAILABLE',
  'TOO_MANY_REQUESTS',
  'QUEUE_TIMEOUT',
  'REQUEST_TIMEOUT',
  'INTERNAL',
]);

export const TOKEN_HINT = `npm run token -- --sub importer --organizations '*' --scope "audit:write"`;

/** Posts events to the bulk route of the service, without retries. */
export class BulkClient {
  private readonly route: string;

  constructor(
    private readonly serviceUrl: string,
    private readonly token: string,
  ) {
    this.route = `${serviceUrl.replace(/\/+$/, '')}/api/v1/audit/events/bulk`;
  }

  /** Posts `count` lines, an event each. @throws ImportStopped */
  async post(body: string, count: number): Promise<BulkOutcome> {
    let response: Response;
    let text: string;
    try {
      response = await fetch(this.route, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${this.token}`,
          'content-type': 'application/x-ndjson',
        },
        body,
        redirect: 'manual',
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      });
      text = await response.text();
    } catch (error) {
      const reason = isRefused(error)
        ? `nothing listens at ${this.serviceUrl} (ECONNREFUSED): is the service running, and there? --url names another place`
        : `${this.route}: ${networkReason(error)}`;
      return { kind: 'later', reason, retryAfterMs: undefined };
    }
    return response.ok ? this.settledOf(response, text, count) : this.failureOf(response, text);
  }

  private settledOf(response: Response, text: string, count: number): BulkOutcome {
    const receipts = receiptsIn(text);
    if (receipts?.length !== count) {
      throw new ImportStopped(
        `${this.route} answered ${response.status} without accounting for all ${count} events: is this the audit service?`,
      );
    }
    const faults = new Map<number, string[]>();
    const settled = new Set<number>();
    const counts = { created: 0, duplicates: 0 };
    let passing: string | undefined;
    for (const [index, { status, code = '', errors }] of receipts.entries()) {
      if (status === 'created' || status === 'duplicate') {
        counts[status === 'created' ? 'created' : 'duplicates'] += 1;
        settled.add(index);
      } else if (PASSING_CODES.has(code)) passing = code;
      else faults.set(index, reasonsOf(errors));
    }
    if (settled.size === count) return { kind: 'stored', ...counts };
    if (faults.size === count && receipts.every(({ code }) => code === 'FORBIDDEN')) {
      throw new ImportStopped(`the service refuses every event. ${TOKEN_NEEDS}`);
    }
    if (faults.size === 0 && settled.size === 0) {
      const reason = `the service answered ${passing} to every line`;
      return { kind: 'later', reason, retryAfterMs: undefined };
    }
    return { kind: 'faulty', faults, settled, ...counts };
  }

  private failureOf(response: Response, text: string): BulkOutcome {
    const { detail } = jsonObject(text) as { detail?: unknown };
    const { status } = response;
    const said = typeof detail === 'string' ? `: ${detail.replace(/\.$/, '')}` : '';
    const reason = `the service answered ${status}${said}`;
    if (status === 401) {
      throw new ImportStopped(`${reason}. Get a valid token with: ${TOKEN_HINT}`);
    }
    if (status === 403) throw new ImportStopped(`${reason}. ${TOKEN_NEEDS}`);
    if (status === 400 || status === 413) return { kind: 'divisible', reason };
    if (PASSING_STATUSES.has(status)) {
      const retryAfterMs = retryAfterOf(response.headers.get('retry-after'));
      return { kind: 'later', reason, retryAfterMs };
    }
    throw new ImportStopped(`${reason} at ${this.route}: is this the URL of the audit service?`);
  }
}

const TOKEN_NEEDS = `The token must hold the scope audit:write and every organization of the file; get one with: ${TOKEN_HINT}`;

interface Receipt {
  status?: unknown;
  code?: string;
  errors?: unknown;
}

/** Receipts in the order of their lines; undefined when the response is incomplete, or not of this service. */
function receiptsIn(text: string): Receipt[] | undefined {
  const lines = text.trimEnd().split('\n').map(jsonObject);
  const last = lines.pop();
  if (last === undefined || !('summary' in last)) return undefined;
  return lines.every((line, index) => (line as { line?: unknown }).line === index + 1)
    ? lines
    : undefined;
}

/** The texts of `[{ path: "action", message }]`. */
function reasonsOf(errors: unknown): string[] {
  const all = Array.isArray(errors) ? (errors as unknown[]) : [];
  const reasons = all.map((error) => {
    const { path, message } = (error ?? {}) as { path?: unknown; message?: unknown };
    const text = typeof message === 'string' ? message : 'is refused';
    return `${typeof path === 'string' ? path : ''} ${text}`.trim();
  });
  return reasons.length > 0 ? reasons : ['is refused'];
}

/** `Retry-After` in milliseconds: a number of seconds or an HTTP date. */
function retryAfterOf(header: string | null): number | undefined {
  if (header === null) return undefined;
  const seconds = Number(header);
  const waitMs = Number.isNaN(seconds) ? Date.parse(header) - wallClockMs() : seconds * 1000;
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

function isRefused(error: unknown): boolean {
  const { cause } = (error ?? {}) as { cause?: { code?: unknown } };
  return cause?.code === 'ECONNREFUSED';
}

function networkReason(error: unknown): string {
  const cause: unknown = error instanceof Error ? (error.cause ?? error) : error;
  if (!(cause instanceof Error)) return String(cause);
  const { code } = cause as NodeJS.ErrnoException;
  return cause.message || code || cause.name;
}
