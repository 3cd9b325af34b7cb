/**
 * Waits and work of a request. Of several at once the first of this order counts, so that spans add up to the time
 * of the request: parallel reads of one request wait for PostgreSQL as long as any of them does.
 */
const ORDER = ['sql', 'connection', 'redis', 'queue', 'json', 'body'] as const;
/** Between the others: the code of the service, and its waits for the event loop. */
const APP = ORDER.length;
/** From the response's headers on: until the client has taken the response. */
const SOCKET = ORDER.length + 1;

export type SpanName = (typeof ORDER)[number];
const INDEX = Object.fromEntries(ORDER.map((name, index) => [name, index])) as Record<
  SpanName,
  number
>;
/** As shown: in the order of a usual request. */
const SHOWN = [
  ['body', INDEX.body],
  ['queue', INDEX.queue],
  ['connection', INDEX.connection],
  ['sql', INDEX.sql],
  ['redis', INDEX.redis],
  ['json', INDEX.json],
  ['app', APP],
  ['socket', SOCKET],
] as const;

/** Milliseconds by span, without those that took none. */
export type SpanTimes = Partial<Record<(typeof SHOWN)[number][0], number>>;

/** A place to report a span to. Each `begin` needs its `end`; times are those of performance.now(). */
export interface SpanSink {
  begin(span: SpanName, nowMs?: number): void;
  end(span: SpanName, nowMs?: number): void;
}

/**
 * Divides the time of one request, from its arrival on, into spans without gaps or overlaps. Costs a clock reading at each
 * change of the span that counts.
 */
export class TimeSpans implements SpanSink {
  private readonly running = [0, 0, 0, 0, 0, 0];
  private readonly spentMs = [0, 0, 0, 0, 0, 0, 0, 0];
  private current: number = APP;
  private isWritten = false;
  private sinceMs: number;

  constructor(private readonly startedMs = performance.now()) {
    this.sinceMs = startedMs;
  }

  begin(span: SpanName, nowMs?: number): void {
    const index = INDEX[span];
    this.running[index] = (this.running[index] ?? 0) + 1;
    if (index < this.current) this.turnTo(index, nowMs);
  }

  end(span: SpanName, nowMs?: number): void {
    const index = INDEX[span];
    this.running[index] = (this.running[index] ?? 0) - 1;
    if (index !== this.current || this.running[index] > 0) return;
    let next = index + 1;
    while (next < APP && this.running[next] === 0) next += 1;
    this.turnTo(next, nowMs);
  }

  /** The response begins: from now on only its client is waited for. */
  write(nowMs = performance.now()): void {
    this.turnTo(SOCKET, nowMs);
    this.isWritten = true;
  }

  /** The spans of a request that has taken `ms` by now, which is their sum. */
  after(ms: number): SpanTimes {
    const nowMs = this.startedMs + ms;
    const times: SpanTimes = {};
    for (const [name, index] of SHOWN) {
      const spentMs =
        (this.spentMs[index] ?? 0) + (index === this.current ? nowMs - this.sinceMs : 0);
      if (spentMs > 0) times[name] = spentMs;
    }
    return times;
  }

  private turnTo(next: number, nowMs = performance.now()): void {
    if (this.isWritten) return;
    this.spentMs[this.current] = (this.spentMs[this.current] ?? 0) + nowMs - this.sinceMs;
    this.sinceMs = nowMs;
    this.current = next;
  }
}

/** Spans of work that several requests wait for: each that follows spends them. */
export class SharedSpans implements SpanSink {
  private readonly running: SpanName[] = [];
  private readonly followers = new Set<SpanSink>();

  begin(span: SpanName, nowMs = performance.now()): void {
    this.running.push(span);
    for (const one of this.followers) one.begin(span, nowMs);
  }

  end(span: SpanName, nowMs = performance.now()): void {
    const at = this.running.indexOf(span);
    if (at === -1) return;
    this.running.splice(at, 1);
    for (const one of this.followers) one.end(span, nowMs);
  }

  /** @returns a function that ends what `follower` has begun here. */
  follow(follower: SpanSink, nowMs?: number): (nowMs?: number) => void {
    if (this.followers.has(follower)) return () => undefined;
    this.followers.add(follower);
    for (const span of this.running) follower.begin(span, nowMs);
    return (endMs) => {
      if (!this.followers.delete(follower)) return;
      for (const span of this.running) follower.end(span, endMs);
    };
  }
}

/*
 * Kept on the signal of a request, which its work gets anyway: a context of AsyncLocalStorage costs each promise of
 * Node.js 20, and work that several requests share has none.
 */
const SPANS = Symbol('spans');
type Spanned = AbortSignal & { [SPANS]?: SpanSink };

export function attachSpans(signal: Spanned, spans: SpanSink | undefined): void {
  if (spans) signal[SPANS] = spans;
}

/** The sink of spans for work with this signal. */
export function spansOf(signal: Spanned | undefined): SpanSink | undefined {
  return signal?.[SPANS];
}

/** Runs `work`, which returns at once, as one span. */
export function spend<T>(spans: SpanSink, span: SpanName, work: () => T): T {
  spans.begin(span);
  try {
    return work();
  } finally {
    spans.end(span);
  }
}

/** Runs `work` as one span. */
export async function during<T>(
  spans: SpanSink | undefined,
  span: SpanName,
  work: () => Promise<T>,
): Promise<T> {
  if (!spans) return work();
  spans.begin(span);
  try {
    return await work();
  } finally {
    spans.end(span);
  }
}
