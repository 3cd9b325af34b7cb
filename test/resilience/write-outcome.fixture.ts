import type { WriteRequest } from './write-request.fixture';

/** What an answer says of one event. */
export interface Receipt {
  mark: string;
  id: string;
  sequence: number;
}

/**
 * What a client knows after one attempt: the events are stored (`acknowledged`), certainly not (`refused`), or it
 * cannot tell (`unknown`).
 */
export interface Outcome {
  kind: 'acknowledged' | 'refused' | 'unknown';
  /** Of the answer; 0 without one. */
  status: number;
  /** The status and the code of the problem, or what became of the connection. */
  reason: string;
  receipts: Receipt[];
  /** The whole answer, as far as it came. */
  text: string;
  isReplay: boolean;
  /** Why this answer breaks the contract; undefined when it does not. */
  fault?: string;
}

/** Problems after which nothing was stored. */
const REFUSED = new Set(['TOO_MANY_REQUESTS', 'QUEUE_TIMEOUT']);
/** Problems after which it may have been stored; `CONFLICT` tells that the same key is still at work. */
const UNKNOWN = new Set(['DATABASE_UNAVAILABLE', 'REQUEST_TIMEOUT', 'CONFLICT']);

interface Answer {
  status: number;
  headers: Headers;
  text: string;
  /** False when the answer broke off. */
  isWhole: boolean;
}

/** No answer, or the client did not wait for one. */
export function unanswered(error: unknown): Outcome {
  const cause = error instanceof Error ? (error.cause ?? error) : error;
  return {
    ...{ kind: 'unknown', status: 0, reason: String(cause) },
    ...{ receipts: [], text: '', isReplay: false },
  };
}

export function outcomeOf(request: WriteRequest, answer: Answer): Outcome {
  const { status, headers, text } = answer;
  const isReplay = headers.get('idempotency-replayed') === 'true';
  const base = { status, reason: String(status), receipts: [], text, isReplay };
  if (request.form === 'lines' && status === 200) return { ...base, ...ofLines(request, answer) };
  if (!answer.isWhole) return { ...base, kind: 'unknown', reason: `${status}, broken off` };
  const body = parsed(text);
  const code = codeIn(body);
  if (code === undefined) {
    const receipts = receiptsIn(request, body);
    if (receipts) return { ...base, kind: 'acknowledged', receipts };
    return { ...base, kind: 'unknown', fault: `an answer without receipts: ${status} ${text}` };
  }
  const reason = `${status} ${code}`;
  const isRetryable = status !== 503 || /^[1-9]\d*$/.test(headers.get('retry-after') ?? '');
  const fault = isRetryable ? undefined : '503 without Retry-After';
  if (REFUSED.has(code)) return { ...base, kind: 'refused', reason, fault };
  if (UNKNOWN.has(code) && (code !== 'CONFLICT' || request.isRepeatable)) {
    return { ...base, kind: 'unknown', reason, fault };
  }
  return { ...base, kind: 'unknown', reason, fault: `${reason}: ${text}` };
}

/** Lines are answered one by one; those without an answer are unknown, and `rejected` ones are not stored. */
function ofLines({ events }: WriteRequest, { text, isWhole }: Answer): Partial<Outcome> & Kind {
  const lines = text.split('\n').filter((line) => line !== '');
  const answers = lines.map((line) => parsed(line) as Record<string, unknown>);
  const receipts = answers.flatMap(({ line, id, sequence }) => {
    if (typeof id !== 'string' || typeof sequence !== 'string') return [];
    const mark = events[Number(line) - 1]?.correlationId ?? '';
    return [{ mark, id, sequence: Number(sequence) }];
  });
  const rejected = answers.filter(({ status }) => status === 'rejected');
  const codes = [...new Set(rejected.map(({ code }) => String(code)))].join();
  // A few lines are one transaction, so there is one outcome for all of them.
  if (receipts.length === events.length) return { kind: 'acknowledged', receipts };
  if (rejected.length === events.length) return { kind: 'refused', reason: `rejected ${codes}` };
  const reason = `${receipts.length} of ${events.length} lines answered`;
  const fault = isWhole ? `a whole answer that leaves lines out: ${text}` : undefined;
  return { kind: 'unknown', receipts: [], reason, fault };
}

type Kind = Pick<Outcome, 'kind'>;

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The code of a failure, in any of the protocols. */
function codeIn(body: unknown): string | undefined {
  const { code, errors, error } = (body ?? { code: 'NO_JSON' }) as {
    code?: string;
    errors?: { extensions?: { code?: string } }[];
    error?: { data?: { kind?: string } };
  };
  if (typeof code === 'string') return code;
  if (errors) return errors[0]?.extensions?.code ?? 'NO_CODE';
  return error ? (error.data?.kind ?? 'NO_CODE') : undefined;
}

function receiptsIn({ form, events }: WriteRequest, body: unknown): Receipt[] | undefined {
  type Stored = { id: string; sequence: string };
  const { results, data, result, ...single } = body as {
    results?: Stored[];
    data?: { createAuditEvent: Stored };
    result?: { data: { results: Stored[] } };
  } & Stored;
  const found: Record<string, Stored[] | undefined> = {
    single: [single],
    bulk: results,
    graphql: data && [data.createAuditEvent],
    trpc: result?.data.results,
  };
  const stored = found[form];
  if (stored?.length !== events.length) return undefined;
  return stored.map(({ id, sequence }, index) => ({
    mark: events[index]?.correlationId ?? '',
    id,
    sequence: Number(sequence),
  }));
}
