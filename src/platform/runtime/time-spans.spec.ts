import * as fc from 'fast-check';
import { SharedSpans, type SpanName, TimeSpans } from './time-spans';

const NAMES: SpanName[] = ['sql', 'connection', 'redis', 'queue', 'json', 'body'];

const sumOf = (times: object) =>
  Object.values(times).reduce((sum: number, ms: number) => sum + ms, 0) as number;

describe('the spans of a request', () => {
  it('are what was begun and ended, and `app` between', () => {
    const spans = new TimeSpans(100);
    spans.begin('body', 110);
    spans.end('body', 130);
    spans.begin('queue', 131);
    spans.end('queue', 171);
    spans.write(180);
    expect(spans.after(85)).toEqual({ body: 20, queue: 40, app: 20, socket: 5 });
  });

  it('count the wait for PostgreSQL once for parallel reads, and before other waits', () => {
    const spans = new TimeSpans(0);
    spans.begin('queue', 10);
    spans.begin('sql', 20);
    spans.begin('sql', 30);
    spans.end('sql', 40);
    spans.end('sql', 60);
    spans.end('queue', 70);
    expect(spans.after(80)).toEqual({ app: 20, queue: 20, sql: 40 });
  });

  it('are those of the client once the response has begun, whatever goes on', () => {
    const spans = new TimeSpans(0);
    spans.begin('sql', 0);
    spans.write(10);
    spans.end('sql', 20);
    spans.begin('json', 30);
    expect(spans.after(50)).toEqual({ sql: 10, socket: 40 });
  });

  it('add up to its time, whatever begins and ends', () => {
    const steps = fc.array(
      fc.record({
        name: fc.constantFrom(...NAMES),
        isShared: fc.boolean(),
        tookMs: fc.integer({ min: 0, max: 1000 }),
        action: fc.constantFrom('begin', 'end', 'write', 'follow', 'leave'),
      }),
    );
    fc.assert(
      fc.property(steps, fc.integer({ min: 0, max: 100 }), (all, lastMs) => {
        const spans = new TimeSpans(5);
        const shared = new SharedSpans();
        const running = new Map<SpanName, number>();
        const leaves: ((nowMs: number) => void)[] = [];
        let nowMs = 5;
        for (const { name, isShared, tookMs, action } of all) {
          nowMs += tookMs;
          const count = running.get(name) ?? 0;
          if (action === 'write') spans.write(nowMs);
          else if (action === 'follow') leaves.push(shared.follow(spans, nowMs));
          else if (action === 'leave') leaves.pop()?.(nowMs);
          else if (isShared) shared[action](name, nowMs);
          else if (action === 'begin' || count > 0) {
            running.set(name, count + (action === 'begin' ? 1 : -1));
            spans[action](name, nowMs);
          }
        }
        const times = spans.after(nowMs + lastMs - 5);
        expect(sumOf(times)).toBe(nowMs + lastMs - 5);
        expect(Object.values(times).every((ms) => ms > 0)).toBe(true);
      }),
    );
  });

  it('of shared work are spent by each request that follows, from then on until it leaves', () => {
    const shared = new SharedSpans();
    const [first, second] = [new TimeSpans(0), new TimeSpans(0)];
    const leaveFirst = shared.follow(first, 0);
    shared.begin('connection', 10);
    const leaveSecond = shared.follow(second, 20);
    shared.begin('sql', 30);
    shared.end('connection', 30);
    leaveFirst(40);
    shared.end('sql', 50);
    leaveSecond(50);
    expect(first.after(60)).toEqual({ app: 30, connection: 20, sql: 10 });
    expect(second.after(60)).toEqual({ app: 30, connection: 10, sql: 20 });
  });
});
