import type { IncomingMessage, ServerResponse } from 'node:http';
import onHeaders from 'on-headers';
import { type SpanTimes, TimeSpans } from '../platform/runtime/time-spans';

/** Times of a request, on the clock of performance.now(). */
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

/** Returns the times of a response; they begin now if noteArrival was not called. */
function timesOf(response: Timed): RequestTimes {
  response[TIMES] ??= new RequestTimes(Infinity);
  return response[TIMES];
}

/** Starts X-Response-Time. Responses that take `slowMs` or longer have their spans in Server-Timing. */
export function noteArrival(response: Timed, slowMs: number): void {
  response[TIMES] = new RequestTimes(slowMs);
}

/** Returns the spans of a response, to which all work for it reports. */
export function spansOfResponse(response: Timed): TimeSpans {
  return timesOf(response).spans;
}

/** Starts the deadline, which does not include the time in which the client sends. */
export function noteBodyComplete(response: Timed): void {
  timesOf(response).bodyCompletedMs = performance.now();
}

/** Returns the milliseconds since the request was complete. */
export function sinceCompleteMs(response: Timed): number {
  const { bodyCompletedMs, arrivedMs } = timesOf(response);
  return performance.now() - (bodyCompletedMs ?? arrivedMs);
}

/** Makes the duration of an endless response (export, subscription) end at its first byte; called before the headers. */
export function measureToFirstByte(response: Timed): void {
  const times = timesOf(response);
  onHeaders(response, () => {
    times.firstByteMs = performance.now();
  });
}

/** Returns the milliseconds until now, or until the first byte after measureToFirstByte. */
export function durationMs(response: Timed): number {
  const { arrivedMs, firstByteMs } = timesOf(response);
  return (firstByteMs ?? performance.now()) - arrivedMs;
}

/** Returns the spans of a slow request until now; undefined for another request. */
export function slowSpansOf(response: Timed): SpanTimes | undefined {
  const { slowMs, spans } = timesOf(response);
  const ms = durationMs(response);
  return ms >= slowMs ? spans.after(ms) : undefined;
}

/**
 * Returns X-Response-Time and Server-Timing of a response that begins now; from then on the span `write` runs, in which
 * the client reads. Only requests with a principal get the spans of a slow response, which concern this request alone.
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
