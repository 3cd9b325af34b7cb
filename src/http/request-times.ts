import type { IncomingMessage, ServerResponse } from 'node:http';
import onHeaders from 'on-headers';
import { type SpanTimes, TimeSpans } from '../platform/runtime/time-spans';

/** Times on the clock of performance.now(). */
class RequestTimes {
  readonly arrivedMs = performance.now();
  readonly spans = new TimeSpans(this.arrivedMs);
  bodyCompletedMs: number | undefined;
  firstByteMs: number | undefined;

  /** @param slowMs duration from which a request is slow. */
  constructor(readonly slowMs: number) {}
}

const TIMES = Symbol('times');
type Timed = ServerResponse & { [TIMES]?: RequestTimes };

/** Now for a response whose arrival was not noted. */
function timesOf(response: Timed): RequestTimes {
  response[TIMES] ??= new RequestTimes(Infinity);
  return response[TIMES];
}

/** Starts X-Response-Time. Responses that take `slowMs` or longer tell their spans. */
export function noteArrival(response: Timed, slowMs: number): void {
  response[TIMES] = new RequestTimes(slowMs);
}

/** The sink of spans for work on a response. */
export function spansOfResponse(response: Timed): TimeSpans {
  return timesOf(response).spans;
}

/** Starts the deadline, which excludes the client's sending time. */
export function noteBodyComplete(response: Timed): void {
  timesOf(response).bodyCompletedMs = performance.now();
}

/** Milliseconds since the complete request. */
export function sinceCompleteMs(response: Timed): number {
  const { bodyCompletedMs, arrivedMs } = timesOf(response);
  return performance.now() - (bodyCompletedMs ?? arrivedMs);
}

/** Measures endless responses (exports, subscriptions) to their first byte. Called before the headers. */
export function measureToFirstByte(response: Timed): void {
  const times = timesOf(response);
  onHeaders(response, () => {
    times.firstByteMs = performance.now();
  });
}

/** Milliseconds until now, or until the first byte after measureToFirstByte. */
export function durationMs(response: Timed): number {
  const { arrivedMs, firstByteMs } = timesOf(response);
  return (firstByteMs ?? performance.now()) - arrivedMs;
}

/** The spans of a slow request until now; undefined for another. */
export function slowSpansOf(response: Timed): SpanTimes | undefined {
  const { slowMs, spans } = timesOf(response);
  const ms = durationMs(response);
  return ms >= slowMs ? spans.after(ms) : undefined;
}

/**
 * X-Response-Time and Server-Timing of a response that begins now; its client is then waited for. The spans of a slow one
 * are for callers with a good token: they tell of nothing but its own waits.
 */
export function timingOf(
  request: IncomingMessage & { principal?: unknown },
  response: Timed,
): [took: string, serverTiming: string] {
  const { arrivedMs, slowMs, spans } = timesOf(response);
  const nowMs = performance.now();
  const ms = nowMs - arrivedMs;
  const total = ms.toFixed(1);
  spans.write(nowMs);
  if (ms < slowMs || request.principal === undefined) return [`${total}ms`, `total;dur=${total}`];
  const parts = Object.entries(spans.after(ms)).map(
    ([name, spentMs]) => `${name};dur=${spentMs.toFixed(1)}`,
  );
  return [`${total}ms`, [`total;dur=${total}`, ...parts].join(', ')];
}
