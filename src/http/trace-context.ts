import { randomFillSync } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

/** Trace and span of a request as in W3C Trace Context, in lower-case hex. */
export interface TraceContext {
  traceId: string;
  spanId: string;
}

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?$/;
const NO_TRACE = '0'.repeat(32);
const NO_SPAN = '0'.repeat(16);

const TRACE_ID_BYTES = 16;
const SPAN_ID_BYTES = 8;
/** Random bytes in advance: a tenth of the cost of single draws. */
const stock = Buffer.alloc(4096);
let used = stock.length;

const TRACE = Symbol('trace');
type Traced = Pick<IncomingMessage, 'headers'> & { [TRACE]?: TraceContext };

/** Keeps a tracer's span for a request. */
export function keepTraceContext(request: Traced, context: TraceContext): void {
  request[TRACE] = context;
}

/**
 * A tracer's trace, else that of a valid `traceparent`, else a new one. Without a tracer each call gives a new span.
 */
export function traceContextOf(request: Traced): TraceContext {
  const kept = request[TRACE];
  if (kept) return kept;
  const spanId = randomHex(SPAN_ID_BYTES);
  return { traceId: traceIdIn(request.headers.traceparent) ?? randomHex(TRACE_ID_BYTES), spanId };
}

/** Version 00 has no further fields, later versions may, and ff is invalid. */
function traceIdIn(traceparent: string | string[] | undefined): string | undefined {
  if (typeof traceparent !== 'string') return undefined;
  const [, version, traceId, spanId, more] = TRACEPARENT.exec(traceparent) ?? [];
  if (version === undefined || version === 'ff' || (version === '00' && more !== undefined)) {
    return undefined;
  }
  return traceId === NO_TRACE || spanId === NO_SPAN ? undefined : traceId;
}

function randomHex(bytes: number): string {
  if (used + bytes > stock.length) {
    randomFillSync(stock);
    used = 0;
  }
  used += bytes;
  return stock.toString('hex', used - bytes, used);
}
