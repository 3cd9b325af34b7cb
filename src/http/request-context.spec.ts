import { keepTraceContext, traceContextOf } from './request-context';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const SPAN = 'b7ad6b7169203331';
const of = (traceparent?: string) => traceContextOf({ headers: { traceparent } });

describe('the trace of a request', () => {
  it.each([`00-${TRACE}-${SPAN}-01`, `00-${TRACE}-${SPAN}-00`, `cc-${TRACE}-${SPAN}-01-later`])(
    'is that of a valid traceparent: %s',
    (traceparent) => {
      const { traceId, spanId } = of(traceparent);
      expect(traceId).toBe(TRACE);
      expect(spanId).toMatch(/^[0-9a-f]{16}$/);
      expect(spanId).not.toBe(SPAN);
    },
  );

  it.each([
    undefined,
    '',
    `00-${TRACE}-${SPAN}`,
    `00-${TRACE}-${SPAN}-01-more`,
    `ff-${TRACE}-${SPAN}-01`,
    `00-${'0'.repeat(32)}-${SPAN}-01`,
    `00-${TRACE}-${'0'.repeat(16)}-01`,
    `00-${TRACE.toUpperCase()}-${SPAN}-01`,
    `00-${TRACE}-${SPAN}-01"}\n`,
  ])('is a new one without: %s', (traceparent) => {
    const { traceId } = of(traceparent);
    expect(traceId).toMatch(/^[0-9a-f]{32}$/);
    expect(traceId).not.toBe(TRACE);
    expect(of(traceparent).traceId).not.toBe(traceId);
  });

  it('is that of the tracer, when there is one', () => {
    const request = { headers: { traceparent: `00-${TRACE}-${SPAN}-01` } };
    keepTraceContext(request, { traceId: 'a', spanId: 'b' });
    expect(traceContextOf(request)).toEqual({ traceId: 'a', spanId: 'b' });
  });

  it('is not repeated', () => {
    const ids = Array.from({ length: 5000 }, () => of().traceId);
    expect(new Set(ids).size).toBe(5000);
  });
});
